"""Quantities of the points of frames: torsions, angles, distances.

In double precision, as the kernels that bias along them; mdtraj's are in single.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import MolecularSystemError


def checked_frames(xyz: ArrayLike, n_atoms: int) -> NDArray[np.floating]:
    """Frames as an array; raises a MolecularSystemError unless its shape is (F, N, 3) with N >= n_atoms."""
    frames = np.asarray(xyz)
    if frames.ndim != 3 or frames.shape[2] != 3 or frames.shape[1] < n_atoms:
        raise MolecularSystemError(
            f"observables: positions need shape (frames, atoms >= {n_atoms}, 3), got {frames.shape}"
        )
    return frames


def dihedrals(points: FloatArray) -> FloatArray:
    """Dihedrals of four points [rad], positive clockwise along the middle bond; (F, 4, 3) -> (F,)."""
    first, second, third = (points[:, k + 1] - points[:, k] for k in range(3))
    across, beyond = np.cross(first, second), np.cross(second, third)
    sine = np.einsum("fi,fi->f", first, beyond) * np.linalg.norm(second, axis=1)
    return np.asarray(np.arctan2(sine, np.einsum("fi,fi->f", across, beyond)))


def angles(points: FloatArray) -> FloatArray:
    """Angles at the middle of three points [rad]; (F, 3, 3) -> (F,)."""
    first, second = points[:, 0] - points[:, 1], points[:, 2] - points[:, 1]
    sine = np.linalg.norm(np.cross(first, second), axis=1)
    return np.asarray(np.arctan2(sine, np.einsum("fi,fi->f", first, second)))


def distances(points: FloatArray) -> FloatArray:
    """Distances of two points [nm]; (F, 2, 3) -> (F,)."""
    return np.asarray(np.linalg.norm(points[:, 1] - points[:, 0], axis=1))


FORMULAS: Mapping[str, Callable[[FloatArray], FloatArray]] = {
    "dihedral": dihedrals,
    "angle": angles,
    "distance": distances,
}
"""Of kinds of observables that are of a few atoms."""
