"""Figures as plotly.js takes them: plain dictionaries, and texts and numbers that are safe in them.

Colours are names of the page's style, var(--...), which the page resolves for light and dark. The figures are
written by hand rather than by plotly's Python objects: these load slowly, and would choose colours.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.results.story.content import Quantity
from aecv.results.story.uncertainty import UNKNOWN, beside, isolated, unbounded

Trace = dict[str, Any]

LINES = tuple(f"var(--line-{k})" for k in range(1, 7))
BANDS = tuple(f"var(--band-{k})" for k in range(1, 7))
INK = "var(--ink)"
MUTED = "var(--muted)"
WHOLE = "y2"
"""An axis on which 0 to 1 is the whole height of a panel, whatever is zoomed; the page's script knows it."""


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A part of the page that a figure is drawn in.

    Attributes:
        id: of the element; letters, digits and - only.
        section: which part of the page it belongs to.
        title, caption: above and below it; plain text.
        layout: what all frames share: titles of axes, ranges.
        fixed: traces that are always there, drawn below the others.
        frames: traces per step of the slider; a single one where nothing slides.
        group: the slider; "" for none.
        molecule: atoms and positions per step, for the viewer of structures; None for other figures.
        wide: whether it takes the whole width.
    """

    id: str
    section: str
    title: str
    caption: str
    layout: dict[str, Any]
    fixed: tuple[Trace, ...] = ()
    frames: tuple[tuple[Trace, ...], ...] = ((),)
    group: str = ""
    molecule: dict[str, Any] | None = None
    wide: bool = False

    def as_dict(self) -> dict[str, Any]:
        """What the page's script needs."""
        return {
            "id": self.id,
            "group": self.group,
            "layout": self.layout,
            "fixed": list(self.fixed),
            "frames": [list(frame) for frame in self.frames],
            "molecule": self.molecule,
        }


def plain(text: str) -> str:
    """A text that plotly.js shows as it is: it takes some HTML for formatting."""
    return html.escape(text, quote=False)


def numbers(values: ArrayLike, digits: int = 3) -> list[Any]:
    """Nested lists of rounded numbers; None, a gap, for those that are not finite."""
    array = np.asarray(values, dtype=float)
    if array.ndim > 1:
        return [numbers(row, digits) for row in array]
    return [round(value, digits) if np.isfinite(value) else None for value in array.tolist()]


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title; `title` is plain text."""
    return {"title": {"text": plain(title)}, **more}


def axis_of(quantity: Quantity, **more: Any) -> dict[str, Any]:
    """The axis of a coordinate."""
    return axis(quantity.axis, **more)


def line(x: ArrayLike, y: ArrayLike, *, name: str, color: str, digits: int = 3, **more: Any) -> Trace:
    """A line; `name` is plain text."""
    style = {"color": color, "width": 2, **more.pop("line", {})}
    return {
        "type": "scatter",
        "mode": more.pop("mode", "lines"),
        "x": numbers(x, 6),
        "y": numbers(y, digits),
        "name": plain(name),
        "line": style,
        "marker": {"color": color, "size": 7},
        **more,
    }


def band(x: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, color: str, name: str = "95 %") -> Trace:
    """The area between two curves; a gap where one of them is not known."""
    xs, low, high = (np.asarray(values, dtype=float) for values in (x, lower, upper))
    known = np.isfinite(low) & np.isfinite(high)
    outline_x: list[float | None] = []
    outline_y: list[float | None] = []
    ends = _half_way(xs)
    for run in _runs(known):
        # a point between gaps has a bar: an area without width is not seen
        alone = run.stop - run.start == 1
        x_run = 0.5 * (xs[run] + ends[run.start : run.stop + 1]) if alone else xs[run]
        y_high, y_low = (np.broadcast_to(values[run], len(x_run)) for values in (high, low))
        outline_x += [*numbers(x_run, 6), *numbers(x_run[::-1], 6), None]
        outline_y += [*numbers(y_high), *numbers(y_low[::-1]), None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": outline_x[:-1],
        "y": outline_y[:-1],
        "fill": "toself",
        "fillcolor": color,
        "line": {"width": 0, "color": color},
        "name": name,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def estimate(
    x: ArrayLike, y: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, name: str, colors: tuple[str, str]
) -> tuple[Trace, ...]:
    """A curve with its interval, in the colours of line and area; all its points are the last trace.

    Where an end of the interval is infinite or unknown the curve is dashed and the area hatched over the
    whole height: a curve without an area would look like one without an error.
    """
    xs, ys, low, high = (np.asarray(values, dtype=float) for values in (x, y, lower, upper))
    known = np.isfinite(ys)
    bare = known & unbounded((low, high))
    sure = known & ~bare
    color, area = colors
    traces = [band(xs, np.where(sure, low, np.nan), high, color=area)]
    if bare.any():
        dashed = np.where(known & beside(bare), ys, np.nan)
        traces += [
            _hatched(xs, bare, color=area),
            line(xs, dashed, name=UNKNOWN, color=color, line={"dash": "dash"}, hoverinfo="skip"),
        ]
    curve = line(xs, np.where(sure, ys, np.nan), name=name, color=color, hoverinfo="skip")
    points = line(xs, ys, name=name, color=color, mode="markers", showlegend=False)
    points["marker"] = {"color": color, "size": 6, "opacity": isolated(known).astype(float).tolist()}
    return (*traces, curve, points)


def _hatched(x: FloatArray, chosen: np.ndarray, *, color: str) -> Trace:
    """The whole height of a panel hatched about some points, half way to their neighbours."""
    ends = _half_way(x)
    xs: list[float | None] = []
    for run in _runs(chosen):
        left, right = (round(float(ends[k]), 6) for k in (run.start, run.stop))
        xs += [left, left, right, right, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": xs[:-1],
        "y": ([0, 1, 1, 0, None] * (len(xs) // 5))[:-1],
        "yaxis": WHOLE,
        "fill": "toself",
        "fillcolor": color,
        "fillpattern": {"shape": "/", "fgcolor": MUTED, "fillmode": "overlay", "size": 8, "solidity": 0.15},
        "line": {"width": 0, "color": color},
        "name": UNKNOWN,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _half_way(x: FloatArray) -> FloatArray:
    """Where the parts of an axis about n points end, shape (n + 1,)."""
    return np.concatenate([x[:1], 0.5 * (x[1:] + x[:-1]), x[-1:]])


def _runs(known: np.ndarray) -> list[slice]:
    """Unbroken stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def hover(lines: Sequence[tuple[str, str, FloatArray | None, int]]) -> list[dict[str, Any]]:
    """Lines of the text beside the pointer: label, unit, values per point (None: those drawn) and digits.

    The page puts them together: written out per point they would be most of its size.
    """
    return [
        {
            "label": plain(label),
            "unit": plain(unit),
            "values": None if values is None else numbers(values, digits),
            "digits": digits,
        }
        for label, unit, values, digits in lines
    ]
