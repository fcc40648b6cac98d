"""Mean force of an extended variable from weighted frames: the bias that a new CV can begin with.

    G_c(lam) = dF_kappa/dlam_c = sum_n w_n K(xi_n - lam) kappa_c (lam_c - xi_nc) / sum_n w_n K(xi_n - lam),
    K(d) = exp(-beta sum_c kappa_c d_c^2 / 2)

for frames n with Boltzmann weights w_n: the conditional average of the spring force that extended ABF
samples, taken over frames that exist already. [derived: differentiate
F_kappa(lam) = -kT ln sum_n w_n K(xi_n - lam).]
"""

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.errors import GridError
from aecv.ground.grid import FloatArray, Grid

_FINE = 4
"""Cells of the fine histogram per bin: a frame moves by an eighth of a bin at most."""
_TAIL = 5
"""Bins beyond the grid whose frames still count."""


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
    edges = [
        np.arange(-_TAIL * _FINE, (bins + _TAIL) * _FINE + 1) * (width / _FINE) + low
        for low, width, bins in zip(grid.lower, grid.widths, grid.n_bins, strict=True)
    ]
    mass, _ = np.histogramdd(points, bins=edges, weights=w / w.sum())
    squares, _ = np.histogramdd(points, bins=edges, weights=(w / w.sum()) ** 2)
    offsets = [
        grid.centers(dim)[:, None] - 0.5 * (edge[1:] + edge[:-1])[None, :] for dim, edge in enumerate(edges)
    ]
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


def _contract(histogram: FloatArray, matrices: list[FloatArray]) -> FloatArray:
    """One matrix (n_bins, n_cells) applied along each axis of a histogram; flat."""
    for dim, matrix in enumerate(matrices):
        histogram = np.moveaxis(np.tensordot(matrix, histogram, axes=(1, dim)), 0, dim)
    return np.asarray(histogram).ravel()
