"""Weighted discrete Poisson equation on the visited bins of a grid.

The boundary is natural; along a periodic dimension there is none, the last bin is a neighbour of the first.
"""

import numpy as np
from scipy.sparse import coo_array, csgraph
from scipy.sparse.linalg import splu

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.grid import Grid


def integrate_on_edges(
    gradient: FloatArray, counts: FloatArray, visited: BoolArray, grid: Grid
) -> tuple[FloatArray, IntArray]:
    """Values on visited bins whose differences best match a gradient, by weighted least squares.

    Minimises sum over edges (a, b) between neighbouring visited bins along dimension c of

        n_a n_b / (n_a + n_b) [F_b - F_a - h_c (G_ac + G_bc) / 2]^2.

    Args:
        gradient: G at bin centres [kJ/mol/CV], shape (size, n_dims); NaN along c: no edge along c.
        counts: n per bin, > 0 where visited, shape (size,).
        visited: shape (size,).
        grid: the grid.

    Returns:
        F [kJ/mol], shape (size,), minimum 0 in every connected component, NaN where not visited; and the
        component of every bin, shape (size,), in no particular order, -1 where not visited.
    """
    tails, heads, steps = [], [], []
    for dim, width in enumerate(grid.widths):
        a, b = neighbours(grid, dim)
        step = 0.5 * width * (gradient[a, dim] + gradient[b, dim])
        kept = visited[a] & visited[b] & np.isfinite(step)
        tails.append(a[kept])
        heads.append(b[kept])
        steps.append(step[kept])
    a, b, step = np.concatenate(tails), np.concatenate(heads), np.concatenate(steps)
    weight = counts[a] * counts[b] / (counts[a] + counts[b])
    adjacency = coo_array((weight, (a, b)), shape=(grid.size, grid.size)).tocsr()
    _, labels = csgraph.connected_components(adjacency, directed=False)
    labels = np.where(visited, labels, -1).astype(np.int64)

    # The Laplacian knows F up to a constant per island: one bin of each is pinned at 0 and its row dropped.
    _, pinned = np.unique(labels, return_index=True)
    free = visited.copy()
    free[pinned] = False
    values = np.where(visited, 0.0, np.nan)
    if free.any():
        degree = _sum_at(a, weight, grid.size) + _sum_at(b, weight, grid.size)
        flow = weight * step
        source = _sum_at(b, flow, grid.size) - _sum_at(a, flow, grid.size)
        values[free] = _solve_laplacian(adjacency, degree, source, np.flatnonzero(free))
    return _shifted_to_zero(values, labels), labels


def neighbours(grid: Grid, dim: int) -> tuple[IntArray, IntArray]:
    """Flat indices of all pairs of neighbouring bins along one dimension."""
    flat = np.arange(grid.size).reshape(grid.shape)
    first = np.arange(grid.n_bins[dim] if grid.periodic[dim] else grid.n_bins[dim] - 1)
    second = (first + 1) % grid.n_bins[dim]
    return np.take(flat, first, axis=dim).ravel(), np.take(flat, second, axis=dim).ravel()


def _solve_laplacian(
    adjacency: coo_array, degree: FloatArray, source: FloatArray, free: IntArray
) -> FloatArray:
    """Solve (diag(degree) - A - A^T) F = source over the free bins, the others being 0."""
    upper = adjacency[free][:, free]
    n_free = len(free)
    diagonal = coo_array((degree[free], (np.arange(n_free), np.arange(n_free))), shape=(n_free, n_free))
    laplacian = (diagonal - upper - upper.T).tocsc()
    # A minimum-degree ordering of a symmetric matrix without pivoting: the default (COLAMD, for unsymmetric
    # matrices) fills in several times more on a grid.
    factors = splu(
        laplacian, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    return np.asarray(factors.solve(source[free]), dtype=np.float64)


def _sum_at(bins: IntArray, amounts: FloatArray, size: int) -> FloatArray:
    return np.bincount(bins, amounts, size).astype(np.float64)


def _shifted_to_zero(values: FloatArray, labels: IntArray) -> FloatArray:
    """Values with the minimum of every component moved to 0."""
    visited = labels >= 0
    minima = np.full(int(labels.max(initial=-1)) + 1, np.inf)
    np.minimum.at(minima, labels[visited], values[visited])
    shifted = values.copy()
    shifted[visited] -= minima[labels[visited]]
    return shifted
