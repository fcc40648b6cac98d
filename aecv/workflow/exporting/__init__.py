"""CVs and biases written as inputs for other programs."""
