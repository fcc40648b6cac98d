"""What a CV makes of frames: their density in it, and frames coloured by what else is known of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import BoolArray, FloatArray
from aecv.numerics.free_energy.support import Course, minus_log
from aecv.results.plots import maps, style, surface

_COLUMNS = 4
_BINS = (60, 48)
"""Bins of a profile, and per axis of a map: at most."""
_FEWEST, _PER_BIN = 8, 10
"""Bins of few frames: wide enough for some to hold several, since one alone tells nothing."""
_CEILING_KT = 8.0


def latent_map(
    xi: FloatArray,
    colours: Mapping[str, FloatArray],
    weights: FloatArray,
    *,
    periodic: Mapping[str, bool],
    title: str = "",
    least_visits: float = 0.0,
) -> Figure:
    """-ln p of frames along the CV, and the frames in it, a panel for each quantity that colours them.

    A CV of one component is drawn against each quantity; of three, every pair has its panels. Nothing is
    corrected for what was not sampled: -ln p is a free energy in kT only as far as the weights are those of
    equilibrium.

    Args:
        xi: in the order of time, shape (n, d), d from 1 to 3.
        colours: name -> values [rad for angles], shape (n,); NaN where unknown.
        weights: sum 1, shape (n,).
        periodic: name -> whether it is an angle in (-pi, pi].
        title: above all panels.
        least_visits: effective visits under which -ln p of a bin is unknown; see `Course.effective_visits`.
    """
    pairs = list(combinations(range(xi.shape[1]), 2)) or [(0, 0)]
    n_panels = len(pairs) * (1 + len(colours))
    n_columns = 1 + len(colours) if len(pairs) > 1 else min(_COLUMNS, n_panels)
    figure, axes = style.panels(ceil(n_panels / n_columns), n_columns, width=3.6, height=3.2)
    panels: Iterator[Axes] = iter(axes.flat)
    shown = maps.shown_frames(len(xi))
    for first, second in pairs:
        known = _Known.of(xi[:, list(dict.fromkeys((first, second)))], weights, least_visits)
        _density(figure, next(panels), xi, known, first, second)
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


def differ(weights: FloatArray) -> bool:
    """Whether weights are more than equal ones, up to rounding."""
    return bool(np.ptp(weights) > 1e-9 * weights.max())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Known:
    """-ln p of the bins of one or two components, minimum 0, NaN where unknown."""

    edges: list[FloatArray]
    values: FloatArray
    unknown: BoolArray
    is_weighted: bool

    @classmethod
    def of(cls, points: FloatArray, weights: FloatArray, least_visits: float) -> "_Known":
        n, d = points.shape
        n_bins = int(np.clip((n / _PER_BIN) ** (1 / d), _FEWEST, _BINS[d - 1]))
        edges = [np.histogram_bin_edges(points[:, c], n_bins) for c in range(d)]
        course = Course.of(np.zeros(n), np.zeros(n), np.arange(n))
        values, unknown = minus_log(points, edges, weights, course, least_visits)
        return cls(edges=edges, values=values, unknown=unknown, is_weighted=differ(weights))


def _density(figure: Figure, axis: Axes, xi: FloatArray, known: _Known, first: int, second: int) -> None:
    """-ln p; grey where too few frames tell, white where none is."""
    weighted = ", weighted" if known.is_weighted else ""
    label = rf"$-\ln p${weighted} (grey: unknown)"
    if xi.shape[1] == 1:
        (edges,) = known.edges
        across = axis.get_xaxis_transform()
        axis.stairs(known.unknown.astype(float), edges, fill=True, color=style.FAINT, transform=across)
        axis.stairs(known.values, edges, color=style.LINES[0], baseline=None)
        style.open_frame(axis)
        axis.set_xlabel(style.component(0))
        axis.set_ylabel(label, color=style.INK)
        return
    x_edges, y_edges = known.edges
    surface.greyed(axis, x_edges, y_edges, known.unknown)
    values = np.ma.masked_invalid(known.values).T
    image = axis.pcolormesh(x_edges, y_edges, values, cmap="viridis", vmin=0.0, vmax=_CEILING_KT)
    _name_axes(axis, xi, first, second)
    bar = figure.colorbar(image, ax=axis, aspect=25, pad=0.02, extend="max")
    bar.set_label(label, color=style.INK)
    bar.ax.tick_params(labelsize=9, colors=style.INK)


def _name_axes(axis: Axes, xi: FloatArray, first: int, second: int) -> None:
    """Names, and the same ends in all panels of a pair."""
    axis.set_xlabel(style.component(first))
    axis.set_ylabel(style.component(second))
    axis.set_xlim(style.limits(xi[:, first], periodic=False))
    axis.set_ylim(style.limits(xi[:, second], periodic=False))
