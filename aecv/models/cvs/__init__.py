"""Collective variables: one file per kind, and their files."""
