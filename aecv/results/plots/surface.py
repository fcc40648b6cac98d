"""Maps of a quantity over a plane: bins in bands of colour with contours, axes, and colour bars."""

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.results.plots import style


def levels(arrays: Sequence[FloatArray], ceiling: float, *, finest: float = 1.0) -> FloatArray:
    """Boundaries of the energy bands [kJ/mol]: from 0 (or below) in round steps, at most some twelve.

    Args:
        arrays: energies [kJ/mol].
        ceiling: the bands end here or at the highest energy [kJ/mol].
        finest: a power of ten; steps are 1, 2, 5, 10, 20 ... of it [kJ/mol].
    """
    finite = np.concatenate([np.ravel(values[np.isfinite(values)]) for values in arrays])
    low, high = (min(0.0, finite.min()), finite.max()) if finite.size else (0.0, 10.0 * finest)
    low, high = max(low, -ceiling), min(high, ceiling)
    ladder = (base * finest * 10.0**power for power in count() for base in (1.0, 2.0, 5.0))
    step = next(step for step in ladder if high - low <= 12 * step)
    # Rounding must not open one more band when the highest energy is a whole number of steps.
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    return np.arange(first, max(first + 2, last) + 1, dtype=np.float64) * step


def energy_levels(arrays: Sequence[FloatArray], ceiling: float) -> FloatArray:
    """Boundaries of the bands of a free energy with its zero at the minimum [kJ/mol], finer where it is low.

    Steps are 1 up to 4, 2 up to 10, 5 up to 20 and 10 beyond: basins that a few kJ/mol divide, as C7eq and
    C5 of alanine dipeptide, are told apart on one scale with barriers of 60.

    Args:
        arrays: energies [kJ/mol]; below zero, even steps are taken.
        ceiling: the bands end here or at the highest energy [kJ/mol].
    """
    finite = np.concatenate([np.ravel(values[np.isfinite(values)]) for values in arrays])
    if not finite.size or finite.min() < -1e-6 or min(finite.max(), ceiling) <= 10.0:
        return levels(arrays, ceiling)
    ladder = np.concatenate([[0, 1, 2, 3, 4, 6, 8, 10, 15], np.arange(20.0, max(30.0, ceiling) + 10.0, 10.0)])
    last = int(np.searchsorted(ladder, min(finite.max(), ceiling) - 1e-9))
    return np.asarray(ladder[: last + 1], dtype=np.float64)


def greyed(axis: Axes, x_edges: FloatArray, y_edges: FloatArray, chosen: NDArray[np.bool_]) -> None:
    """Grey in the chosen bins, shape (n_x, n_y): something is there, and it is not known how much."""
    if chosen.any():
        shown = np.ma.masked_equal(chosen, False).T
        axis.pcolormesh(x_edges, y_edges, shown, cmap=ListedColormap([style.FAINT]))


def hatched(axis: Axes, x_edges: FloatArray, y_edges: FloatArray, chosen: NDArray[np.bool_]) -> None:
    """Hatch the chosen bins, shape (n_x, n_y), over what is drawn there."""
    if chosen.any():
        shown = np.ma.masked_equal(chosen, False).T
        look: dict[str, Any] = {"facecolor": "none", "edgecolor": style.HATCH}
        axis.pcolor(x_edges, y_edges, shown, hatch="////", linewidth=0, **look)


def bands(
    axis: Axes,
    x_edges: FloatArray,
    y_edges: FloatArray,
    values: FloatArray,
    levels: FloatArray,
    *,
    cmap: str = "viridis",
    lines: bool = True,
) -> Any:
    """Bins coloured by energy band; NaN stays white.

    Args:
        axis: where to draw.
        x_edges, y_edges: of the bins, shape (n_x + 1,) and (n_y + 1,).
        values: energies [kJ/mol], shape (n_x, n_y).
        levels: boundaries of the bands [kJ/mol].
        cmap: name of the colours.
        lines: whether a white line is drawn at every boundary.

    Returns:
        what a colour bar needs.
    """
    colours = colormaps[cmap]
    beyond = bool(np.any(values > levels[-1]))
    norm = BoundaryNorm(levels, colours.N, extend="max" if beyond else "neither")
    image = axis.pcolormesh(x_edges, y_edges, np.ma.masked_invalid(values).T, cmap=colours, norm=norm)
    known = values[np.isfinite(values)]
    if not known.size:
        style.say(axis, "nothing visited")
        return image
    crossed = levels[(levels > known.min()) & (levels < known.max())]
    if lines and crossed.size and min(values.shape) > 1:
        centers = [0.5 * (edges[1:] + edges[:-1]) for edges in (x_edges, y_edges)]
        axis.contour(*centers, np.ma.masked_invalid(values).T, crossed, colors="white", linewidths=0.5)
    return image


def plane(
    axis: Axes, names: tuple[str, str], periodic: tuple[bool, bool], bounds: Sequence[tuple[float, float]]
) -> None:
    """Ranges, labels and ticks of a plane of two observables."""
    axis.set_xlim(bounds[0])
    axis.set_ylim(bounds[1])
    axis.set_xlabel(style.label(names[0], periodic=periodic[0]))
    axis.set_ylabel(style.label(names[1], periodic=periodic[1]))
    for which, angle in zip("xy", periodic, strict=True):
        if angle:
            style.angle_ticks(axis, which)


def bar(
    figure: Figure, image: Any, axes: Sequence[Axes] | NDArray[Any], text: str, *, extend: str | None = None
) -> None:
    """A colour bar beside the axes; `extend` names the ends where the scale is cut, None asks the image."""
    shown = figure.colorbar(image, ax=list(axes), aspect=25, pad=0.02, extend=extend)
    shown.set_label(text, color=style.INK)
    shown.ax.tick_params(labelsize=9, colors=style.INK)


def energy_bar(
    figure: Figure, image: Any, axes: Sequence[Axes], text: str, *, extend: str | None = None
) -> None:
    """A colour bar of energies."""
    bar(figure, image, axes, f"{text} [{style.ENERGY}]", extend=extend)
