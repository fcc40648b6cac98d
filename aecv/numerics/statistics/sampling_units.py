"""Units of frames that are nearly independent of each other, and how often a bootstrap draws each.

A unit is a block of time of one walker of one run. Frames of a unit are correlated, units hardly are; so
units, never frames, are drawn with replacement, among those of their own stratum, the run.

Drawing m of m units in a stratum gives a variance too small by (m - 1)/m, and strata differ in size: m - 1
are drawn, and each counts m / (m - 1) times.

Sources: Efron, Tibshirani, An Introduction to the Bootstrap (1993); blocks of a time series: Kuensch,
Ann. Stat. 17, 1217 (1989), doi:10.1214/aos/1176347265; strata: Rao, Wu, J. Am. Stat. Assoc. 83, 231 (1988),
doi:10.1080/01621459.1988.10478591.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import GridError, SamplingError


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """Which unit each frame belongs to.

    Attributes:
        of_frame: unit of every frame, 0 .. n_units - 1, shape (N,).
        stratum: stratum of every unit, 0 .. n_strata - 1, shape (n_units,).
    """

    of_frame: IntArray
    stratum: IntArray

    @property
    def n_units(self) -> int:
        return len(self.stratum)

    @property
    def n_strata(self) -> int:
        return int(self.stratum.max()) + 1

    def at(self, frames: IntArray) -> "Units":
        """The units of some of the frames; units without any are gone."""
        kept, of_frame = np.unique(self.of_frame[frames], return_inverse=True)
        return Units(of_frame=of_frame, stratum=_dense_strata(self.stratum[kept]))

    def multiplicities(self, n_replicates: int, seed: int | np.random.SeedSequence) -> FloatArray:
        """How often each unit counts, shape (n_replicates, n_units); the sum over a stratum is its size.

        A stratum of one unit has nothing to be exchanged with: it counts once.
        """
        rng = np.random.default_rng(seed)
        counts = np.ones((n_replicates, self.n_units))
        for stratum in range(self.n_strata):
            members = np.flatnonzero(self.stratum == stratum)
            size = len(members)
            if size > 1:
                drawn = rng.multinomial(size - 1, np.full(size, 1.0 / size), n_replicates)
                counts[:, members] = drawn * (size / (size - 1))
        return counts


def block_units(run: ArrayLike, walker: ArrayLike, time: ArrayLike, n_blocks: int | Sequence[int]) -> Units:
    """Units (run, walker, block of time); the strata are the runs.

    Runs with a single unit have nothing to be exchanged with; they share a stratum, or join the last of the
    others if there is but one such run.

    Args:
        run: run of every frame, 0 .. n_runs - 1, such as the iteration, shape (N,).
        walker: its walker, shape (N,).
        time: its time or its progress, any unit, shape (N,). Blocks divide the range of the run evenly.
        n_blocks: blocks per walker, for all runs or for each; see `statistics.correlation.n_blocks`.

    Raises:
        GridError: for shapes that do not match, or n_blocks < 1.
        SamplingError: without frames, or for times that are not finite.
    """
    runs, walkers = np.asarray(run, dtype=np.int64), np.asarray(walker, dtype=np.int64)
    times = np.asarray(time, dtype=np.float64)
    if not len(runs) or not np.isfinite(times).all():
        raise SamplingError(f"units: need frames with finite times, got {len(runs)} frames; pool a run")
    n_runs = int(runs.max()) + 1
    blocks = np.broadcast_to(np.asarray(n_blocks, dtype=np.int64), (n_runs,))
    if runs.ndim != 1 or walkers.shape != runs.shape or times.shape != runs.shape or (blocks < 1).any():
        raise GridError(
            f"units: run, walker and time need one shape (N,) and n_blocks >= 1, got {runs.shape}, "
            f"{walkers.shape}, {times.shape} and {blocks.tolist()}"
        )
    block = np.zeros(len(runs), dtype=np.int64)
    for index in range(n_runs):
        mine = runs == index
        start, end = times[mine].min(initial=np.inf), times[mine].max(initial=-np.inf)
        if end > start:
            share = (times[mine] - start) / (end - start)
            block[mine] = np.minimum((share * blocks[index]).astype(np.int64), blocks[index] - 1)
    names, of_frame = np.unique(np.stack([runs, walkers, block], axis=1), axis=0, return_inverse=True)
    return Units(of_frame=of_frame.ravel(), stratum=_dense_strata(names[:, 0]))


def _dense_strata(names: IntArray) -> IntArray:
    """Strata 0, 1, ... of units by name; those of one unit are put together, a single one to the last."""
    _, stratum, sizes = np.unique(names, return_inverse=True, return_counts=True)
    lone = np.flatnonzero(sizes == 1)
    if len(lone) == 1 and len(sizes) > 1:
        lone = np.append(lone, np.flatnonzero(sizes > 1)[-1])
    merged = np.where(np.isin(stratum, lone), lone[-1] if len(lone) else -1, stratum)
    return np.unique(merged, return_inverse=True)[1].astype(np.int64)
