"""Floor 3: the autoencoder, its training and the exported collective variable."""
