"""Extremes of bond lengths, signs of volumes, and frames unlike some, without copies of frames.

Frames are read at some microseconds each; the same in numpy costs a third of that.
"""

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.numerics.kernels.compilation import jit


@jit
def _ratio_bounds(frames, rows, pairs, lengths):  # type: ignore[no-untyped-def]
    low, high = np.inf, 0.0
    for row in rows:
        for bond in range(pairs.shape[0]):
            square = 0.0
            for axis in range(3):
                difference = frames[row, pairs[bond, 0], axis] - frames[row, pairs[bond, 1], axis]
                square += difference * difference
            ratio = square / (lengths[bond] * lengths[bond])
            low, high = min(low, ratio), max(high, ratio)
    return np.sqrt(low), np.sqrt(high)


@jit
def _signs(frames, rows, centres):  # type: ignore[no-untyped-def]
    found = np.zeros((rows.shape[0], centres.shape[0]), dtype=np.int64)
    arms = np.zeros((3, 3))
    for index in range(rows.shape[0]):
        for centre in range(centres.shape[0]):
            for arm in range(3):
                for axis in range(3):
                    arms[arm, axis] = (
                        frames[rows[index], centres[centre, arm + 1], axis]
                        - frames[rows[index], centres[centre, 0], axis]
                    )
            volume = (
                arms[0, 0] * (arms[1, 1] * arms[2, 2] - arms[1, 2] * arms[2, 1])
                - arms[0, 1] * (arms[1, 0] * arms[2, 2] - arms[1, 2] * arms[2, 0])
                + arms[0, 2] * (arms[1, 0] * arms[2, 1] - arms[1, 1] * arms[2, 0])
            )
            found[index, centre] = int(np.sign(volume))
    return found


@jit
def _outside(marks, rows, margin):  # type: ignore[no-untyped-def]
    low = np.full(marks.shape[1], np.inf, dtype=marks.dtype)
    high = np.full(marks.shape[1], -np.inf, dtype=marks.dtype)
    for row in rows:
        for mark in range(marks.shape[1]):
            low[mark] = min(low[mark], marks[row, mark] - margin)
            high[mark] = max(high[mark], marks[row, mark] + margin)
    found = np.zeros(marks.shape[0], dtype=np.bool_)
    for frame in range(marks.shape[0]):
        is_outside = False
        for mark in range(marks.shape[1]):
            is_outside |= (marks[frame, mark] < low[mark]) | (marks[frame, mark] > high[mark])
        found[frame] = is_outside
    return found


def ratio_bounds(
    frames: NDArray[np.floating], rows: IntArray, pairs: IntArray, lengths: FloatArray
) -> tuple[float, float]:
    """Smallest and largest length of a bond over the one it should have, over some frames; NaN is skipped.

    Args:
        frames: shape (n, n_atoms, 3) [nm].
        rows: the frames that are looked at, shape (n_rows,).
        pairs: shape (n_bonds, 2); lengths: shape (n_bonds,) [nm].
    """
    low, high = _ratio_bounds(frames, rows, pairs, lengths)
    return float(low), float(high)


def volume_signs(frames: NDArray[np.floating], rows: IntArray, centres: IntArray) -> IntArray:
    """Sign of the volume of the three arms of each centre, shape (n_rows, n_centres).

    Args:
        frames: shape (n, n_atoms, 3) [nm].
        rows: the frames that are looked at, shape (n_rows,).
        centres: a centre and three neighbours, shape (n_centres, 4).
    """
    return np.asarray(_signs(frames, rows, centres))


def outside(marks: NDArray[np.floating], rows: IntArray, margin: float) -> NDArray[np.bool_]:
    """Whether a frame has a number that leaves its range over some frames by more than a margin, shape (n,);
    NaN is within.

    Args:
        marks: shape (n, n_marks).
        rows: the frames that span the range, shape (n_rows,).
        margin: in the unit of the marks.
    """
    return np.asarray(_outside(marks, rows, marks.dtype.type(margin)))
