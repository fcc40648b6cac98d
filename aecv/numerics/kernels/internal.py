"""Internal coordinates of some atoms as a collective variable: distances, angles, dihedrals, coordinates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import CVError
from aecv.ground.observable_kinds import KINDS, Kind
from aecv.numerics.kernels import internal_kernels as kernels


@dataclass(frozen=True, kw_only=True, eq=False)
class InternalCoordinates:
    """One internal coordinate per component; see `internal_kernels` for the formulas.

    Attributes:
        kinds: per component "distance", "angle", "dihedral" or "coordinate".
        atoms: per component its atoms as indices into the positions; 2, 3, 4 or 1 of them.
        axes: per component 0, 1 or 2 for the x, y or z of a coordinate; None for the other kinds.
        n_atoms: atoms of the positions.

    Raises:
        CVError: for lengths that do not fit, atoms that are not there or named twice, or a coordinate without
            an axis.
    """

    kinds: tuple[Kind, ...]
    atoms: tuple[tuple[int, ...], ...]
    axes: tuple[int | None, ...]
    n_atoms: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.kinds) <= 3 or not len(self.kinds) == len(self.atoms) == len(self.axes):
            raise CVError(
                "internal coordinates: need 1 to 3 components with a kind, atoms and an axis (or None) each, "
                f"got {len(self.kinds)}, {len(self.atoms)} and {len(self.axes)}"
            )
        for kind, atoms, axis in zip(self.kinds, self.atoms, self.axes, strict=True):
            _check_component(kind, atoms, axis, self.n_atoms)

    @property
    def n_components(self) -> int:
        return len(self.kinds)

    @cached_property
    def codes(self) -> IntArray:
        """Kinds as the kernels read them, shape (d,)."""
        return np.array([kernels.KINDS.index(kind) for kind in self.kinds], dtype=np.int64)

    @cached_property
    def table(self) -> IntArray:
        """Atoms as the kernels read them, shape (d, 4)."""
        table = np.zeros((self.n_components, 4), dtype=np.int64)
        for row, atoms, axis in zip(table, self.atoms, self.axes, strict=True):
            row[: len(atoms)] = atoms
            if axis is not None:
                row[1] = axis
        return table


def internal_values(coordinates: InternalCoordinates, positions: ArrayLike) -> FloatArray:
    """Internal coordinates of many frames.

    Args:
        positions: shape (n_frames, n_atoms, 3) [nm].

    Returns:
        shape (n_frames, d): dihedrals in (-pi, pi] with the IUPAC sign and angles in [0, pi] [rad],
        distances and coordinates [nm].

    Raises:
        CVError: for another shape, or a frame where one is not defined: atoms that coincide or, for angles
            and dihedrals, lie on a line; NaN.
    """
    return _evaluated(coordinates, positions, with_gradient=False)[0]


def internal_gradient(
    coordinates: InternalCoordinates, positions: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """Internal coordinates, shape (n_frames, d), and their gradients, shape (n_frames, d, n_atoms, 3).

    Arguments and errors as for `internal_values`; the gradients are per nm.
    """
    return _evaluated(coordinates, positions, with_gradient=True)


def _evaluated(
    coordinates: InternalCoordinates, positions: ArrayLike, *, with_gradient: bool
) -> tuple[FloatArray, FloatArray]:
    frames = np.ascontiguousarray(positions, dtype=float)
    n_atoms, d = coordinates.n_atoms, coordinates.n_components
    if frames.ndim != 3 or frames.shape[1:] != (n_atoms, 3):
        raise CVError(
            f"internal coordinates: positions need shape (n_frames, {n_atoms}, 3) in nm, "
            f"got {np.shape(positions)}; pass the CV's atoms only, in its order"
        )
    xi = np.empty((len(frames), d))
    gradient = np.empty((len(frames) if with_gradient else 0, d, n_atoms, 3))
    failed = kernels.internal_batch(frames, coordinates.codes, coordinates.table, xi, gradient)
    if failed >= 0:
        why = (
            "atoms of it coincide or lie on a line"
            if np.all(np.isfinite(frames[failed]))
            else "it holds NaN or infinite positions"
        )
        raise CVError(f"internal coordinates: not defined in frame {failed}: {why}")
    return xi, gradient


def _check_component(kind: Kind, atoms: Sequence[int], axis: int | None, n_atoms: int) -> None:
    if kind not in kernels.KINDS:
        raise CVError(f"internal coordinates: need one of {', '.join(kernels.KINDS)}, got '{kind}'")
    needed = KINDS[kind].n_atoms
    if len(set(atoms)) != needed or len(atoms) != needed or not all(0 <= a < n_atoms for a in atoms):
        raise CVError(
            f"internal coordinates: kind '{kind}' needs {needed} different atoms of 0 .. {n_atoms - 1}, "
            f"got {list(atoms)}"
        )
    if (kind == "coordinate") != (axis in (0, 1, 2)):
        raise CVError(
            "internal coordinates: a coordinate needs an axis 0, 1 or 2, and only a coordinate has one"
        )
