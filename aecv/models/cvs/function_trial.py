"""The trial of a function that is to be a collective variable, before any MD step depends on it."""

import numpy as np
import torch

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.models.cvs.torchscript import evaluate, evaluate_with_gradient, module_dtype


def n_components(module: torch.nn.Module, frames: FloatArray, *, title: str) -> int:
    """Components that a function gives; it is tried on frames, together and one by one.

    Args:
        module: the function as a torch module.
        frames: of its atoms, shape (F, n_atoms, 3) [nm].
        title: what it is called in messages.

    Raises:
        CVError: when it fails on the frames, mixes them, or has no finite gradient there.
    """
    try:
        together = evaluate(module, frames)
        apart = np.concatenate([evaluate(module, frame[None]) for frame in frames])
        gradient = evaluate_with_gradient(module, frames)[1]
    except CVError:
        raise
    except Exception as error:  # whatever somebody's function raises
        raise CVError(
            f"CV {title}: the function failed on positions of shape {frames.shape} ({error}); it needs "
            "to take a torch tensor (F, n_atoms, 3) [nm] and to return one of shape (F, d)"
        ) from error
    rtol, atol = (1e-6, 1e-9) if module_dtype(module) == torch.float64 else (1e-4, 1e-4)
    if not np.allclose(together, apart, rtol=rtol, atol=atol):
        raise CVError(
            f"CV {title}: the function gives a frame another value when there are others beside it; each "
            "row of (F, n_atoms, 3) needs to be treated alone"
        )
    if together.shape[1] > 3:
        raise CVError(f"CV {title}: needs 1 to 3 components, got {together.shape[1]}")
    if not np.isfinite(gradient).all():
        raise CVError(
            f"CV {title}: its gradient is not finite on {len(frames)} frames; a root or norm of zero, or "
            "an angle of atoms on a line"
        )
    return together.shape[1]
