"""Floor 0: constants, errors, grids, seeds and settings that every other floor may use."""
