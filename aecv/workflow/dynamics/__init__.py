"""Starts, equilibration and the sampling stage."""
