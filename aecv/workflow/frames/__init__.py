"""Frames that a user brings, held against the molecule."""
