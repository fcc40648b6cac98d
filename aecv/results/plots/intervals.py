"""Uncertainty on a chart: shaded bands, bars, and ranges of the energy axis that an outlier does not spoil.

An infinite or unknown (NaN) bound of a known value reaches past the edge of the panel: to draw nothing there
would look like certainty. It is hatched, its curve dashed and its marker hollow, so that no number with an
unknown error looks like one with an error.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.results.plots import style

Limits = tuple[float, float]

UNKNOWN = "error unknown"
"""In legends."""
DASHES = (0.0, (3.0, 2.0))


def check_shape(place: str, shape: tuple[int, ...], /, **arrays: ArrayLike | None) -> None:
    """Refuse arrays of another shape; None passes.

    Raises:
        GridError: naming the place, the array, and both shapes.
    """
    for name, array in arrays.items():
        if array is not None and np.shape(array) != shape:
            raise GridError(f"{place}: {name} needs shape {shape}, got {np.shape(array)}")


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


def known_value(axis: Axes, reference: float | Limits | None) -> None:
    """A known energy as a black line, or a trusted interval as an area [kJ/mol]; None draws nothing."""
    if isinstance(reference, tuple):
        axis.axhspan(*reference, color=style.REFERENCE, linewidth=0, label="reference", zorder=0)
    elif reference is not None:
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
    values: FloatArray,
    intervals: Sequence[tuple[float, float] | None],
    *,
    limits: Limits,
    colour: str,
    marker: str = "o",
) -> None:
    """Error bars with caps; where an end is infinite it is dashed, runs out of the panel, and has no cap.

    Args:
        axis: where to draw.
        x, values: of the series, shape (n,); NaN gets no bar.
        intervals: lower and upper end per point, or None where there is no interval; n of them.
        limits: of the panel's y axis.
        colour: of the series.
        marker: of the series; hollow where an end is infinite.

    Raises:
        GridError: when there is not one interval per point.
    """
    if len(intervals) != len(x):
        raise GridError(f"error bars: need one interval or None per point, {len(x)}, got {len(intervals)}")
    rows = zip(x, values, intervals, strict=True)
    pairs = [(at, value, *pair) for at, value, pair in rows if pair is not None and not np.isnan(value)]
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


def unbounded(interval: tuple[ArrayLike, ArrayLike]) -> NDArray[np.bool_]:
    """Where an end of an interval is infinite or unknown, shape (n,)."""
    return ~(np.isfinite(np.asarray(interval[0], float)) & np.isfinite(np.asarray(interval[1], float)))


def beside(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Chosen points and their neighbours, between which a line is drawn, shape (n,)."""
    padded = np.concatenate([[False], chosen, [False]])
    near: NDArray[np.bool_] = padded[1:-1] | padded[:-2] | padded[2:]
    return near


def isolated(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Known points that no line shows, since both neighbours are unknown, shape (n,) like `known`."""
    padded = np.concatenate([[False], known, [False]])
    alone: NDArray[np.bool_] = padded[1:-1] & ~padded[:-2] & ~padded[2:]
    return alone


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
