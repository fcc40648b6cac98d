"""Units inside aecv: nm, ps, kJ/mol, K, Da; the collective variable has none.

In these units energies, masses and times fit without factors: 1 Da nm^2/ps^2 = 1 kJ/mol.
"""

BOLTZMANN_KJ_MOL_K = 8.31446261815324e-3
"""Boltzmann's constant [kJ/mol/K]; exact in the SI of 2019 (R = N_A k_B)."""


def thermal_energy(temperature_k: float) -> float:
    """kT [kJ/mol] at a temperature [K]."""
    return BOLTZMANN_KJ_MOL_K * temperature_k
