"""Exact free energies of a particle on V(x, y), by quadrature on a fine grid.

A cell of the grid holds the mass exp(-V/kT) of its centre (midpoint rule, error of second order in the cell
size). What a bin of a function f(x, y) holds is the sum over cells; a cell whose values of f straddle an edge
is shared between the bins. Inside a cell f is taken as linear along the axis on which it changes more and
its values as spread evenly over f +- max(|f_x| h_x, |f_y| h_y)/2: the intervals of neighbours along that
axis then meet without gap or overlap, and the error is of second order as well. Counting whole cells instead,
a bin 17 cells wide would be off by up to 1/17.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """Boltzmann mass on the cells of a regular grid.

    Attributes:
        x, y: centres of the cells, evenly spaced [nm], shapes (n_x,) and (n_y,).
        mass: share of each cell, sum 1, shape (n_x, n_y).
    """

    x: FloatArray
    y: FloatArray
    mass: FloatArray

    @property
    def edge_share(self) -> float:
        """Share of the outermost cells; what lies outside the grid is of this order."""
        return 1.0 - float(self.mass[1:-1, 1:-1].sum())


def cell_centers(domain: ArrayLike, n: int) -> tuple[FloatArray, FloatArray]:
    """Centres of n by n cells over a box [[x from, x to], [y from, y to]], shapes (n,) and (n,)."""
    box = np.asarray(domain, dtype=float)
    share = (np.arange(n) + 0.5) / n
    x, y = (low + (high - low) * share for low, high in box)
    return x, y


def boltzmann_plane(potential: ArrayLike, x: ArrayLike, y: ArrayLike, *, kt: float) -> Plane:
    """Mass exp(-V/kT) of every cell.

    Args:
        potential: V at the centres [kJ/mol], shape (n_x, n_y); +inf where the particle cannot be.
        x, y: centres, evenly spaced [nm].
        kt: thermal energy [kJ/mol].

    Raises:
        GridError: for shapes that do not fit, fewer than 3 points, NaN or -inf, or nowhere finite V.
    """
    v, px, py = (np.asarray(item, dtype=float) for item in (potential, x, y))
    if v.shape != (px.size, py.size) or min(v.shape) < 3:
        raise GridError(
            f"quadrature: V needs one value per point, ({px.size}, {py.size}) and at least 3 x 3, "
            f"got {v.shape}"
        )
    if np.isnan(v).any() or np.isneginf(v).any() or not np.isfinite(v).any():
        raise GridError("quadrature: V needs numbers, got NaN, -inf or nothing finite; check the expression")
    mass = np.exp(-(v - v.min()) / kt)
    return Plane(x=px, y=py, mass=mass / mass.sum())


def mass_along(values: ArrayLike, plane: Plane, edges: ArrayLike) -> FloatArray:
    """Mass per bin of a function f(x, y); what lies outside the edges is left out.

    Args:
        values: f at the centres, shape (n_x, n_y).
        edges: increasing bin edges, shape (n_bins + 1,).

    Returns:
        shape (n_bins,), sum at most 1.

    Raises:
        GridError: for shapes that do not fit, f that is not finite, or edges that do not increase.
    """
    f, bounds = np.asarray(values, dtype=float), np.asarray(edges, dtype=float)
    if f.shape != plane.mass.shape or not np.isfinite(f).all():
        raise GridError(f"quadrature: f needs finite values of shape {plane.mass.shape}, got {f.shape}")
    if bounds.ndim != 1 or len(bounds) < 2 or not np.all(np.diff(bounds) > 0):
        raise GridError("quadrature: edges need to increase; check the bins")
    per_cell = np.gradient(f)
    half = 0.5 * np.maximum(np.abs(per_cell[0]), np.abs(per_cell[1])).ravel()
    center, share = f.ravel(), plane.mass.ravel()
    total = np.zeros(len(bounds) + 1)  # with a bin below the first edge and one above the last
    outer = np.concatenate([[-np.inf], bounds, [np.inf]])
    low, high = center - half, center + half
    first = np.searchsorted(bounds, low, side="right")
    last = np.searchsorted(bounds, high, side="left")
    whole = last <= first
    total += np.bincount(first[whole], share[whole], len(total))
    cut = np.flatnonzero(~whole)
    for offset in range(len(total)):
        cut = cut[first[cut] + offset <= last[cut]]
        if not cut.size:
            break
        bins = first[cut] + offset
        inside = np.minimum(high[cut], outer[bins + 1]) - np.maximum(low[cut], outer[bins])
        total += np.bincount(bins, share[cut] * inside / (high[cut] - low[cut]), len(total))
    return total[1:-1]


def mass_in_plane(plane: Plane, x_edges: ArrayLike, y_edges: ArrayLike) -> FloatArray:
    """Mass per bin of x and y, shape (n_bins_x, n_bins_y); cells are shared as in `mass_along`."""
    across, along = _overlap(plane.x, x_edges), _overlap(plane.y, y_edges)
    result: FloatArray = across @ plane.mass @ along.T
    return result


def smeared_density(
    mass: ArrayLike,
    centers: Sequence[FloatArray],
    points: Sequence[FloatArray],
    sigma: ArrayLike,
    *,
    periods: Sequence[float] | None = None,
) -> FloatArray:
    """Density of lambda = xi + sigma_c N(0, 1) on a product of points, from the mass of xi on fine bins.

    Args:
        mass: of xi, shape (n_0, n_1, ...); its bins need to be narrow beside sigma.
        centers: of these bins per component [CV], shapes (n_c,).
        points: where the density of lambda is wanted per component [CV], shapes (m_c,).
        sigma: per component [CV], shape (d,).
        periods: per component [CV], much larger than sigma, 0 where it is not periodic; None: nowhere.

    Returns:
        shape (m_0, m_1, ...), normalised as the mass is.
    """
    density = np.asarray(mass, dtype=float)
    widths = np.asarray(sigma, dtype=float)
    for dim, (fine, wanted, width) in enumerate(zip(centers, points, widths, strict=True)):
        offset = np.subtract.outer(wanted, fine)
        if periods is not None and periods[dim] > 0:
            offset -= periods[dim] * np.round(offset / periods[dim])
        normal = np.exp(-0.5 * (offset / width) ** 2)
        kernel = normal / (width * np.sqrt(2.0 * np.pi))
        density = np.moveaxis(np.tensordot(kernel, density, axes=(1, dim)), 0, dim)
    return density


def free_energy_of_mass(mass: ArrayLike, volume: ArrayLike, *, kt: float) -> FloatArray:
    """F = -kT ln(mass/volume) [kJ/mol], minimum 0; NaN where there is no mass.

    Raises:
        GridError: when no bin has mass.
    """
    density = np.asarray(mass, dtype=float) / np.asarray(volume, dtype=float)
    if not np.any(density > 0):
        raise GridError("quadrature: no bin holds mass; check the edges")
    free_energy = np.full(density.shape, np.nan)
    np.log(density, out=free_energy, where=density > 0)
    result: FloatArray = -kt * (free_energy - np.nanmax(free_energy))
    return result


def region_free_energy(values: ArrayLike, plane: Plane, lower: float, upper: float, *, kt: float) -> float:
    """F(lower < f < upper) - F(elsewhere) = -kT ln(p/(1 - p)) [kJ/mol]; infinite where one side is empty."""
    inside = float(mass_along(values, plane, [lower, upper])[0])
    with np.errstate(divide="ignore"):
        return float(-kt * (np.log(inside) - np.log(max(1.0 - inside, 0.0))))


def _overlap(centers: FloatArray, edges: ArrayLike) -> FloatArray:
    """Share of every cell that lies in every bin, shape (n_bins, n_cells)."""
    bounds = np.asarray(edges, dtype=float)
    half = 0.5 * (centers[1] - centers[0])
    low, high = np.maximum.outer(bounds[:-1], centers - half), np.minimum.outer(bounds[1:], centers + half)
    return np.asarray(np.clip(high - low, 0.0, None) / (2.0 * half))
