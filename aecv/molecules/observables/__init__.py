"""Observables of checks and pictures: a file a kind of many atoms, found by the name of the kind."""
