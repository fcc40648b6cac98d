"""The look that all pictures share: panels, colours, labels of quantities, and writing files."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.files import replacing
from aecv.results.story.uncertainty import ENERGY as ENERGY

INK = "#333333"
FAINT = "#b8b8b8"
HATCH = "#ffffffa0"
"""Lines over a map of colours."""
REFERENCE = "#f0e8d2"
"""Fill of a region to compare with."""

# Okabe & Ito's palette without yellow (too pale for lines): distinct for colour-blind readers.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

DPI = 150
_SYMBOLS = {
    "phi": r"\phi",
    "psi": r"\psi",
    "omega": r"\omega",
    "theta": r"\theta",
    "chi": r"\chi",
    "xi": r"\xi",
}


def panels(n_rows: int, n_columns: int, *, width: float, height: float) -> tuple[Figure, NDArray[Any]]:
    """A figure of equal panels of the given size [inch] in the common style.

    Returns:
        the figure and its axes, shape (n_rows, n_columns).
    """
    figure = Figure(figsize=(n_columns * width, n_rows * height), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for axis in axes.flat:
        axis.tick_params(colors=INK, labelsize=9, length=3)
        for spine in axis.spines.values():
            spine.set_color(INK)
            spine.set_linewidth(0.8)
    return figure, axes


def open_frame(axis: Axes) -> None:
    """A chart of lines: no frame at the top and right, faint horizontal rules."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color=FAINT, linewidth=0.5, alpha=0.6)
    axis.set_axisbelow(True)


def legend(figure: Figure, *, n_columns: int = 3) -> None:
    """A legend below all panels, where it hides nothing; equal entries are said once."""
    entries: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    if entries:
        figure.legend(
            list(entries.values()),
            list(entries),
            fontsize=9,
            frameon=False,
            loc="outside lower center",
            ncols=min(n_columns, len(entries)),
        )


def colours(n: int) -> list[str]:
    """n distinct colours: the palette as far as it goes, else its first one and from cyan to dark red."""
    if n <= len(LINES):
        return list(LINES[:n])
    return [LINES[0], *(to_hex(colour) for colour in colormaps["turbo"](np.linspace(0.22, 0.98, n - 1)))]


def say(axis: Axes, text: str) -> None:
    """Words in the middle of a panel that has no data."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=INK, fontsize=9)


def symbol(name: str) -> str:
    """The Greek letter of a named angle (`phi`, `chi1`, `phi_2`), any other name as it is."""
    match = re.fullmatch(r"(phi|psi|omega|theta|chi|xi)_?(\w*)", name)
    if match is None:
        return name
    index = f"_{{\\mathrm{{{match[2]}}}}}" if match[2] else ""
    return f"${_SYMBOLS[match[1]]}{index}$"


def component(index: int) -> str:
    """Label of one component of the CV, counted from 1."""
    return rf"$\xi_{{{index + 1}}}$"


def label(name: str, *, periodic: bool) -> str:
    """Axis label; a periodic quantity is an angle in radians."""
    return f"{symbol(name)} [rad]" if periodic else symbol(name)


def limits(values: FloatArray, *, periodic: bool) -> tuple[float, float]:
    """Axis range: the circle for an angle, else the finite data and 3 % on either side."""
    if periodic:
        return -np.pi, np.pi
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin


def angle_ticks(axis: Axes, which: str) -> None:
    """Ticks at multiples of pi/2 on the `x` or `y` axis."""
    ticks = np.array([-1, -0.5, 0, 0.5, 1]) * np.pi
    names = [r"$-\pi$", r"$-\frac{\pi}{2}$", "0", r"$\frac{\pi}{2}$", r"$\pi$"]
    if which == "x":
        axis.set_xticks(ticks, names)
    else:
        axis.set_yticks(ticks, names)


def colour_map(*, periodic: bool) -> Colormap:
    """viridis, or for angles matplotlib's twilight, darkened so that its pale end shows on white."""
    if not periodic:
        return colormaps["viridis"]
    colours = colormaps["twilight"](np.linspace(0, 1, 256))
    colours[:, :3] *= 0.82
    return ListedColormap(colours, name="twilight_dark")


def density_map() -> Colormap:
    """Blues whose faintest still shows on white."""
    return ListedColormap(colormaps["Blues"](np.linspace(0.22, 1.0, 256)), name="blues_on_white")


def save(figure: Figure, path: Path, *, name: str = "") -> None:
    """Write a figure in one piece; the format follows the suffix (.png, .pdf, .svg).

    Args:
        name: what it shows, the system and the place, in small letters at the top; "" for nothing.

    Raises:
        StoreError: when the file cannot be written.
    """
    if name:
        figure.suptitle(name, x=0.01, ha="left", fontsize=9, color=INK)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=DPI, facecolor="white")
