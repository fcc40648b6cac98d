"""What a run has come to: as pictures, page and words."""
