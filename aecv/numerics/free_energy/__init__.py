"""Free energies: weights, integration, support, exact answers."""
