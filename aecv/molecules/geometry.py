"""Quantities of the points of frames: torsions, angles, distances, RMSD, radius of gyration.

In double precision, as the kernels that bias along them; mdtraj's are in single.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import MolecularSystemError
from aecv.numerics.kernels.encoder import align


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


def rmsd(points: FloatArray, reference: FloatArray) -> FloatArray:
    """Root-mean-square distance of atoms from a reference after optimal superposition, unweighted [nm].

    sqrt(min_R sum_i |R (x_i - <x>) - (y_i - <y>)|^2 / n); (F, n, 3) and (n, 3) -> (F,).

    Raises:
        AlignmentError: for a frame whose superposition is not unique.
    """
    target = reference - reference.mean(axis=0)
    apart = align(reference, points) - target
    return np.asarray(np.sqrt(np.einsum("fai,fai->f", apart, apart) / len(target)))


def radius_of_gyration(points: FloatArray, masses: FloatArray) -> FloatArray:
    """Mass-weighted radius of gyration [nm], sqrt(sum_i m_i |x_i - x_com|^2 / sum_i m_i).

    Args:
        points: shape (F, n, 3) [nm].
        masses: shape (n,), in any unit; their sum is positive.

    Returns:
        shape (F,).
    """
    shares = masses / masses.sum()
    apart = points - np.einsum("i,fia->fa", shares, points)[:, None]
    return np.asarray(np.sqrt(np.einsum("i,fia,fia->f", shares, apart, apart)))
