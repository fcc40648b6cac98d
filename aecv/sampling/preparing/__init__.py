"""Structures made ready for a force field, and what looks wrong about them."""
