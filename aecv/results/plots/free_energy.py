"""Free energies: over the learned CV, and over a plane of physical observables."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.support import Course, minus_log
from aecv.results.plots import style, surface

PER_ROW = 5
LOW_KJ_MOL = 20.0
"""Where an exact F and an estimate are brought to the same mean."""


def free_energy_in_xi(
    panels: Sequence[tuple[str, Grid, FloatArray]],
    *,
    kt: float | None = None,
    ceiling: float = 100.0,
    exact: Sequence[FloatArray | None] = (),
    visited: Sequence[BoolArray] = (),
) -> Figure:
    """Free energy over the CV, one panel per iteration, all on one energy scale and one range of the CV.

    1-D as lines, 2-D as maps of the bins with contours; 3-D as one row of three maps per iteration, the
    third component c integrated out: F(a, b) = -kT ln sum_c exp(-F(a, b, c)/kT), or its minimum over c.

    Args:
        panels: per iteration a title, the grid, and F [kJ/mol], shape (grid.size,), NaN where unknown.
        kt: thermal energy [kJ/mol] for the 3-D case; without it the minimum is shown.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].
        exact: per panel the exact F, shape (grid.size,), or None; drawn in black behind 1-D estimates, moved
            to the same mean over the visited bins whose exact F is at most 20 kJ/mol above their lowest.

        visited: per panel the bins with samples, shape (grid.size,): of maps grey where F is not known.

    Raises:
        GridError: when F does not have the size of its grid, or the grids differ in dimension.
    """
    _check(panels)
    n_dims = panels[0][1].n_dims
    level = surface.energy_levels([values for _, _, values in panels], ceiling)
    bounds = [_range([grid for _, grid, _ in panels], dim) for dim in range(n_dims)]
    pairs = list(combinations(range(n_dims), 2)) if n_dims == 3 else []
    n_columns = len(pairs) or min(PER_ROW, len(panels))
    n_rows = len(panels) if pairs else -(-len(panels) // n_columns)
    width = 2.1 if n_columns > 3 else 3.2
    figure, axes = style.panels(n_rows, n_columns, width=width, height=0.95 * width)
    if n_dims == 1:
        known = [
            None if answer is None else _moved(panel, answer, top=level[-1])
            for panel, answer in zip(panels, [*exact, *[None] * len(panels)], strict=False)
        ]
        limits = _energies(known, top=level[-1], ceiling=ceiling)
        for axis, (title, grid, values), answer in zip(axes.flat, panels, known, strict=False):
            if answer is not None:
                axis.plot(grid.centers(0), answer, color="black", linewidth=3.2, alpha=0.85)
            _line(axis, title, grid, values, limits=limits)
            axis.set_xlim(bounds[0])
    else:
        seen = [*visited, *(np.isfinite(values) for _, _, values in panels[len(visited) :])]
        flat = [
            (*panel, s, pair) for panel, s in zip(panels, seen, strict=True) for pair in pairs or [(0, 1)]
        ]
        for axis, (title, grid, values, some, pair) in zip(axes.flat, flat, strict=False):
            shown = _projected(values.reshape(grid.shape), pair, kt)
            others = tuple(dim for dim in range(n_dims) if dim not in pair)
            unknown = some.reshape(grid.shape).any(axis=others) & np.isnan(shown)
            surface.greyed(axis, grid.edges(pair[0]), grid.edges(pair[1]), unknown)
            image = _map(axis, grid, shown, pair, level)
            axis.set_xlim(bounds[pair[0]])
            axis.set_ylim(bounds[pair[1]])
            axis.set_title(title, fontsize=10, color=style.INK)
        surface.energy_bar(figure, image, list(axes.flat), "free energy (grey: unknown)")
    for axis in axes.flat[len(panels) * max(1, len(pairs)) :]:
        axis.set_visible(False)
    return figure


def frames_in_plane(
    x: FloatArray,
    y: FloatArray,
    weights: FloatArray,
    *,
    names: tuple[str, str],
    periodic: tuple[bool, bool],
    kt: float,
    region: tuple[float, float] | None = None,
    walker: IntArray | None = None,
    least_visits: float = 0.0,
    n_bins: int = 72,
    ceiling: float = 60.0,
) -> Figure:
    """Where the biased frames lie, and the free energy that their weights give, -kT ln sum w per bin.

    Args:
        x, y: two observables of the frames [rad for angles], shape (n,).
        weights: Boltzmann weights, any normalisation, shape (n,).
        names: of the two observables; with the unit unless periodic.
        periodic: whether each is an angle in (-pi, pi].
        kt: thermal energy [kJ/mol].
        region: bounds in x that are drawn as lines, those of the Delta F in question.
        walker: of the frames, each in the order of time, shape (n,); None for one walker.
        least_visits: effective visits under which F of a bin is unknown; see `Course.effective_visits`.
        n_bins: per axis.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].
    """
    bounds = [style.limits(v, periodic=p) for v, p in zip((x, y), periodic, strict=True)]
    frames, x_edges, y_edges = np.histogram2d(x, y, bins=n_bins, range=bounds)
    figure, axes = style.panels(1, 2, width=4.4, height=3.6)
    left, right = axes[0]
    counts = left.pcolormesh(
        x_edges,
        y_edges,
        np.ma.masked_less(frames, 1).T,
        norm=LogNorm(1, max(10.0, frames.max())),
        cmap=style.density_map(),
    )
    left.set_title(f"{x.size:,} frames", fontsize=10, color=style.INK)
    surface.bar(figure, counts, [left], "frames per bin")
    course = Course.of(np.zeros(len(x)), np.zeros(len(x)) if walker is None else walker, np.arange(len(x)))
    values, unknown = minus_log(np.stack([x, y], axis=1), [x_edges, y_edges], weights, course, least_visits)
    energy = kt * values
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
        for bound in region or ():
            axis.axvline(bound, color=style.LINES[1], linewidth=1, linestyle=(0, (4, 3)))
    return figure


def _range(grids: Sequence[Grid], dim: int) -> tuple[float, float]:
    """From the lowest to the highest end of any of the grids."""
    return min(grid.lower[dim] for grid in grids), max(grid.upper[dim] for grid in grids)


def _check(panels: Sequence[tuple[str, Grid, FloatArray]]) -> None:
    if not panels:
        raise GridError("free energy pictures: need at least one panel, got none")
    for title, grid, values in panels:
        if np.shape(values) != (grid.size,):
            raise GridError(f"{title}: F needs shape ({grid.size},) for its grid, got {np.shape(values)}")
        if grid.n_dims != panels[0][1].n_dims:
            raise GridError(
                f"{title}: needs {panels[0][1].n_dims} dimensions like the first, got {grid.n_dims}"
            )


def _effective(weights: FloatArray) -> float:
    return float(weights.sum() ** 2 / np.sum(weights**2)) if np.any(weights) else 0.0


def _projected(values: FloatArray, pair: tuple[int, int], kt: float | None) -> FloatArray:
    """F over two of the dimensions, minimum 0; NaN where nothing was visited."""
    others = tuple(dim for dim in range(values.ndim) if dim not in pair)
    if not others:
        return values
    filled = np.where(np.isfinite(values), values, np.inf)
    lowest: FloatArray = np.asarray(filled.min(axis=others))
    if kt is not None:
        base = np.where(np.isfinite(lowest), lowest, 0.0)
        with np.errstate(divide="ignore"):
            lowest = base - kt * np.log(
                np.exp(-(filled - np.expand_dims(base, others)) / kt).sum(axis=others)
            )
    visited = np.isfinite(lowest)
    offset = float(lowest[visited].min()) if visited.any() else 0.0
    return np.where(visited, lowest, np.nan).astype(np.float64) - offset


def _line(axis: Axes, title: str, grid: Grid, values: FloatArray, *, limits: tuple[float, float]) -> None:
    axis.plot(grid.centers(0), values, color=style.LINES[0], linewidth=1.6)
    axis.set_ylim(limits)
    axis.set_xlabel(style.component(0))
    axis.set_ylabel(f"F [{style.ENERGY}]")
    axis.set_title(title, fontsize=10, color=style.INK)
    style.open_frame(axis)
    if not np.isfinite(values).any():
        style.say(axis, "nothing visited")


def _moved(panel: tuple[str, Grid, FloatArray], exact: FloatArray, *, top: float) -> FloatArray:
    """The exact F, with the mean of the estimate over the bins that are low; walls are not well sampled."""
    title, grid, values = panel
    if np.shape(exact) != (grid.size,):
        raise GridError(f"{title}: exact F needs shape ({grid.size},), got {np.shape(exact)}")
    visited = np.isfinite(values)
    lowest = float(np.min(exact, where=visited, initial=np.inf))
    both = visited & (exact < lowest + min(top, LOW_KJ_MOL))
    shift = float(np.mean(values[both] - exact[both])) if both.any() else 0.0
    return exact + shift


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
