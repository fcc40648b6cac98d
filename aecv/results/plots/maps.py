"""What the CV has learned: the CV coloured by observables, and observables coloured by the CV."""

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.results.plots import style
from aecv.results.story.content import Frames

MAX_POINTS = 20_000


def cv_coloured_by_observables(frames: Frames) -> Figure:
    """Frames in the space of the CV, coloured by each observable; a good CV shows ordered colours.

    One column per observable. A CV of one component is drawn against the observable itself; of three,
    every pair of components gets a row.
    """
    xi = frames.xi
    shown = shown_frames(len(xi))
    pairs = list(combinations(range(xi.shape[1]), 2)) or [(0, 0)]
    figure, axes = style.panels(len(pairs), max(1, len(frames.observables)), width=3.6, height=3.2)
    for column, (item, values) in enumerate(frames.observables):
        name, angle = item.titled, item.periodic
        if xi.shape[1] == 1:
            one_component(axes[0, column], xi[shown, 0], values[shown], name, angle)
            continue
        for row, (first, second) in enumerate(pairs):
            axis = axes[row, column]
            points = coloured_points(axis, xi[shown, first], xi[shown, second], values[shown], periodic=angle)
            axis.set_xlabel(style.component(first))
            axis.set_ylabel(style.component(second))
        colour_bar(figure, points, list(axes[:, column]), style.label(name, periodic=angle), periodic=angle)
    return figure


def observables_coloured_by_cv(
    x: FloatArray,
    y: FloatArray,
    xi: FloatArray,
    *,
    names: tuple[str, str],
    periodic: tuple[bool, bool],
) -> Figure:
    """Frames in a plane of two observables, one panel per component of the CV.

    Args:
        x, y: two observables of the frames [rad for angles], shape (n,).
        xi: shape (n, d).
        names: of the two observables; with the unit unless periodic.
        periodic: whether each is an angle in (-pi, pi].
    """
    shown = shown_frames(len(xi))
    figure, axes = style.panels(1, xi.shape[1], width=3.6, height=3.2)
    for index, axis in enumerate(axes[0]):
        points = coloured_points(axis, x[shown], y[shown], xi[shown, index], periodic=False)
        for which, values, name, angle in zip("xy", (x, y), names, periodic, strict=True):
            _axis(axis, which, values, name, angle)
        colour_bar(figure, points, [axis], style.component(index), periodic=False)
    return figure


def shown_frames(n: int) -> Any:
    """At most MAX_POINTS frames in a fixed shuffled order, so that late frames do not hide early ones."""
    return np.random.default_rng(0).permutation(n)[:MAX_POINTS]


def coloured_points(axis: Axes, x: FloatArray, y: FloatArray, colour: FloatArray, *, periodic: bool) -> Any:
    """Frames as points whose colours end at the 1st and 99th percentile, or go round the circle."""
    low, high = -np.pi, np.pi
    if not periodic:
        finite = colour[np.isfinite(colour)]
        # A few outliers must not take the colours away from all the others.
        low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    size = 4.0 if x.size > 3000 else 8.0
    cmap = style.colour_map(periodic=periodic)
    return axis.scatter(x, y, c=colour, s=size, linewidths=0, cmap=cmap, vmin=low, vmax=high)


def one_component(axis: Axes, xi: FloatArray, values: FloatArray, name: str, periodic: bool) -> None:
    """Frames as points, a quantity against the only component of a CV."""
    axis.scatter(xi, values, s=2.5, linewidths=0, color=style.LINES[0], alpha=0.4)
    axis.set_xlabel(style.component(0))
    _axis(axis, "y", values, name, periodic)


def _axis(axis: Axes, which: str, values: FloatArray, name: str, periodic: bool) -> None:
    bounds = style.limits(values, periodic=periodic)
    text = style.label(name, periodic=periodic)
    if which == "x":
        axis.set_xlim(bounds)
        axis.set_xlabel(text)
    else:
        axis.set_ylim(bounds)
        axis.set_ylabel(text)
    if periodic:
        style.angle_ticks(axis, which)


def colour_bar(figure: Figure, points: Any, axes: list[Axes], text: str, *, periodic: bool) -> None:
    """The scale of colours beside some panels."""
    bar = figure.colorbar(points, ax=axes, aspect=25 * len(axes), pad=0.02)
    bar.set_label(text, color=style.INK)
    bar.ax.tick_params(labelsize=9, colors=style.INK)
    if periodic:
        style.angle_ticks(bar.ax, "y")
