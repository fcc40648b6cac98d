"""Molecules as OpenMM knows them: System, topology, platform."""
