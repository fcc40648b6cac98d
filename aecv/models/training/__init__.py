"""Training: frames made ready, networks fitted side by side, components."""
