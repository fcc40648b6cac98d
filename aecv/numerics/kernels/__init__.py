"""Compiled kernels of collective variables: values and gradients."""
