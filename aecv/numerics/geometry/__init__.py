"""Geometry of frames: boxes, whole molecules, bonds."""
