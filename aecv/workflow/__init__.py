"""Floor 4: the order of the stages and the run directory."""
