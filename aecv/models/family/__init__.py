"""The family of models: one file each."""
