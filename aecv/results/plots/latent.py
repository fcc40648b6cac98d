"""What a CV makes of frames: their density in it, and frames coloured by what else is known of them."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.results.plots import maps, style
from aecv.results.plots.style import FloatArray

_COLUMNS = 4
_BINS = (60, 48)
"""Bins of a profile, and per axis of a map."""
_CEILING_KT = 8.0


def latent_map(
    xi: FloatArray,
    colours: Mapping[str, FloatArray],
    weights: FloatArray,
    *,
    periodic: Mapping[str, bool],
    title: str = "",
) -> Figure:
    """-ln p of frames along the CV, and the frames in it, a panel for each quantity that colours them.

    A CV of one component is drawn against each quantity; of three, every pair has its panels. Nothing is
    corrected for what was not sampled: -ln p is a free energy in kT only as far as the weights are those of
    equilibrium.

    Args:
        xi: shape (n, d), d from 1 to 3.
        colours: name -> values [rad for angles], shape (n,); NaN where unknown.
        weights: sum 1, shape (n,).
        periodic: name -> whether it is an angle in (-pi, pi].
        title: above all panels.
    """
    pairs = list(combinations(range(xi.shape[1]), 2)) or [(0, 0)]
    n_panels = len(pairs) * (1 + len(colours))
    n_columns = 1 + len(colours) if len(pairs) > 1 else min(_COLUMNS, n_panels)
    figure, axes = style.panels(ceil(n_panels / n_columns), n_columns, width=3.6, height=3.2)
    panels: Iterator[Axes] = iter(axes.flat)
    shown = maps.shown_frames(len(xi))
    for first, second in pairs:
        _density(figure, next(panels), xi, weights, first, second)
        for name, values in colours.items():
            axis, angle = next(panels), periodic.get(name, False)
            if xi.shape[1] == 1:
                maps.one_component(axis, xi[shown, 0], values[shown], name, angle)
                continue
            points = maps.coloured_points(
                axis, xi[shown, first], xi[shown, second], values[shown], periodic=angle
            )
            _name_axes(axis, xi, first, second)
            maps.colour_bar(figure, points, [axis], style.label(name, periodic=angle), periodic=angle)
    for axis in panels:
        axis.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=11, color=style.INK)
    return figure


def _density(
    figure: Figure, axis: Axes, xi: FloatArray, weights: FloatArray, first: int, second: int
) -> None:
    """-ln p, its minimum 0; white where no frame is."""
    if xi.shape[1] == 1:
        p, edges = np.histogram(xi[:, 0], bins=_BINS[0], weights=weights)
        axis.stairs(_minus_log(p), edges, color=style.LINES[0], baseline=None)
        style.open_frame(axis)
        axis.set_xlabel(style.component(0))
        axis.set_ylabel(r"$-\ln p$, weighted", color=style.INK)
        return
    p, x_edges, y_edges = np.histogram2d(xi[:, first], xi[:, second], bins=_BINS[1], weights=weights)
    image = axis.pcolormesh(
        x_edges, y_edges, np.ma.masked_invalid(_minus_log(p)).T, cmap="viridis", vmin=0.0, vmax=_CEILING_KT
    )
    _name_axes(axis, xi, first, second)
    bar = figure.colorbar(image, ax=axis, aspect=25, pad=0.02, extend="max")
    bar.set_label(r"$-\ln p$, weighted", color=style.INK)
    bar.ax.tick_params(labelsize=9, colors=style.INK)


def _minus_log(p: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        values = -np.log(p)
    values[p <= 0] = np.nan
    return np.asarray(values - np.nanmin(values))


def _name_axes(axis: Axes, xi: FloatArray, first: int, second: int) -> None:
    """Names, and the same ends in all panels of a pair."""
    axis.set_xlabel(style.component(first))
    axis.set_ylabel(style.component(second))
    axis.set_xlim(style.limits(xi[:, first], periodic=False))
    axis.set_ylim(style.limits(xi[:, second], periodic=False))
