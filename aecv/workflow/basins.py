"""Basins: the starting structures, and which of them a frame belongs to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aecv.ground.files import read_json
from aecv.numerics.diagnostics import core_labels
from aecv.numerics.encoder import align
from aecv.sampling.system import MolecularSystem
from aecv.workflow.store import Place, Places

FloatArray = NDArray[np.float64]

CORE_RATIO = 0.5
"""A frame is in a basin if it is at most half as far from its start as from any other one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownStarts:
    """The starts of a run.

    Attributes:
        n_starts: how many there are.
        inside: which of them lie in the region of [delta_f], shape (n_starts,); None without one.
    """

    n_starts: int
    inside: NDArray[np.bool_] | None

    @classmethod
    def load(cls, run: Places, system: MolecularSystem, place: Place = 0) -> "KnownStarts":
        """Read what was written, at a place of the run, when the starts were found."""
        report = read_json(run.iteration_dir(place) / "starts.json")
        region = system.spec.settings.delta_f
        inside = None
        if region is not None:
            values = np.array(report["observables"][region.observable])
            inside = (values > region.lower) & (values < region.upper)
        return cls(n_starts=int(report["n_starts"]), inside=inside)


def basin_of_frames(
    positions: NDArray[np.floating], starts: FloatArray, *, superpose: bool
) -> NDArray[np.int64]:
    """Start that each frame is clearly nearest to, -1 where it is not clear, shape (n,).

    Args:
        positions: shape (n, n_cv_atoms, 3) [nm].
        starts: shape (n_starts, n_cv_atoms, 3) [nm].
        superpose: whether frames are turned onto each start first.
    """
    distances = np.stack([_distance(positions, start, superpose) for start in starts], axis=1)
    return core_labels(distances, ratio=CORE_RATIO)


def _distance(positions: NDArray[np.floating], start: FloatArray, superpose: bool) -> FloatArray:
    """Root-mean-square distance from one start [nm], shape (n,)."""
    target = start - start.mean(axis=0) if superpose else start
    frames = align(target, positions) if superpose else np.asarray(positions, dtype=float)
    return np.asarray(np.sqrt(np.square(frames - target).sum(axis=2).mean(axis=1)))
