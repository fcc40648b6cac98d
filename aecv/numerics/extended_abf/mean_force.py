"""Mean force of an extended variable from weighted frames: the bias that a new CV can begin with.

    G_c(lam) = dF_kappa/dlam_c = sum_n w_n K(xi_n - lam) kappa_c (lam_c - xi_nc) / sum_n w_n K(xi_n - lam),
    K(d) = exp(-beta sum_c kappa_c d_c^2 / 2)

for frames n with Boltzmann weights w_n: the conditional average of the spring force that extended ABF
samples, taken over frames that exist already. Differences of a periodic component are nearest images.
[derived: differentiate F_kappa(lam) = -kT ln sum_n w_n K(xi_n - lam).]
"""

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.ground.grid import Grid

_FINE = 4
"""Cells of the fine histogram per bin: a frame moves by an eighth of a bin at most."""
_REACH = 4.0
"""Frames count up to so many sigma = (kT / kappa)^(1/2) beyond the grid, and up to 5 bins at least."""


def mean_force_of_frames(
    xi: ArrayLike, weights: ArrayLike, grid: Grid, *, kappa: ArrayLike, kt: float
) -> tuple[FloatArray, FloatArray]:
    """Mean force at the bin centres, and how many effective frames each rests on.

    Args:
        xi: CV of the frames, shape (n, d) [CV].
        weights: Boltzmann weights, any normalisation, shape (n,).
        grid: bins of lambda.
        kappa: coupling per component [kJ/mol/CV^2], shape (d,).
        kt: thermal energy [kJ/mol].

    Returns:
        G [kJ/mol/CV], shape (grid.size, d), zero where no frame is near; and
        (sum_n w_n K)^2 / sum_n (w_n K)^2, shape (grid.size,).

    Raises:
        GridError: when shapes do not fit.
    """
    points, w = np.asarray(xi, dtype=float), np.asarray(weights, dtype=float)
    coupling = np.asarray(kappa, dtype=float)
    if points.ndim != 2 or points.shape[1] != grid.n_dims or w.shape != (len(points),):
        raise GridError(
            f"mean force: needs xi (n, {grid.n_dims}) and weights (n,), got {points.shape} and {w.shape}"
        )
    points = grid.wrap(points)
    reach = np.ceil(_REACH * np.sqrt(kt / coupling) / grid.widths)
    edges = [_cell_edges(grid, dim, max(5, int(reach[dim]))) for dim in range(grid.n_dims)]
    mass, _ = np.histogramdd(points, bins=edges, weights=w / w.sum())
    squares, _ = np.histogramdd(points, bins=edges, weights=(w / w.sum()) ** 2)
    offsets = [_offsets(grid, dim, edge) for dim, edge in enumerate(edges)]
    kernels = [np.exp(-0.5 * k * d**2 / kt) for k, d in zip(coupling, offsets, strict=True)]
    density = _contract(mass, kernels)
    square_density = _contract(squares, [kernel**2 for kernel in kernels])
    force = np.empty((grid.size, grid.n_dims))
    for c in range(grid.n_dims):
        pulled = [*kernels[:c], coupling[c] * offsets[c] * kernels[c], *kernels[c + 1 :]]
        force[:, c] = _contract(mass, pulled)
    near = (density > 0) & (square_density > 0)
    safe = np.where(near, density, 1.0)
    effective = np.where(near, safe**2 / np.where(near, square_density, 1.0), 0.0)
    return np.where(near[:, None], force / safe[:, None], 0.0), effective


def _cell_edges(grid: Grid, dim: int, tail: int) -> FloatArray:
    """Edges of the fine cells along a dimension, `tail` bins beyond the grid where it is not periodic."""
    tail = 0 if grid.periodic[dim] else tail
    cells = np.arange(-tail * _FINE, (grid.n_bins[dim] + tail) * _FINE + 1)
    return np.asarray(cells * (grid.widths[dim] / _FINE) + grid.lower[dim])


def _offsets(grid: Grid, dim: int, edges: FloatArray) -> FloatArray:
    """lam - xi from bin centres to cell centres [CV], shape (n_bins, n_cells)."""
    offsets = np.subtract.outer(grid.centers(dim), 0.5 * (edges[1:] + edges[:-1]))
    if grid.periodic[dim]:
        offsets -= grid.periods[dim] * np.round(offsets / grid.periods[dim])
    return np.asarray(offsets)


def _contract(histogram: FloatArray, matrices: list[FloatArray]) -> FloatArray:
    """One matrix (n_bins, n_cells) applied along each axis of a histogram; flat."""
    for dim, matrix in enumerate(matrices):
        histogram = np.moveaxis(np.tensordot(matrix, histogram, axes=(1, dim)), 0, dim)
    return np.asarray(histogram).ravel()
