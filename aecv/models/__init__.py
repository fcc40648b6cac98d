"""Floor 2: the autoencoder, its training and the exported collective variable."""
