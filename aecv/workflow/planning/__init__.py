"""What a run is going to need and cost, known before it begins."""
