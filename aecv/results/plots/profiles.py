"""Free energies along one coordinate, with what is known about their error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.results.plots import intervals, style
from aecv.results.plots.intervals import Limits

PER_ROW = 3
Kind = Literal["exact", "czar", "f_kappa", "earlier"]

_LOOKS: dict[Kind, dict[str, Any]] = {
    # Wider than the main curve and behind it, so that it shows on both sides where the two agree.
    "exact": {"color": "black", "linewidth": 3.0, "zorder": 1.8},
    "czar": {"color": style.LINES[1], "linewidth": 1.4, "linestyle": (0, (5, 2))},
    "f_kappa": {"color": style.LINES[2], "linewidth": 1.6, "linestyle": (0, (1, 1.4))},
    "earlier": {"color": style.FAINT, "linewidth": 0.9, "zorder": 1.7},
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A free energy to compare with.

    Attributes:
        label: for the legend; curves of one panel with equal labels share one entry.
        values: F [kJ/mol] from the same zero as the profile, shape (n,); NaN where unknown.
        kind: how it is drawn: `exact` black and behind, `czar` dashed, `f_kappa` dotted, `earlier` thin grey.
        points: of the coordinate, shape (n,); None for those of the profile.
    """

    label: str
    values: FloatArray
    kind: Kind
    points: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A free energy along one coordinate and its 95 % interval.

    Attributes:
        name: of the coordinate; with its unit unless periodic.
        points: increasing bin centres [rad for angles], shape (n,).
        values: F [kJ/mol], shape (n,); NaN where unknown.
        interval: lower and upper ends of the 95 % interval [kJ/mol], shape (n,) each, or None. An end that is
            infinite or NaN where F is known is drawn to the edge of the panel.
        periodic: whether the coordinate is an angle in (-pi, pi].
        label: of the curve in the legend.
        curves: further free energies.

    Raises:
        GridError: when there is no point, or an array does not have the shape of its points.
    """

    name: str
    points: FloatArray
    values: FloatArray
    interval: tuple[FloatArray, FloatArray] | None = None
    periodic: bool = False
    label: str = "F"
    curves: tuple[Curve, ...] = ()

    def __post_init__(self) -> None:
        place = f"profile along {self.name}"
        if np.ndim(self.points) != 1 or np.size(self.points) == 0:
            raise GridError(f"{place}: points needs shape (n,) with n > 0, got {np.shape(self.points)}")
        lower, upper = self.interval or (None, None)
        shape = np.shape(self.points)
        intervals.check_shape(place, shape, values=self.values, lower=lower, upper=upper)
        for curve in self.curves:
            shape = np.shape(self.points if curve.points is None else curve.points)
            intervals.check_shape(f"{place}, curve '{curve.label}'", shape, values=curve.values)


def profile_with_error(panels: Sequence[Profile], *, ceiling: float = 60.0) -> Figure:
    """Free energies along one or several coordinates with shaded 95 % intervals, on one scale.

    Where F is known and its error is not, the line is dashed and the area hatched.

    Args:
        panels: one per coordinate.
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
        _compared(axis, profile.curves, profile.points)
        _axes(axis, profile, limits)
    labels = {text for axis in axes.flat for text in axis.get_legend_handles_labels()[1]}
    if len(labels) > 1:  # one curve explains itself
        style.legend(figure, n_columns=3 * n_columns)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    return figure


def walker_profiles(pooled: Profile, walkers: FloatArray, *, ceiling: float = 60.0) -> Figure:
    """Free energy along a coordinate from each walker alone (thin) and from all (bold).

    Args:
        pooled: of all walkers together, with its interval if there is one.
        walkers: F of each walker [kJ/mol] from the same zero, shape (n_walkers, n); NaN where it never was.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].

    Raises:
        GridError: when the walkers' values do not have the shape of the points.
    """
    walkers = np.asarray(walkers, dtype=float)
    n_walkers = len(walkers) if walkers.ndim == 2 else 0
    intervals.check_shape(
        f"walkers along {pooled.name}", (n_walkers or 1, *np.shape(pooled.points)), values=walkers
    )
    limits = _limits(pooled, ceiling, walkers)
    figure, axes = style.panels(1, 1, width=7.4, height=4.0)
    axis: Axes = axes[0, 0]
    # The first colour is that of the pooled curve.
    for number, (values, colour) in enumerate(zip(walkers, style.colours(n_walkers + 1)[1:], strict=True)):
        _line(axis, pooled.points, values, color=colour, linewidth=1.0, label=f"walker {number}")
    _main(axis, pooled, limits, linewidth=2.6)
    _compared(axis, pooled.curves, pooled.points)
    _axes(axis, pooled, limits)
    handles, labels = axis.get_legend_handles_labels()
    order = [*range(n_walkers, len(labels)), *range(n_walkers)]
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        fontsize=9,
        frameon=False,
        loc="outside right upper",
    )
    return figure


def _limits(profile: Profile, ceiling: float, *more: FloatArray) -> Limits:
    values = [profile.values, *(curve.values for curve in profile.curves), *more]
    return intervals.energy_limits(values, profile.interval or (), ceiling=ceiling)


def _main(axis: Axes, profile: Profile, limits: Limits, *, linewidth: float = 1.7) -> None:
    colour = style.LINES[0]
    known = np.isfinite(profile.values)
    bare = np.zeros(known.shape, dtype=bool)
    if profile.interval is not None:
        bare = known & intervals.unbounded(profile.interval)
        intervals.band(axis, profile.points, known, profile.interval, limits=limits, colour=colour)
    look: dict[str, Any] = {"color": colour, "linewidth": linewidth, "zorder": 2.5}
    _line(axis, profile.points, np.where(bare, np.nan, profile.values), label=profile.label, **look)
    if bare.any():
        shown = np.where(intervals.beside(bare), profile.values, np.nan)
        text = intervals.UNKNOWN
        _line(axis, profile.points, shown, label=text, linestyle=intervals.DASHES, hollow=True, **look)
    if not known.any():
        style.say(axis, "nothing visited")


def _compared(axis: Axes, curves: Sequence[Curve], points: FloatArray) -> list[str]:
    """Draw curves, each label once in the legend; returns the labels."""
    labels: list[str] = []
    for curve in curves:
        label = None if curve.label in labels else curve.label
        _line(
            axis,
            points if curve.points is None else curve.points,
            curve.values,
            label=label,
            **_LOOKS[curve.kind],
        )
        labels.append(curve.label)
    return labels


def _line(axis: Axes, points: FloatArray, values: FloatArray, *, hollow: bool = False, **look: Any) -> None:
    """A line with gaps, and dots (or circles) for the points that stand alone between gaps."""
    axis.plot(points, values, **look)
    alone = intervals.isolated(np.isfinite(values))
    if alone.any():
        look = {key: look[key] for key in ("color", "zorder") if key in look}
        face = {"markerfacecolor": "white", "markersize": 5.0} if hollow else {"markersize": 3.5}
        axis.plot(points[alone], values[alone], "o", **face, **look)


def _axes(axis: Axes, profile: Profile, limits: Limits) -> None:
    points = np.asarray(profile.points, dtype=float)
    half_bin = 0.5 * float(np.diff(points).mean()) if len(points) > 1 else 0.5
    axis.set_xlim((-np.pi, np.pi) if profile.periodic else (points[0] - half_bin, points[-1] + half_bin))
    axis.set_ylim(limits)
    axis.set_xlabel(style.label(profile.name, periodic=profile.periodic))
    if profile.periodic:
        style.angle_ticks(axis, "x")
    axis.set_ylabel(f"F [{style.ENERGY}]" + (", shaded: ±1.96 SE" if profile.interval is not None else ""))
    style.open_frame(axis)
