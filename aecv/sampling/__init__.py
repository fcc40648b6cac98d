"""Floor 3: everything that runs molecular dynamics."""
