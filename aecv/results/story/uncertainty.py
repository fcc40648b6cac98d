"""What pictures and page say alike of numbers: how wide a band is, where a scale ends, what is not known.

An infinite or unknown (NaN) bound of a known value is hatched, its curve dashed and its marker hollow, so
that no number with an unknown error looks like one with an error.
"""

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import BoolArray
from aecv.ground.errors import GridError

Z = 1.96
"""Standard errors on each side of a 95 % interval; Student's factor for few walkers is in the numbers of
production.json, not in the bands."""
CEILING_KJ_MOL = 60.0
"""End of the scale of a free energy: what lies above is seen, but not told apart."""
UNKNOWN = "error unknown"
"""In legends."""
ENERGY = "kJ/mol"


def check_shape(what: str, shape: tuple[int, ...], /, **arrays: ArrayLike | None) -> None:
    """Refuse arrays of another shape, or without a number; None passes.

    Raises:
        GridError: naming what they are of, the array, and both shapes.
    """
    for name, array in arrays.items():
        if array is not None and np.shape(array) != shape:
            raise GridError(f"{what}: {name} needs shape {shape}, got {np.shape(array)}")


def unbounded(interval: tuple[ArrayLike, ArrayLike]) -> BoolArray:
    """Where an end of an interval is infinite or unknown, shape (n,)."""
    return ~(np.isfinite(np.asarray(interval[0], float)) & np.isfinite(np.asarray(interval[1], float)))


def beside(chosen: BoolArray) -> BoolArray:
    """Chosen points and their neighbours, between which a line is drawn, shape (n,)."""
    padded = np.concatenate([[False], chosen, [False]])
    near: BoolArray = padded[1:-1] | padded[:-2] | padded[2:]
    return near


def isolated(known: BoolArray) -> BoolArray:
    """Known points that no line shows, since both neighbours are unknown, shape (n,) like `known`."""
    padded = np.concatenate([[False], known, [False]])
    alone: BoolArray = padded[1:-1] & ~padded[:-2] & ~padded[2:]
    return alone
