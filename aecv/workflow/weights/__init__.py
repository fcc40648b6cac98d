"""The pool of frames and their Boltzmann weights."""
