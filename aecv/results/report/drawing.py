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

from aecv.ground.grid import FloatArray
from aecv.results.report.content import Quantity

Trace = dict[str, Any]

ENERGY = "kJ/mol"
LINES = tuple(f"var(--line-{k})" for k in range(1, 7))
BANDS = tuple(f"var(--band-{k})" for k in range(1, 7))
INK = "var(--ink)"
MUTED = "var(--muted)"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place on the page that a figure is drawn in.

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
    for run in _runs(known):
        outline_x += [*numbers(xs[run], 6), *numbers(xs[run][::-1], 6), None]
        outline_y += [*numbers(high[run]), *numbers(low[run][::-1]), None]
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
