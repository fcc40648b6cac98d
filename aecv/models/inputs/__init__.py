"""Inputs of networks: aligned positions, internal coordinates."""
