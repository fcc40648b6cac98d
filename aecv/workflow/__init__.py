"""Floor 5: the order of the stages and the run directory."""
