"""What a run along a CV asks of it: a range, a form that the engine takes, a hash of what it does."""

import hashlib
from dataclasses import replace

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import data_range

_DIGITS = 10
"""Digits in which a function may not change: far above rounding, far below any other formula."""


def with_range(cv: CV, frames: FloatArray, *, margin: float) -> CV:
    """The CV with a range where it has none: that of frames, and a margin on each side.

    Args:
        frames: of the CV's atoms, shape (n, n_atoms, 3) [nm]; they should reach as far as the run shall.
        margin: share of the data range.

    Raises:
        CVError: when a range is missing and there are fewer than 100 frames to take it from.
    """
    missing = ~np.isfinite(cv.cv_range).all(axis=1)
    if not missing.any():
        return cv
    if len(frames) < 100:
        raise CVError(
            f"CV {cv.source}: component {int(np.argmax(missing)) + 1} needs a range; {len(frames)} frames of "
            'a hot run are too few to take it from; give one (--range), or set starts.mode = "auto"'
        )
    cv_range = cv.cv_range.copy()
    cv_range[missing] = data_range(cv(frames)[:, missing], margin=margin)
    return replace(cv, cv_range=cv_range)


def require_script(cv: CV, *, engine: str) -> None:
    """Refuse a CV that an engine cannot have as TorchScript of positions.

    A model of another program is one only together with the Python around it, which brings units, features
    and layout to what the model wants.

    Raises:
        CVError: for a Python function, and for another program's model that was probed.
    """
    if cv.map.in_python:
        raise CVError(
            f"engine {engine}: {cv.source} is {cv.map.in_python}, which runs in Python; use --engine native, "
            "or, in Python, a TorchScript file that takes positions (F, n_atoms, 3) in nm, by "
            "load_cv(file, atom_indices=...)"
        )


def behaviour(cv: CV, frames: FloatArray) -> str:
    """A hash of what a CV does on some frames: its values and gradients to ten digits of the largest.

    It tells functions apart that have the same name.

    Args:
        frames: of its atoms, shape (F, n_atoms, 3) [nm].
    """
    digest = hashlib.sha256()
    for array in cv.with_gradient(frames):
        scale = max(float(np.abs(array).max()), np.finfo(float).tiny)
        # + 0 makes -0 the 0 that it equals
        digest.update((np.round(array / scale, _DIGITS) + 0.0).tobytes())
        digest.update(f"{scale:.{_DIGITS - 1}e}".encode())
    return digest.hexdigest()
