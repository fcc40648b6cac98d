"""Floor 2: the files and pictures that a user reads."""
