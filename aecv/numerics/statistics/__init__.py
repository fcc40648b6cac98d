"""Statistics of series and estimates: correlation, bootstrap, intervals, scores."""
