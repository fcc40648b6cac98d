"""Uncertainty on a chart: shaded bands, bars, and ranges of the energy axis that an outlier does not spoil.

An infinite or unknown (NaN) bound of a known value reaches past the edge of the panel: to draw nothing there
would look like certainty.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.results.plots import style
from aecv.results.story.content import Point
from aecv.results.story.uncertainty import UNKNOWN, beside, isolated, unbounded

Limits = tuple[float, float]

DASHES = (0.0, (3.0, 2.0))


def energy_limits(
    values: Iterable[ArrayLike], bounds: Iterable[ArrayLike] = (), *, ceiling: float = np.inf
) -> Limits:
    """Range of an energy axis: all finite values, and of the finite bounds what does not squeeze the values.

    Bounds widen the range by at most half of what the values take, or 2 kJ/mol, on either side. Without
    values the bounds make the range, without both it is arbitrary.

    Args:
        values: arrays [kJ/mol] of any shape.
        bounds: lower and upper ends of intervals [kJ/mol].
        ceiling: the range stays inside -ceiling .. ceiling [kJ/mol].
    """
    known, ends = (np.clip(_finite(arrays), -ceiling, ceiling) for arrays in (values, bounds))
    if not known.size:
        known = ends if ends.size else np.array([0.0, 1.0])
    low, high = float(known.min()), float(known.max())
    room = max(0.5 * (high - low), 2.0)
    low, high = max(low - room, min(low, *ends, low)), min(high + room, max(high, *ends, high))
    margin = max(0.06 * (high - low), 0.5)
    return low - margin, high + margin


def known_value(axis: Axes, reference: float | None) -> None:
    """A known energy as a black line [kJ/mol]; None draws nothing."""
    if reference is not None:
        axis.axhline(reference, color="black", linewidth=1.2, label=f"exact: {reference:.4g}")


def band(
    axis: Axes,
    x: FloatArray,
    known: NDArray[np.bool_],
    interval: tuple[ArrayLike, ArrayLike],
    *,
    limits: Limits,
    colour: str,
    alpha: float = 0.22,
) -> None:
    """Shade the interval of a curve where the curve is known, hatched where an end of it is not known.

    A point between two gaps gets a bar.

    Args:
        axis: where to draw.
        x: of the curve, shape (n,).
        known: where there is a value, shape (n,).
        interval: its lower and upper ends, shape (n,) each.
        limits: of the panel's y axis.
        colour: of the curve.
        alpha: opacity.
    """
    lower, upper = _inside(interval, limits)
    axis.fill_between(x, lower, upper, where=known, color=colour, alpha=alpha, linewidth=0)
    alone = isolated(known)
    axis.vlines(x[alone], lower[alone], upper[alone], color=colour, alpha=2 * alpha, linewidth=3)
    bare = known & unbounded(interval)
    if bare.any():
        where = beside(bare) & known
        look: dict[str, Any] = {
            "facecolor": "none",
            "edgecolor": colour,
            "alpha": 0.35,
            "linewidth": 0,
            "hatch": "///",
        }
        axis.fill_between(x, *limits, where=where, zorder=1.6, **look)


def bars(
    axis: Axes,
    x: FloatArray,
    points: Sequence[Point],
    *,
    limits: Limits,
    colour: str,
    marker: str = "o",
) -> None:
    """Error bars with caps; where an end is infinite it is dashed, runs out of the panel, and has no cap.

    Args:
        axis: where to draw.
        x: of the series, shape (n,).
        points: n of them; NaN gets no bar.
        limits: of the panel's y axis.
        colour: of the series.
        marker: of the series; hollow where an end is infinite.
    """
    pairs = [
        (at, point.value, point.lower, point.upper)
        for at, point in zip(x, points, strict=True)
        if not np.isnan(point.value)
    ]
    if not pairs:
        return
    at, height, *ends = np.array(pairs, dtype=float).T
    lower, upper = _inside((ends[0], ends[1]), limits)
    bare = unbounded((ends[0], ends[1]))
    dashes: Any = [DASHES if flag else "solid" for flag in bare]
    axis.vlines(at, lower, upper, color=colour, linewidth=1.2, linestyles=dashes)
    axis.plot(np.tile(at, 2), np.concatenate([lower, upper]), "_", color=colour, markersize=7)
    if bare.any():
        hollow: dict[str, Any] = {
            "marker": marker,
            "markersize": 5,
            "markerfacecolor": "white",
            "linestyle": "none",
        }
        axis.plot(at[bare], np.where(np.isfinite(height), height, np.nan)[bare], color=colour, **hollow)
        if not any(line.get_label() == UNKNOWN for line in axis.lines):
            axis.plot([], [], color=style.INK, linewidth=1.2, linestyle=DASHES, label=UNKNOWN)


def _inside(interval: tuple[ArrayLike, ArrayLike], limits: Limits) -> tuple[FloatArray, FloatArray]:
    """Ends that can be drawn: what is infinite, unknown or far away ends just outside of the panel."""
    span = limits[1] - limits[0]
    lower, upper = (np.asarray(end, dtype=float) for end in interval)
    lower = np.where(np.isnan(lower), -np.inf, lower)
    upper = np.where(np.isnan(upper), np.inf, upper)
    outside = limits[0] - span, limits[1] + span
    return np.clip(lower, *outside), np.clip(upper, *outside)


def _finite(arrays: Iterable[ArrayLike]) -> FloatArray:
    values = np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in arrays] or [np.empty(0)])
    return values[np.isfinite(values)]
