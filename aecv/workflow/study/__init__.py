"""Work on frames that are there: train, score, apply."""
