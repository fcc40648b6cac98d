"""Limits of settings: beyond them a number is a slip, or a run that no machine does."""

MOST_STEPS = 2e9
"""Steps of one call into OpenMM, which counts them in a C int."""
MOST_NS_STEPS = 1e13
"""Steps of an iteration: more than any machine makes in a year."""
MOST_BINS = 30_000
"""Bins of a grid that a free energy is integrated on in seconds."""
MOST_WEIGHTS = 1e8
"""Pairs of units of a layer, of all autoencoders that train together; SOAP holds a dozen numbers for each."""
MOST_BIASED = 3
"""Components that a grid of the bias has."""
