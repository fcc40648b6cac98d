"""Error bars of an iteration's free energies: bootstrap over walkers and blocks of time.

Blocks are several statistical inefficiencies long, MBAR is solved anew in every replicate, and no interval is
narrower than the number of passages between the region and the rest allows.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import SamplingError
from aecv.numerics.free_energy.integration import delta_f
from aecv.numerics.free_energy.support import Course, flat_bins
from aecv.numerics.statistics.bootstrap import Replicates, resampled_weights
from aecv.numerics.statistics.correlation import n_blocks
from aecv.numerics.statistics.intervals import (
    Interval,
    aligned,
    crossing_error,
    interval,
    profile_crossing_error,
)
from aecv.numerics.statistics.sampling_units import block_units
from aecv.workflow.weights.pool import BiasedSample

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Origins:
    """Where frames come from, and what is slow in them.

    Attributes:
        run: number of their iteration, in any order of numbers, shape (n,).
        walker: shape (n,).
        progress: time as a share of the iteration, shape (n,).
        slow: series whose correlation sets the length of the blocks, each of shape (n,).
    """

    run: IntArray
    walker: IntArray
    progress: FloatArray
    slow: tuple[FloatArray, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Resampled:
    """Frames with their weights and those of the replicates; gives intervals.

    Attributes:
        weights: Boltzmann weights of all frames, sum 1, shape (n,).
        replicates: of a thinned part of them.
        kt: thermal energy [kJ/mol].
        passages: how often walkers entered and left the region of Delta F, if there is one.
        inside: which frames lie in it, shape (n,); None without one.
        course: the way of the walkers through the frames.
        least_visits: effective visits under which F of a bin is unknown; see `Course.effective_visits`.
    """

    weights: FloatArray
    replicates: Replicates
    kt: float
    passages: tuple[int, int] | None
    inside: BoolArray | None
    course: Course
    least_visits: float = 0.0

    def of_more_frames(
        self, weights: FloatArray, inside: BoolArray | None, of_these: IntArray, course: Course
    ) -> "Resampled":
        """The same replicates with an estimate from more frames.

        The replicates stay resampled frames of the thinned pool. That is the whole error of Delta F, which
        hangs on passages; in bins that the pool's frames visit rarely it is more than the error of the
        estimate, up to the root of how many more frames there are.

        Args:
            weights: Boltzmann weights of all of them, sum 1, shape (m,).
            inside: which lie in the region of Delta F, shape (m,); None without one.
            of_these: where the frames of this estimate stand among them, shape (n,).
            course: the way of the walkers through all of them.
        """
        replicates = replace(self.replicates, frames=of_these[self.replicates.frames])
        return replace(self, weights=weights, inside=inside, replicates=replicates, course=course)

    def _floor(self, passages: tuple[int, int] | None) -> float:
        return 0.0 if passages is None else crossing_error(*passages, kt=self.kt)

    def delta_f(
        self, chosen: BoolArray | None = None, *, passages: tuple[int, int] | None = None
    ) -> Interval | None:
        """Delta F of the region [kJ/mol], with its 95 % interval; None without a region.

        Args:
            chosen: count these frames only, shape (n,); None for all.
            passages: entries and exits up to the last of these frames; None for those of all frames.
        """
        if self.inside is None:
            return None
        used = np.ones(len(self.weights), dtype=bool) if chosen is None else chosen
        frames = self.replicates.frames
        some = self.inside[frames]
        draws = [_odds(some, row * used[frames], self.kt) for row in self.replicates.replicates]
        value = _odds(self.inside, self.weights * used, self.kt)
        floor = self._floor(self.passages if passages is None else passages)
        return self._interval(value, np.array(draws), floor)

    def profile(self, values: ArrayLike, edges: Sequence[FloatArray]) -> Interval:
        """F along one or two coordinates from weighted histograms [kJ/mol], with 95 % intervals per bin.

        Args:
            values: the coordinates of all frames, shape (n,) or (n, d).
            edges: bin edges per coordinate.

        Returns:
            shape (n_bins_0, ...), minimum 0 of the estimate, NaN where the weights of fewer than
            `least_visits` effective visits fell; inf as the error of a bin that is known and whose error is
            not. Errors are relative to the populated bins, not to the lowest one: see `intervals.aligned`.
            These are all bins with a weight, the unknown ones among them: the errors are those of -kT ln p,
            p being the share of a bin in all of the weight on the grid. A heavy frame in an unknown bin
            widens the errors of the others by the noise of its share, and `least_visits` changes no number
            of a bin that stays known.
        """
        points = np.asarray(values, dtype=float).reshape(len(self.weights), -1)
        shape = tuple(len(axis) - 1 for axis in edges)
        bins, size = flat_bins(points, edges), int(np.prod(shape))
        estimate = self._free_energy(bins, self.weights, size)
        known = self.course.effective_visits(bins, self.weights, size) >= max(self.least_visits, 1e-9)
        estimate -= np.min(estimate, where=known, initial=np.inf) if known.any() else 0.0
        some = bins[self.replicates.frames]
        draws = np.array([self._free_energy(some, row, size) for row in self.replicates.replicates])
        floor = self._profile_floor(bins, size)
        # A bin that the thinned frames never see has no spread to take an error from.
        seen = np.isfinite(self._free_energy(some, self.replicates.weights, size))
        draws = np.where(seen, aligned(draws, estimate, kt=self.kt), np.nan)
        return self._interval(estimate, draws, floor).where(known).reshape(shape)

    def has_weight(self, values: ArrayLike, edges: Sequence[FloatArray]) -> BoolArray:
        """Which bins hold a frame with a weight, shape (n_bins_0, ...); arguments as of `profile`."""
        points = np.asarray(values, dtype=float).reshape(len(self.weights), -1)
        shape = tuple(len(axis) - 1 for axis in edges)
        bins = flat_bins(points, edges)
        held = np.bincount(bins[(bins >= 0) & (self.weights > 0)], minlength=int(np.prod(shape))) > 0
        return held.reshape(shape)

    def _interval(self, estimate: ArrayLike, draws: FloatArray, floor: ArrayLike) -> Interval:
        return interval(
            estimate, draws, n_units=self.replicates.n_units, n_strata=self.replicates.n_strata, floor=floor
        )

    def _free_energy(self, bins: IntArray, weights: FloatArray, size: int) -> FloatArray:
        """-kT ln(weight per bin), NaN in empty bins; bins are even, so that no volume enters."""
        mass = np.bincount(bins[bins >= 0], weights[bins >= 0], minlength=size)
        result = np.full(size, np.nan)
        np.log(mass, out=result, where=mass > 0)
        return -self.kt * result

    def _profile_floor(self, bins: IntArray, size: int) -> FloatArray:
        if self.inside is None or self.passages is None:
            return np.zeros(size)
        on_grid = bins >= 0
        mass = np.bincount(bins[on_grid], self.weights[on_grid], minlength=size)
        part = np.bincount(bins[on_grid], (self.weights * self.inside)[on_grid], minlength=size)
        share = np.divide(part, mass, out=np.full(size, np.nan), where=mass > 0)
        p_inside = float(self.weights @ self.inside)
        error = profile_crossing_error(self._floor(self.passages), share, p_inside)
        return np.nan_to_num(error, nan=0.0, posinf=np.inf)


def resample(
    sample: BiasedSample,
    weights: FloatArray,
    origins: Origins,
    *,
    kt: float,
    inside: BoolArray | None,
    passages: tuple[int, int] | None,
    n_replicates: int,
    seed: int,
    least_visits: float = 0.0,
) -> Resampled:
    """Bootstrap the weights of frames.

    Args:
        sample: energies that gave the weights.
        weights: shape (n,), sum 1.
        origins: of the same frames.
        inside, passages: see `Resampled`.
        seed: of the resampling.
        least_visits: see `Resampled`; 0 for every bin with a weight.
    """
    runs = np.unique(origins.run)
    run = np.searchsorted(runs, origins.run)
    blocks = [_blocks(origins, run == index) for index in range(len(runs))]
    units = block_units(run, origins.walker, origins.progress, blocks)
    replicates = resampled_weights(
        sample.energies, sample.n_per_state, units, kt=kt, n_replicates=n_replicates, seed=seed
    )
    if replicates.n_unsolved:
        logger.warning(
            "error bars: in %d of %d bootstrap replicates MBAR did not converge; they are rough",
            replicates.n_unsolved,
            n_replicates,
        )
    return Resampled(
        weights=weights,
        replicates=replicates,
        kt=kt,
        passages=passages,
        inside=inside,
        course=Course.of(origins.run, origins.walker, origins.progress),
        least_visits=least_visits,
    )


def _blocks(origins: Origins, mine: BoolArray) -> int:
    """Blocks per walker of one run: as many as its slowest series allows."""
    order = np.lexsort((origins.progress[mine], origins.walker[mine]))
    walker = origins.walker[mine][order]
    n = int(np.unique(walker, return_counts=True)[1].min())
    if n < 2:
        return 1
    found = []
    for values in origins.slow:
        series = values[mine][order]
        rows = np.array([series[walker == index][:n] for index in np.unique(walker)])
        # what never changes tells no time scale; whether that is a problem the passages know
        if np.ptp(rows) > 0:
            found.append(n_blocks(rows))
    return min(found, default=1)


def _odds(inside: BoolArray, weights: FloatArray, kt: float) -> float:
    """Delta F of a replicate; not finite where it dropped all units on one side."""
    try:
        return delta_f(inside, weights, kt=kt)
    except SamplingError:
        return float("nan")
