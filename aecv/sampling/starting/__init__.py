"""Starting structures and equilibrated walkers."""
