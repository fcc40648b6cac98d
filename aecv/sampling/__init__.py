"""Floor 4: everything that runs molecular dynamics."""
