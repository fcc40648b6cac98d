"""How many independent frames the free energy of a bin rests on, and which bins have too few.

F of a bin is -kT ln of the sum of its weights. Where few frames fall, or one of them has most of the weight,
that sum says nothing, however many digits it has: such a bin is unknown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array, csgraph

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.integration import FreeEnergy
from aecv.numerics.free_energy.poisson import neighbours


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """The way of walkers through a set of frames.

    Attributes:
        order: frames walker by walker, each in the order of time, shape (n,).
        begins: which of these is the first of its walker, shape (n,).
    """

    order: IntArray
    begins: BoolArray

    @classmethod
    def of(cls, run: ArrayLike, walker: ArrayLike, time: ArrayLike) -> "Course":
        """That of frames in any order.

        Args:
            run: run of every frame, such as the iteration, shape (n,).
            walker: its walker, shape (n,).
            time: its time, progress or number within the run, shape (n,).

        Raises:
            GridError: for shapes that do not match.
        """
        runs, walkers, times = np.asarray(run), np.asarray(walker), np.asarray(time)
        if runs.ndim != 1 or walkers.shape != runs.shape or times.shape != runs.shape:
            raise GridError(
                f"course: run, walker and time need one shape (n,), got {runs.shape}, {walkers.shape} and "
                f"{times.shape}"
            )
        order = np.lexsort((times, walkers, runs))
        changed = (np.diff(runs[order]) != 0) | (np.diff(walkers[order]) != 0)
        return cls(order=order, begins=np.concatenate([[True], changed])[: len(order)])

    def effective_visits(self, bins: IntArray, weights: FloatArray, size: int) -> FloatArray:
        """Effective number of visits of each bin, (sum_v W_v)^2 / sum_v W_v^2 over its visits v.

        A visit is all frames in a row that one walker has in the bin, and W_v the sum of their weights, since
        frames of one stay are hardly independent. The number is that of the visits where these have similar
        weights, and 1 where one of them has nearly all. The relative error of the sum of all weights is at
        best its inverse root.

        Args:
            bins: flat index of the bin of every frame, negative for none, shape (n,).
            weights: >= 0, any normalisation, shape (n,).
            size: number of bins.

        Returns:
            shape (size,); 0 where no weight fell.

        Source: Kish, Survey Sampling, Wiley (1965), applied to visits.
        """
        if not len(self.order):
            return np.zeros(size)
        along = bins[self.order]
        first = np.flatnonzero(self.begins | np.concatenate([[True], np.diff(along) != 0]))
        mass, where = np.add.reduceat(weights[self.order], first), along[first]
        mass, where = mass[where >= 0], where[where >= 0]
        top = np.zeros(size)
        np.maximum.at(top, where, mass)
        # scaled, since squares of small weights are 0
        scaled = np.divide(mass, top[where], out=np.zeros(len(mass)), where=top[where] > 0)
        total, squares = np.bincount(where, scaled, size), np.bincount(where, scaled**2, size)
        return np.divide(total**2, squares, out=np.zeros(size), where=squares > 0)


def flat_bins(points: FloatArray, edges: Sequence[FloatArray]) -> IntArray:
    """Flat index of each point's bin, -1 outside; the upper edge of the last bin belongs to it.

    Args:
        points: shape (n, d).
        edges: of the bins per coordinate, rising.
    """
    flat = np.zeros(len(points), dtype=np.int64)
    outside = np.zeros(len(points), dtype=bool)
    for dim, axis in enumerate(edges):
        cell = np.searchsorted(axis, points[:, dim], side="right") - 1
        cell[points[:, dim] == axis[-1]] = len(axis) - 2
        outside |= (cell < 0) | (cell > len(axis) - 2) | ~np.isfinite(points[:, dim])
        flat = flat * (len(axis) - 1) + np.clip(cell, 0, len(axis) - 2)
    return np.where(outside, -1, flat)


def minus_log(
    points: FloatArray, edges: Sequence[FloatArray], weights: FloatArray, course: Course, least: float
) -> tuple[FloatArray, BoolArray]:
    """-ln of the weight of every bin that is known, minimum 0, and the bins whose weight says too little.

    Args:
        points: shape (n, d).
        edges: of the bins per coordinate, rising.
        weights: >= 0, any normalisation, shape (n,).
        course: the way of the walkers through the points.
        least: effective visits under which a bin is unknown; see `Course.effective_visits`.

    Returns:
        values, NaN where not known, and where there is a weight and no value; both of the bins' shape.
    """
    shape = tuple(len(axis) - 1 for axis in edges)
    bins, size = flat_bins(points, edges), int(np.prod(shape))
    mass = np.bincount(bins[bins >= 0], weights[bins >= 0], minlength=size)
    known = (mass > 0) & (course.effective_visits(bins, weights, size) >= least)
    values = np.full(size, np.nan)
    np.log(mass, out=values, where=known)
    values = np.max(values, where=known, initial=-np.inf) - values if known.any() else values
    return values.reshape(shape), ((mass > 0) & ~known).reshape(shape)


def supported(found: FreeEnergy, counts: ArrayLike, least: float) -> FloatArray:
    """F of an integrated gradient on the bins with enough samples that hang together [kJ/mol].

    The gradient of a bin with few samples is noise; a path over such bins joins nothing. Kept are the bins
    with at least `least` samples that chains of such neighbours join to the most samples. Their values are
    those that were integrated over all visited bins.

    Args:
        found: as `integrate_gradient` gave it.
        counts: samples per bin, shape (size,).
        least: fewer samples leave a bin unknown.

    Returns:
        shape (size,), minimum 0; NaN elsewhere.
    """
    n, grid = np.asarray(counts, dtype=np.float64), found.grid
    values = found.on_main()
    known = np.isfinite(values) & (n >= least)
    if not known.any():
        return np.full(grid.size, np.nan)
    labels = _pieces(known, grid)
    heaviest = np.argmax(np.bincount(labels[known], n[known]))
    values = np.where(known & (labels == heaviest), values, np.nan)
    return np.asarray(values - np.nanmin(values))


def _pieces(known: BoolArray, grid: Grid) -> IntArray:
    """Connected piece of every bin, shape (size,); bins that are not known are pieces of their own."""
    pairs = [neighbours(grid, dim) for dim in range(grid.n_dims)]
    a, b = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    joined = known[a] & known[b]
    graph = coo_array((np.ones(joined.sum()), (a[joined], b[joined])), shape=(grid.size, grid.size))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], dtype=np.int64)
