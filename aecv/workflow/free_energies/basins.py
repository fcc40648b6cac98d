"""Basins: the starting structures, and which of them a frame belongs to."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import StoreError
from aecv.ground.forms import Count, Number, read_form
from aecv.ground.regions import in_region
from aecv.numerics.kernels.encoder import align
from aecv.numerics.statistics.diagnostics import core_labels
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.run_folder.store import Place, Places

CORE_RATIO = 0.5
"""A frame is in a basin if it is at most half as far from its start as from any other one."""


@dataclass(frozen=True, kw_only=True)
class StoredStarts:
    """What is read of starts.json.

    Attributes:
        n_starts: how many there are.
        observables: per observable, its value at every start.
    """

    n_starts: Count
    observables: dict[str, tuple[Number, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "StoredStarts":
        """Read starts.json of a folder; StoreError when it is missing, damaged or of another form."""
        path = folder / "starts.json"
        found = read_form(checked(path), cls)
        if any(len(values) != found.n_starts for values in found.observables.values()):
            raise StoreError(f"{path}: needs a value of every observable at each of {found.n_starts} starts")
        return found


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
        report = StoredStarts.load(run.iteration_dir(place))
        region = system.spec.settings.delta_f
        if region is not None and region.observable not in report.observables:
            path = run.iteration_dir(place) / "starts.json"
            raise StoreError(f"{path}: needs the values of '{region.observable}' at the starts")
        return cls(n_starts=report.n_starts, inside=in_region(report.observables, system.spec.settings))


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
