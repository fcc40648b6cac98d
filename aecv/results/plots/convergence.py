"""Delta F against simulated time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.results.plots import intervals, style
from aecv.results.plots.intervals import Limits


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A free-energy difference from all data up to a time.

    Attributes:
        label: for the legend.
        time_ns: end of the data of each estimate [ns], shape (n,), increasing.
        values: Delta F [kJ/mol], shape (n,); NaN where there is none; +inf where the region was never visited
            and -inf where it was never left.
        interval: lower and upper ends of the 95 % interval [kJ/mol], shape (n,) each, or None; an end that is
            infinite or NaN is drawn to the edge of the panel.

    Raises:
        GridError: when the arrays differ in shape.
    """

    label: str
    time_ns: FloatArray
    values: FloatArray
    interval: tuple[FloatArray, FloatArray] | None = None

    def __post_init__(self) -> None:
        lower, upper = self.interval or (None, None)
        intervals.check_shape(
            f"Delta F in time, '{self.label}'",
            (np.size(self.time_ns),),
            time_ns=self.time_ns,
            values=self.values,
            lower=lower,
            upper=upper,
        )


def convergence_in_time(
    estimates: Sequence[Estimate],
    *,
    label: str,
    reference: float | tuple[float, float] | None = None,
) -> Figure:
    """Delta F as it grows out of more and more data, and the value it ends with.

    The last estimate (the production) is drawn strong; its final value is a dashed line. The others show
    their intervals when there are at most two of them: more shades would hide each other. The scale follows
    the later half of each estimate, since the first values may be anywhere.

    Args:
        estimates: curves, the most important one last.
        label: what the difference is between, for the axis.
        reference: a known value, drawn as a black line, or a trusted interval [kJ/mol].

    Raises:
        GridError: without an estimate.
    """
    if not estimates:
        raise GridError("Delta F in time: needs at least one estimate, got none")
    limits = _limits(estimates, reference)
    figure, axes = style.panels(1, 1, width=8.0, height=3.8)
    axis: Axes = axes[0, 0]
    intervals.known_value(axis, reference)
    earlier = colormaps["viridis"](np.linspace(0.45, 0.92, max(2, len(estimates) - 1)))
    others = [(estimate, to_hex(colour)) for estimate, colour in zip(estimates[:-1], earlier, strict=False)]
    for estimate, colour in others:
        _curve(axis, estimate, limits, colour=colour, linewidth=1.1, alpha=0.12 if len(others) < 3 else 0.0)
    last = estimates[-1]
    _curve(axis, last, limits, colour=style.LINES[0], linewidth=2.0, alpha=0.22)
    _final(axis, last)
    for estimate, colour in [*others, (last, style.LINES[0])]:
        _infinite(axis, estimate, limits, colour)
    if not any(np.isfinite(estimate.values).any() for estimate in estimates):
        style.say(axis, "no finite estimate yet")
    axis.set_xlim(0, max((float(e.time_ns[-1]) for e in estimates if np.size(e.time_ns)), default=1.0))
    axis.set_ylim(limits)
    axis.set_xlabel("simulated time, all walkers [ns]")
    axis.set_ylabel(rf"$\Delta F$ [{style.ENERGY}]" + f"\n{label}")
    style.open_frame(axis)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, frameon=False, loc="outside right upper")
    return figure


def _limits(estimates: Sequence[Estimate], reference: float | tuple[float, float] | None) -> Limits:
    late = [slice(np.size(estimate.time_ns) // 2, None) for estimate in estimates]
    values = [estimate.values[part] for estimate, part in zip(estimates, late, strict=True)]
    bounds = [
        end[part] for estimate, part in zip(estimates, late, strict=True) for end in estimate.interval or ()
    ]
    return intervals.energy_limits([*values, () if reference is None else np.ravel(reference)], bounds)


def _curve(
    axis: Axes, estimate: Estimate, limits: Limits, *, colour: str, linewidth: float, alpha: float
) -> None:
    time, values = estimate.time_ns, estimate.values
    if estimate.interval is not None and alpha:
        # An infinite value has an interval too: "at least so much".
        known = ~np.isnan(values)
        intervals.band(axis, time, known, estimate.interval, limits=limits, colour=colour, alpha=alpha)
    shown = np.where(np.isfinite(values), values, np.nan)
    marker = "o" if intervals.isolated(np.isfinite(values)).any() else None
    axis.plot(
        time, shown, color=colour, linewidth=linewidth, marker=marker, markersize=4, label=estimate.label
    )


def _infinite(axis: Axes, estimate: Estimate, limits: Limits, colour: str) -> None:
    """Where the value is infinite: a thick line on an edge of the panel, said once in the legend."""
    for infinite, edge, text in (
        (np.inf, limits[1], "region never visited"),
        (-np.inf, limits[0], "region never left"),
    ):
        at_edge = np.where(estimate.values == infinite, edge, np.nan)
        if np.isnan(at_edge).all():
            continue
        said = any(line.get_label() == text for line in axis.lines)
        axis.plot(
            estimate.time_ns,
            at_edge,
            color=colour,
            linewidth=6,
            solid_capstyle="butt",
            marker="s" if intervals.isolated(~np.isnan(at_edge)).any() else None,
            label=None if said else text,
        )


def _final(axis: Axes, estimate: Estimate) -> None:
    """A dashed line at the last value, with its interval in the legend."""
    if not np.size(estimate.values) or not np.isfinite(estimate.values[-1]):
        return
    final = float(estimate.values[-1])
    text = f"final: {final:.4g}"
    if estimate.interval is not None:
        lower, upper = (float(end[-1]) for end in estimate.interval)
        known = np.isfinite(lower) and np.isfinite(upper)
        text += f" (95 %: {lower:.4g} to {upper:.4g})" if known else " (95 %: no bound)"
    axis.axhline(final, color=style.LINES[0], linewidth=0.9, linestyle=(0, (4, 3)), label=text)
