"""Has the sampling covered its space? Mixing of walkers, visits of basins, growth of the visited range."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import GridError, SamplingError


def r_hat(values: ArrayLike) -> float:
    """How much more walkers differ from each other than from themselves; 1 for walkers that have mixed.

    Every series is cut in halves, all values are replaced by normal scores of their ranks, and of the chains
    that come out R = ((n - 1)/n + B/(n W))^(1/2), with W the mean of their variances and B/n the variance of
    their means. The answer is the larger R of the values and of their distances from the median, so that
    chains of equal mean and unequal spread are seen too. Above 1.01 chains are not mixed; above 1.1 badly.

    Args:
        values: one row per walker, shape (n_walkers, n_frames), n_frames >= 4.

    Returns:
        NaN if all values are the same; inf if no chain moves, but they differ.

    Raises:
        GridError: for another shape.
        SamplingError: for values that are not finite.

    Source: Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 1 or x.shape[1] < 4:
        raise GridError(f"r_hat: needs shape (n_walkers, n_frames) with >= 4 frames, got {x.shape}")
    if not np.isfinite(x).all():
        raise SamplingError("r_hat: needs finite values; check the frames for NaN")
    half = x.shape[1] // 2
    chains = np.concatenate([x[:, :half], x[:, -half:]])
    if np.ptp(chains) == 0.0:
        return np.nan
    folded = np.abs(chains - np.median(chains))
    ratios = [_split_ratio(_normal_scores(chains))]
    if np.ptp(folded) > 0.0:
        ratios.append(_split_ratio(_normal_scores(folded)))
    return max(ratios)


def core_labels(distances: ArrayLike, *, ratio: float = 0.5) -> IntArray:
    """Core that each frame is in: that of the nearest reference, if it is clearly the nearest.

    Args:
        distances: of every frame from every reference structure, shape (n, n_basins).
        ratio: how many times the second smallest distance the smallest may be at most; in (0, 1].

    Returns:
        0 .. n_basins - 1, or -1 for frames between the cores, shape (n,).

    Raises:
        GridError: for another shape, or a ratio outside (0, 1].
    """
    d = np.asarray(distances, dtype=np.float64)
    if d.ndim != 2 or d.shape[1] < 1 or not 0.0 < ratio <= 1.0:
        raise GridError(
            f"core_labels: needs distances of shape (n, n_basins) and a ratio in (0, 1], got {d.shape} and "
            f"{ratio}"
        )
    nearest = np.argmin(d, axis=1)
    first = d[np.arange(len(d)), nearest]
    others = d.copy()
    others[np.arange(len(d)), nearest] = np.inf
    return np.where(first <= ratio * others.min(axis=1, initial=np.inf), nearest, -1)


@dataclass(frozen=True, kw_only=True, eq=False)
class BasinVisits:
    """Which basins the walkers visited and how often they went from one to another.

    Attributes:
        transitions: how often a walker that was last in core i entered core j, shape (n_basins, n_basins).
        visited_by: walkers that were in each core at all, shape (n_basins,).
        entered_by: walkers that came into each core from another one, shape (n_basins,).
        round_trips: complete trips from i by j back to i, possibly by other basins, over all walkers, shape
            (n_basins, n_basins), 0 on the diagonal.
    """

    transitions: IntArray
    visited_by: IntArray
    entered_by: IntArray
    round_trips: IntArray

    def crossings(self, region: ArrayLike) -> tuple[int, int]:
        """Entries into and exits from a set of basins, given as bool, shape (n_basins,)."""
        inside = np.asarray(region, dtype=bool)
        return (
            int(self.transitions[np.ix_(~inside, inside)].sum()),
            int(self.transitions[np.ix_(inside, ~inside)].sum()),
        )


def basin_visits(labels: ArrayLike, walker: ArrayLike, n_basins: int) -> BasinVisits:
    """Visits and transitions between cores by milestoning.

    A walker belongs to the core it was in last until it enters another one, so that going to the barrier and
    back, or to and fro across it, is no transition.

    Args:
        labels: core of every frame, 0 .. n_basins - 1, or -1 outside of all, shape (n,); each walker's in
            the order of time.
        walker: walker of every frame, shape (n,).
        n_basins: how many cores there are.

    Raises:
        GridError: for shapes that do not match, or labels out of range.

    Source: Schuette et al., J. Chem. Phys. 134, 204105 (2011), doi:10.1063/1.3590108.
    """
    core, who = np.asarray(labels, dtype=np.int64), np.asarray(walker, dtype=np.int64)
    if core.ndim != 1 or who.shape != core.shape or ((core < -1) | (core >= n_basins)).any():
        raise GridError(
            f"basin_visits: needs labels in -1 .. {n_basins - 1} and walkers of one shape (n,), got shapes "
            f"{core.shape} and {who.shape}"
        )
    transitions, round_trips = (np.zeros((n_basins, n_basins), dtype=np.int64) for _ in range(2))
    visited_by, entered_by = (np.zeros(n_basins, dtype=np.int64) for _ in range(2))
    for index in np.unique(who):
        path = _without_repeats(core[(who == index) & (core >= 0)])
        np.add.at(transitions, (path[:-1], path[1:]), 1)
        visited_by[np.unique(path)] += 1
        entered_by[np.unique(path[1:])] += 1
        for i in range(n_basins):
            for j in range(i):
                pair = _without_repeats(path[(path == i) | (path == j)])
                for start in (i, j):
                    after = len(pair) - 1 - int(len(pair) > 0 and pair[0] != start)
                    round_trips[start, i + j - start] += max(after, 0) // 2
    return BasinVisits(
        transitions=transitions, visited_by=visited_by, entered_by=entered_by, round_trips=round_trips
    )


def range_growth(
    values: ArrayLike,
    time_share: ArrayLike,
    *,
    periodic: bool,
    n_bins: int = 40,
    min_frames: int = 5,
    n_parts: int = 3,
) -> FloatArray:
    """Share of the visited bins of a coordinate that were first visited in each part of the time.

    A range that still grows in the last part will go on growing. A bin is visited from its min_frames-th
    frame on, and the bins span the values without the min_frames - 1 outermost on each side, so that a few
    wild frames neither count nor stretch the bins.

    Args:
        values: the coordinate; an angle [rad] if periodic, whose bins span 2 pi; shape (n,).
        time_share: time of each frame as a share of the run, in [0, 1], shape (n,).
        n_bins: number of bins.
        min_frames: frames that make a bin visited.
        n_parts: parts of equal length, 3 for thirds.

    Returns:
        sum 1, shape (n_parts,); the last entry is what was found last.

    Raises:
        GridError: for shapes that do not match, or shares outside [0, 1].
        SamplingError: if no bin is visited, or for values that are not finite.
    """
    x, share = np.asarray(values, dtype=np.float64), np.asarray(time_share, dtype=np.float64)
    if x.ndim != 1 or share.shape != x.shape or not np.all((share >= 0) & (share <= 1)):
        raise GridError(
            f"range_growth: needs values and shares in [0, 1] of one shape (n,), got {x.shape} and "
            f"{share.shape}"
        )
    if not np.isfinite(x).all() or len(x) < 2 * min_frames:
        raise SamplingError(
            f"range_growth: needs >= {2 * min_frames} frames with finite values, got {len(x)}; sample longer"
        )
    bins, inside = _range_bins(x, periodic, n_bins, min_frames)
    part = np.minimum((share[inside] * n_parts).astype(np.int64), n_parts - 1)
    counts = np.zeros((n_bins, n_parts), dtype=np.int64)
    np.add.at(counts, (bins[inside], part), 1)
    seen = np.cumsum(counts, axis=1) >= min_frames
    visited = seen[seen[:, -1]]
    if not len(visited):
        raise SamplingError(
            f"range_growth: needs a bin with >= {min_frames} frames, got none; take fewer bins, sample longer"
        )
    return np.bincount(np.argmax(visited, axis=1), minlength=n_parts) / len(visited)


def _range_bins(x: FloatArray, periodic: bool, n_bins: int, min_frames: int) -> tuple[IntArray, BoolArray]:
    """Bin of every value, and whether it lies in the range that bins span."""
    low, high = -np.pi, np.pi
    if periodic:
        x = np.mod(x + np.pi, 2 * np.pi) - np.pi
    else:
        ordered = np.partition(x, (min_frames - 1, len(x) - min_frames))
        low, high = float(ordered[min_frames - 1]), float(ordered[-min_frames])
    inside = (x >= low) & (x <= high)
    width = (high - low) / n_bins if high > low else 1.0
    return np.clip(((x - low) / width).astype(np.int64), 0, n_bins - 1), inside


def _without_repeats(path: IntArray) -> IntArray:
    """Visits in their order: successive equal labels are one."""
    return path[np.insert(path[1:] != path[:-1], 0, True)] if len(path) else path


def _normal_scores(chains: FloatArray) -> FloatArray:
    """Normal quantiles of the ranks (ties share theirs), at (rank - 3/8) / (n + 1/4) after Blom."""
    ranks = rankdata(chains).reshape(chains.shape)
    return np.asarray(ndtri((ranks - 0.375) / (chains.size + 0.25)))


def _split_ratio(chains: FloatArray) -> float:
    """((n - 1)/n + B/(n W))^(1/2) of chains of n values."""
    if not np.ptp(chains, axis=1).any():
        return np.inf
    n = chains.shape[1]
    within, between = chains.var(axis=1, ddof=1).mean(), chains.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within))
