"""Floor 1: arrays in, arrays out. No files, no clocks, no global random state, no torch, no OpenMM."""
