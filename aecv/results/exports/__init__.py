"""Inputs for other programs, as texts: PLUMED and Colvars, with the reference and a README beside them."""
