"""Floor 5: one file per command, and what commands share; no physics."""
