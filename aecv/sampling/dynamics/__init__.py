"""Segments of molecular dynamics and walkers that share a bias."""
