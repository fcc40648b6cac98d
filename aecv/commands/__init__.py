"""Floor 6: one file per command, and what commands share; no physics."""
