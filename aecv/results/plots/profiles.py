"""Free energies along one coordinate, with what is known about their error."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.results.plots import intervals, style
from aecv.results.plots.intervals import Limits
from aecv.results.story.content import Landscape
from aecv.results.story.uncertainty import CEILING_KJ_MOL, UNKNOWN, Z, beside, isolated, unbounded

PER_ROW = 3

# Wider than the main curve and behind it, so that it shows on both sides where the two agree.
_EXACT: dict[str, Any] = {"color": "black", "linewidth": 3.0, "zorder": 1.8}
_CZAR: dict[str, Any] = {"color": style.LINES[1], "linewidth": 1.4, "linestyle": (0, (5, 2))}


def profile_with_error(panels: Sequence[Landscape], *, ceiling: float = CEILING_KJ_MOL) -> Figure:
    """Free energies along one or several coordinates with shaded 95 % intervals, on one scale.

    Where F is known and its error is not, the line is dashed and the area hatched.

    Args:
        panels: one per coordinate, each along it alone.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].

    Raises:
        GridError: without a panel.
    """
    if not panels:
        raise GridError("free energy profiles: need at least one panel, got none")
    n_columns = min(PER_ROW, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure, axes = style.panels(n_rows, n_columns, width=4.4 if n_columns > 1 else 6.0, height=3.6)
    ranges = np.array([_limits(profile, ceiling) for profile in panels])
    limits = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    for axis, profile in zip(axes.flat, panels, strict=False):
        _main(axis, profile, limits)
        for label, values, look in (("exact", profile.exact, _EXACT), ("CZAR", profile.czar, _CZAR)):
            if values is not None:
                _line(axis, profile.axes[0], values, label=label, **look)
        _axes(axis, profile, limits)
    labels = {text for axis in axes.flat for text in axis.get_legend_handles_labels()[1]}
    if len(labels) > 1:  # one curve explains itself
        style.legend(figure, n_columns=3 * n_columns)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    return figure


def _limits(profile: Landscape, ceiling: float) -> Limits:
    values = [item for item in (profile.values, profile.exact, profile.czar) if item is not None]
    return intervals.energy_limits(values, profile.ends, ceiling=ceiling)


def _main(axis: Axes, profile: Landscape, limits: Limits) -> None:
    points, colour = profile.axes[0], style.LINES[0]
    known = np.isfinite(profile.values)
    bare = known & unbounded(profile.ends)
    intervals.band(axis, points, known, profile.ends, limits=limits, colour=colour)
    look: dict[str, Any] = {"color": colour, "linewidth": 1.7, "zorder": 2.5}
    _line(axis, points, np.where(bare, np.nan, profile.values), label="reweighted", **look)
    if bare.any():
        shown = np.where(beside(bare), profile.values, np.nan)
        _line(axis, points, shown, label=UNKNOWN, linestyle=intervals.DASHES, hollow=True, **look)
    if not known.any():
        style.say(axis, "nothing visited")


def _line(axis: Axes, points: FloatArray, values: FloatArray, *, hollow: bool = False, **look: Any) -> None:
    """A line with gaps, and dots (or circles) for the points that stand alone between gaps."""
    axis.plot(points, values, **look)
    alone = isolated(np.isfinite(values))
    if alone.any():
        look = {key: look[key] for key in ("color", "zorder") if key in look}
        face = {"markerfacecolor": "white", "markersize": 5.0} if hollow else {"markersize": 3.5}
        axis.plot(points[alone], values[alone], "o", **face, **look)


def _axes(axis: Axes, profile: Landscape, limits: Limits) -> None:
    (coordinate,), points = profile.coordinates, np.asarray(profile.axes[0], dtype=float)
    half_bin = 0.5 * float(np.diff(points).mean()) if len(points) > 1 else 0.5
    round_the_circle = (-np.pi, np.pi)
    axis.set_xlim(round_the_circle if coordinate.periodic else (points[0] - half_bin, points[-1] + half_bin))
    axis.set_ylim(limits)
    axis.set_xlabel(style.label(coordinate.titled, periodic=coordinate.periodic))
    if coordinate.periodic:
        style.angle_ticks(axis, "x")
    axis.set_ylabel(f"F [{style.ENERGY}], shaded: ±{Z} SE")
    style.open_frame(axis)
