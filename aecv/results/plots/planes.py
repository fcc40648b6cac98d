"""Free energy over a plane of two observables beside its error and its distance from a reference."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import BoolArray, FloatArray
from aecv.results.formats.fes import edges_of
from aecv.results.plots import style, surface
from aecv.results.story.content import Landscape
from aecv.results.story.uncertainty import CEILING_KJ_MOL

Edges = tuple[FloatArray, FloatArray]


def plane_with_error(plane: Landscape, *, ceiling: float = CEILING_KJ_MOL) -> Figure:
    """F, its standard error, and F minus the exact one if there is one; white where F is unknown.

    Nothing is smoothed. Hatched, and grey in the map of errors: F is known, its error is not. The scales
    of error and difference end at the 98th percentile, so that a few bins at the rim do not take the colours.

    Args:
        plane: the free energy, over two coordinates.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].
    """
    n_panels = 2 if plane.exact is None else 3
    figure, axes = style.panels(1, n_panels, width=4.4, height=3.6)
    panels: list[Axes] = list(axes[0])
    edges = edges_of(plane.axes[0]), edges_of(plane.axes[1])
    level = surface.energy_levels([plane.values], ceiling)
    image = surface.bands(panels[0], *edges, plane.values, level)
    surface.energy_bar(figure, image, [panels[0]], "free energy")
    known = np.isfinite(plane.values)
    given = np.full(plane.shape, np.nan) if plane.error is None else plane.error
    bare = known & ~np.isfinite(given)
    surface.hatched(panels[0], *edges, bare)
    words = "free energy (blank: unknown" + ("; hatched: its error is)" if bare.any() else ")")
    panels[0].set_title(words, fontsize=10, color=style.INK)
    _error(figure, panels[1], edges, np.where(known & ~bare, given, np.nan), bare)
    if plane.exact is not None:
        _difference(figure, panels[2], edges, plane.values, plane.exact)
    bounds = [(float(found[0]), float(found[-1])) for found in edges]
    first, second = plane.coordinates
    for axis in panels:
        surface.plane(axis, (first.titled, second.titled), (first.periodic, second.periodic), bounds)
    return figure


def _error(figure: Figure, axis: Axes, edges: Edges, error: FloatArray, unknown: BoolArray) -> None:
    if unknown.any():
        surface.greyed(axis, *edges, unknown)
    title = "standard error" + (" (grey: unknown)" if unknown.any() else "")
    axis.set_title(title, fontsize=10, color=style.INK)
    if unknown.any() and np.isnan(error).all():
        style.say(axis, "no finite error")
        return
    level = surface.levels([error], _high(error), finest=0.01)
    image = surface.bands(axis, *edges, error, level, cmap="YlOrRd", lines=False)
    surface.energy_bar(figure, image, [axis], "standard error")


def _difference(figure: Figure, axis: Axes, edges: Edges, values: FloatArray, reference: FloatArray) -> None:
    both = np.isfinite(values) & np.isfinite(reference)
    difference = np.full(values.shape, np.nan)
    np.subtract(values, reference, out=difference, where=both)
    top = _high(np.abs(difference)) or 1.0
    # Its middle is grey, not white: white means unknown.
    shown = np.ma.masked_invalid(difference).T
    image = axis.pcolormesh(*edges, shown, cmap=colormaps["coolwarm"], vmin=-top, vmax=top)
    if not both.any():
        style.say(axis, "nothing in common")
    axis.set_title("free energy - reference", fontsize=10, color=style.INK)
    beyond = bool(np.any(np.abs(difference) > top))
    surface.energy_bar(figure, image, [axis], "difference", extend="both" if beyond else "neither")


def _high(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, 98)) if finite.size else 1.0
