"""Free energy over a plane of two observables beside its error and its distance from a reference."""

from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.results.plots import intervals, style, surface


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A free energy over two observables.

    Attributes:
        names: of the observables; with the unit unless periodic.
        periodic: whether each is an angle in (-pi, pi].
        x_edges, y_edges: increasing bin edges [rad for angles], shape (n_x + 1,) and (n_y + 1,).
        values: F [kJ/mol], shape (n_x, n_y); NaN where unknown.
        error: standard error of F [kJ/mol], shape (n_x, n_y); NaN or inf where unknown.
        reference: F to compare with [kJ/mol] from the same zero, shape (n_x, n_y), or None.

    Raises:
        GridError: without a bin, or when an array does not have the shape of the bins.
    """

    names: tuple[str, str]
    periodic: tuple[bool, bool]
    x_edges: FloatArray
    y_edges: FloatArray
    values: FloatArray
    error: FloatArray
    reference: FloatArray | None = None

    def __post_init__(self) -> None:
        place = f"plane of {self.names[0]} and {self.names[1]}"
        sizes = np.size(self.x_edges), np.size(self.y_edges)
        if min(sizes) < 2:
            raise GridError(f"{place}: needs at least 2 edges per axis, got {sizes[0]} and {sizes[1]}")
        intervals.check_shape(
            place,
            (sizes[0] - 1, sizes[1] - 1),
            values=self.values,
            error=self.error,
            reference=self.reference,
        )


def plane_with_error(plane: Plane, *, ceiling: float = 60.0) -> Figure:
    """F, its standard error, and F minus a reference if there is one; white where F is unknown.

    Nothing is smoothed. Hatched, and grey in the map of errors: F is known, its error is not. The scales
    of error and difference end at the 98th percentile, so that a few bins at the rim do not take the colours.

    Args:
        plane: the free energy.
        ceiling: the energy scale ends here or at the highest value [kJ/mol].
    """
    n_panels = 2 if plane.reference is None else 3
    figure, axes = style.panels(1, n_panels, width=4.4, height=3.6)
    panels = list(axes[0])
    level = surface.energy_levels([plane.values], ceiling)
    image = surface.bands(panels[0], plane.x_edges, plane.y_edges, plane.values, level)
    surface.energy_bar(figure, image, [panels[0]], "free energy")
    bare = np.isfinite(plane.values) & ~np.isfinite(plane.error)
    surface.hatched(panels[0], plane.x_edges, plane.y_edges, bare)
    words = "free energy (blank: unknown" + ("; hatched: its error is)" if bare.any() else ")")
    panels[0].set_title(words, fontsize=10, color=style.INK)
    _error(figure, panels[1], plane)
    if plane.reference is not None:
        _difference(figure, panels[2], plane, plane.reference)
    bounds = [(float(edges[0]), float(edges[-1])) for edges in (plane.x_edges, plane.y_edges)]
    for axis in panels:
        surface.plane(axis, plane.names, plane.periodic, bounds)
    return figure


def _error(figure: Figure, axis: Axes, plane: Plane) -> None:
    known = np.isfinite(plane.values)
    error = np.where(known & np.isfinite(plane.error), plane.error, np.nan)
    unknown = known & np.isnan(error)
    if unknown.any():
        surface.greyed(axis, plane.x_edges, plane.y_edges, unknown)
    title = "standard error" + (" (grey: unknown)" if unknown.any() else "")
    axis.set_title(title, fontsize=10, color=style.INK)
    if unknown.any() and np.isnan(error).all():
        style.say(axis, "no finite error")
        return
    level = surface.levels([error], _high(error), finest=0.01)
    image = surface.bands(axis, plane.x_edges, plane.y_edges, error, level, cmap="YlOrRd", lines=False)
    surface.energy_bar(figure, image, [axis], "standard error")


def _difference(figure: Figure, axis: Axes, plane: Plane, reference: FloatArray) -> None:
    both = np.isfinite(plane.values) & np.isfinite(reference)
    difference = np.full(plane.values.shape, np.nan)
    np.subtract(plane.values, reference, out=difference, where=both)
    top = _high(np.abs(difference)) or 1.0
    # Its middle is grey, not white: white means unknown.
    image = axis.pcolormesh(
        plane.x_edges,
        plane.y_edges,
        np.ma.masked_invalid(difference).T,
        cmap=colormaps["coolwarm"],
        vmin=-top,
        vmax=top,
    )
    if not both.any():
        style.say(axis, "nothing in common")
    axis.set_title("free energy - reference", fontsize=10, color=style.INK)
    beyond = bool(np.any(np.abs(difference) > top))
    surface.energy_bar(figure, image, [axis], "difference", extend="both" if beyond else "neither")


def _high(values: FloatArray) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, 98)) if finite.size else 1.0
