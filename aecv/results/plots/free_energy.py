"""Free energies: over the learned CV, and over a plane of physical observables."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.landscape import marginal
from aecv.numerics.free_energy.support import Course, minus_log
from aecv.results.plots import style, surface
from aecv.results.story.content import Biased, Frames
from aecv.results.story.uncertainty import CEILING_KJ_MOL

PER_ROW = 5
LOW_KJ_MOL = 20.0
"""Where an exact F and an estimate are brought to the same mean."""


def free_energy_in_xi(iterations: Sequence[Biased], *, kt: float, ceiling: float = 100.0) -> Figure:
    """Free energy over the CV, one panel per iteration, all on one energy scale and one range of the CV.

    1-D as lines, 2-D as maps of the bins with contours; 3-D as one row of three maps per iteration, the
    third component c integrated out: F(a, b) = -kT ln sum_c exp(-F(a, b, c)/kT). Maps are grey where F is not
    known and samples are. The exact F is drawn in black behind 1-D estimates, moved to the same mean over the
    visited bins whose exact F is at most 20 kJ/mol above their lowest.

    Args:
        iterations: at least one; the CVs have the same number of components.
        kt: thermal energy [kJ/mol].
        ceiling: the energy scale ends here or at the highest value [kJ/mol].

    Raises:
        GridError: without an iteration, or when the grids differ in dimension.
    """
    if not iterations:
        raise GridError("free energy pictures: need at least one iteration, got none")
    grids = [item.grid for item in iterations]
    n_dims = grids[0].n_dims
    for item in iterations:
        if item.grid.n_dims != n_dims:
            raise GridError(f"{item.name}: needs {n_dims} dimensions like the first, got {item.grid.n_dims}")
    level = surface.energy_levels([item.values for item in iterations], ceiling)
    bounds = [_range(grids, dim) for dim in range(n_dims)]
    pairs = list(combinations(range(n_dims), 2)) if n_dims == 3 else []
    n_columns = len(pairs) or min(PER_ROW, len(iterations))
    n_rows = len(iterations) if pairs else -(-len(iterations) // n_columns)
    width = 2.1 if n_columns > 3 else 3.2
    figure, axes = style.panels(n_rows, n_columns, width=width, height=0.95 * width)
    if n_dims == 1:
        known = [_moved(item, top=level[-1]) for item in iterations]
        limits = _energies(known, top=level[-1], ceiling=ceiling)
        for axis, item, answer in zip(axes.flat, iterations, known, strict=False):
            if answer is not None:
                axis.plot(item.grid.centers(0), answer, color="black", linewidth=3.2, alpha=0.85)
            _line(axis, item, limits=limits)
            axis.set_xlim(bounds[0])
    else:
        flat = [(item, pair) for item in iterations for pair in pairs or [(0, 1)]]
        for axis, (item, pair) in zip(axes.flat, flat, strict=False):
            grid = item.grid
            others = tuple(dim for dim in range(n_dims) if dim not in pair)
            shown = item.values.reshape(grid.shape)
            shown = marginal(shown, others, kt=kt) if others else shown
            unknown = item.visited.reshape(grid.shape).any(axis=others) & np.isnan(shown)
            surface.greyed(axis, grid.edges(pair[0]), grid.edges(pair[1]), unknown)
            image = _map(axis, grid, shown, pair, level)
            axis.set_xlim(bounds[pair[0]])
            axis.set_ylim(bounds[pair[1]])
            axis.set_title(item.name, fontsize=10, color=style.INK)
        surface.energy_bar(figure, image, list(axes.flat), "free energy (grey: unknown)")
    for axis in axes.flat[len(iterations) * max(1, len(pairs)) :]:
        axis.set_visible(False)
    return figure


def frames_in_plane(frames: Frames, *, n_bins: int = 72, ceiling: float = CEILING_KJ_MOL) -> Figure:
    """Where frames lie in the plane of their first two observables, and the free energy of their weights.

    That is -kT ln sum w per bin; bounds of the region are lines.

    Args:
        frames: of two observables or more, each walker in the order of time.
        n_bins: per axis.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].
    """
    (first, x), (second, y), *_ = frames.observables
    names, periodic = (first.titled, second.titled), (first.periodic, second.periodic)
    bounds = [style.limits(v, periodic=p) for v, p in zip((x, y), periodic, strict=True)]
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=n_bins, range=bounds)
    figure, axes = style.panels(1, 2, width=4.4, height=3.6)
    left, right = axes[0]
    image = left.pcolormesh(
        x_edges,
        y_edges,
        np.ma.masked_less(counts, 1).T,
        norm=LogNorm(1, max(10.0, counts.max())),
        cmap=style.density_map(),
    )
    left.set_title(f"{x.size:,} frames", fontsize=10, color=style.INK)
    surface.bar(figure, image, [left], "frames per bin")
    course = Course.of(np.zeros(len(x)), frames.walker, np.arange(len(x)))
    points, weights = np.stack([x, y], axis=1), frames.weights
    values, unknown = minus_log(points, [x_edges, y_edges], weights, course, frames.least_visits)
    energy = frames.kt * values
    surface.greyed(right, x_edges, y_edges, unknown)
    image = surface.bands(right, x_edges, y_edges, energy, surface.energy_levels([energy], ceiling))
    right.set_title(
        f"reweighted, $n_\\mathrm{{eff}}$ = {_effective(weights):,.0f} (grey: unknown)",
        fontsize=10,
        color=style.INK,
    )
    surface.energy_bar(figure, image, [right], "free energy")
    for axis in (left, right):
        surface.plane(axis, names, periodic, bounds)
        for bound in frames.region or ():
            axis.axvline(bound, color=style.LINES[1], linewidth=1, linestyle=(0, (4, 3)))
    return figure


def _range(grids: Sequence[Grid], dim: int) -> tuple[float, float]:
    """From the lowest to the highest end of any of the grids."""
    return min(grid.lower[dim] for grid in grids), max(grid.upper[dim] for grid in grids)


def _effective(weights: FloatArray) -> float:
    return float(weights.sum() ** 2 / np.sum(weights**2)) if np.any(weights) else 0.0


def _line(axis: Axes, item: Biased, *, limits: tuple[float, float]) -> None:
    axis.plot(item.grid.centers(0), item.values, color=style.LINES[0], linewidth=1.6)
    axis.set_ylim(limits)
    axis.set_xlabel(style.component(0))
    axis.set_ylabel(f"F [{style.ENERGY}]")
    axis.set_title(item.name, fontsize=10, color=style.INK)
    style.open_frame(axis)
    if not np.isfinite(item.values).any():
        style.say(axis, "nothing visited")


def _moved(item: Biased, *, top: float) -> FloatArray | None:
    """The exact F, with the mean of the estimate over the bins that are low; walls are not well sampled."""
    if item.exact is None:
        return None
    visited = np.isfinite(item.values)
    lowest = float(np.min(item.exact, where=visited, initial=np.inf))
    both = visited & (item.exact < lowest + min(top, LOW_KJ_MOL))
    return item.exact + (float(np.mean(item.values[both] - item.exact[both])) if both.any() else 0.0)


def _energies(exact: Sequence[FloatArray | None], *, top: float, ceiling: float) -> tuple[float, float]:
    """Range of the axis: 0 to top, and the exact curves from their first low bin to the last one.

    What lies beyond is wall. An estimate may know one of two basins only; the other one is to be seen too.
    """
    low, high = 0.0, top
    for values in exact:
        if values is None:
            continue
        lowest = np.flatnonzero(values - np.min(values) < LOW_KJ_MOL)
        held = np.clip(values[lowest[0] : lowest[-1] + 1], -ceiling, ceiling)
        low, high = min(low, float(held.min())), max(high, float(held.max()))
    return low - 0.03 * (high - low), high + 0.03 * (high - low)


def _map(axis: Axes, grid: Grid, values: FloatArray, pair: tuple[int, int], levels: FloatArray) -> Any:
    image = surface.bands(axis, grid.edges(pair[0]), grid.edges(pair[1]), values, levels)
    axis.set_xlabel(style.component(pair[0]), labelpad=1)
    axis.set_ylabel(style.component(pair[1]), labelpad=1)
    return image
