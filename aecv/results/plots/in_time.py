"""Delta F against simulated time."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.results.plots import intervals, style
from aecv.results.plots.intervals import Limits
from aecv.results.story.content import InTime
from aecv.results.story.uncertainty import isolated


def delta_f_in_time(found: InTime, *, region: str) -> Figure:
    """Delta F as it grows out of more and more data, and the value it ends with.

    An end of an interval that is infinite or NaN is drawn to the edge of the panel. The scale follows the
    later half, since the first values may be anywhere.

    Args:
        found: with Delta F: +inf where the region was never visited and -inf where it was never left.
        region: what the difference is between, for the axis.
    """
    time_ns = found.time_ns
    values, lower, upper = found.with_interval or 3 * (np.full(time_ns.shape, np.nan),)
    late = slice(np.size(time_ns) // 2, None)
    reference = () if found.exact is None else [found.exact]
    limits = intervals.energy_limits([values[late], reference], [lower[late], upper[late]])
    figure, axes = style.panels(1, 1, width=8.0, height=3.8)
    axis: Axes = axes[0, 0]
    colour = style.LINES[0]
    intervals.known_value(axis, found.exact)
    # An infinite value has an interval too: "at least so much".
    intervals.band(axis, time_ns, ~np.isnan(values), (lower, upper), limits=limits, colour=colour)
    shown = np.where(np.isfinite(values), values, np.nan)
    marker = "o" if isolated(np.isfinite(values)).any() else None
    look: dict[str, Any] = {"color": colour, "linewidth": 2.0, "marker": marker, "markersize": 4}
    axis.plot(time_ns, shown, label="production", **look)
    if np.size(values):
        _final(axis, *(float(part[-1]) for part in (values, lower, upper)))
    _infinite(axis, time_ns, values, limits)
    if not np.isfinite(values).any():
        style.say(axis, "no finite estimate yet")
    axis.set_xlim(0, float(time_ns[-1]) if np.size(time_ns) else 1.0)
    axis.set_ylim(limits)
    axis.set_xlabel("simulated time, all walkers [ns]")
    axis.set_ylabel(rf"$\Delta F$ [{style.ENERGY}]" + f"\n{region} against the rest")
    style.open_frame(axis)
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, frameon=False, loc="outside right upper")
    return figure


def _infinite(axis: Axes, time_ns: FloatArray, values: FloatArray, limits: Limits) -> None:
    """Where the value is infinite: a thick line on an edge of the panel, said in the legend."""
    for infinite, edge, text in (
        (np.inf, limits[1], "region never visited"),
        (-np.inf, limits[0], "region never left"),
    ):
        at_edge = np.where(values == infinite, edge, np.nan)
        if np.isnan(at_edge).all():
            continue
        axis.plot(
            time_ns,
            at_edge,
            color=style.LINES[0],
            linewidth=6,
            solid_capstyle="butt",
            marker="s" if isolated(~np.isnan(at_edge)).any() else None,
            label=text,
        )


def _final(axis: Axes, value: float, lower: float, upper: float) -> None:
    """A dashed line at the last value, with its interval in the legend."""
    if not np.isfinite(value):
        return
    known = np.isfinite(lower) and np.isfinite(upper)
    text = f"final: {value:.4g} (95 %: " + (f"{lower:.4g} to {upper:.4g})" if known else "no bound)")
    axis.axhline(value, color=style.LINES[0], linewidth=0.9, linestyle=(0, (4, 3)), label=text)
