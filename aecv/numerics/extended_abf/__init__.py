"""Extended ABF: samples, forces, kernels of a step, and the bias that an extended variable exerts."""
