"""Engines that drive extended-ABF molecular dynamics along a collective variable."""
