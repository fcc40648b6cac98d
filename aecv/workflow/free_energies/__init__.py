"""Free energies with their intervals, coverage and convergence in time; the production."""
