"""Floor 3: the files and pictures that a user reads."""
