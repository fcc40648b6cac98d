"""Checks of a collective variable that has no second form to compare it with."""

import numpy as np
import torch

from aecv.ground.arrays import FloatArray
from aecv.models.cvs.cv import CV, shortest
from aecv.models.cvs.torchscript import module_dtype

_STEPS = {torch.float64: 1e-6, torch.float32: 5e-4}
"""Displacement of a frame [nm], by the module's precision; other precisions count as float32."""
_TOLERANCES = {torch.float64: 1e-4, torch.float32: 3e-2}
"""Ten times and more what rounding and the curvature of common CVs give at these steps."""
_N_FRAMES = 50


def difference_tolerance(cv: CV) -> float:
    """Largest result of `compare_with_differences` that speaks for the gradient."""
    return _TOLERANCES.get(module_dtype(cv.module), _TOLERANCES[torch.float32])


def compare_with_differences(cv: CV, positions: FloatArray) -> float:
    """How far a CV's gradient is from central differences of its values along random directions.

        |u . grad xi_c - [xi_c(q + h u) - xi_c(q - h u)] / 2h|,  relative to |grad xi_c| / sqrt(3 n_atoms),

    the size of u . grad xi_c for a random u of length 1. A function that leaves torch's graph on the way (by
    detach(), numpy, or a rounding) has values without their gradient, and a bias along it pushes wrongly.

    Args:
        positions: of the CV's atoms [nm], shape (F, n_atoms, 3); at most 50 of them are used.

    Returns:
        the worst component's median over the frames: one frame on a kink says nothing.
    """
    frames = np.asarray(positions, dtype=float)[:: max(1, len(positions) // _N_FRAMES)]
    step = _STEPS.get(module_dtype(cv.module), _STEPS[torch.float32])
    directions = np.random.default_rng(0).normal(size=frames.shape)
    directions /= np.linalg.norm(directions, axis=(1, 2), keepdims=True)
    gradient = cv.gradient(frames)
    numeric = shortest(cv(frames + step * directions) - cv(frames - step * directions), cv.periods) / (
        2.0 * step
    )
    slope = np.einsum("fcia,fia->fc", gradient, directions)
    size = np.linalg.norm(gradient, axis=(2, 3)) / np.sqrt(directions[0].size)
    # a gradient of zero beside values that change is the worst there is, not a division by zero
    size = np.maximum(size, 1e-3 * np.abs(numeric) + np.finfo(float).tiny)
    return float(np.median(np.abs(slope - numeric) / size, axis=0).max())
