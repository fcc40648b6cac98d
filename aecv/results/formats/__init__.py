"""Files that other programs read and write: COLVAR, free energies, grids, trajectories, tables."""
