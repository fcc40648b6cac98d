"""Free energies on a grid, integrated from gradients, and of a region."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import GridError, SamplingError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.poisson import integrate_on_edges


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeEnergy:
    """A free energy known on the visited bins of a grid.

    Attributes:
        grid: the grid.
        values: free energy per bin [kJ/mol], shape (size,); NaN where unvisited, minimum 0 in every island.
        islands: island of every bin, shape (size,); -1 unvisited, 0 the island with most samples, then 1, 2
            and so on. Free-energy differences between islands are not known.
    """

    grid: Grid
    values: FloatArray
    islands: IntArray

    @property
    def n_islands(self) -> int:
        """Number of connected visited regions."""
        return int(self.islands.max(initial=-1)) + 1

    def on_main(self) -> FloatArray:
        """Values with NaN outside the island with most samples [kJ/mol], shape (size,)."""
        return np.where(self.islands == 0, self.values, np.nan)

    def interpolate(self, points: ArrayLike) -> FloatArray:
        """Free energy of the main island at points, multilinear between bin centres.

        A neighbouring bin that is not on the main island (or not on the grid) is left out and the weights of
        the others are scaled up, so that no unknown value is invented; beside the own bin alone, its value.
        Periodic coordinates are wrapped, and their first and last bins are neighbours.

        Args:
            points: shape (n, n_dims) [CV].

        Returns:
            shape (n,) [kJ/mol]; NaN off the grid, in unvisited bins and on other islands.

        Raises:
            GridError: if points do not have shape (n, n_dims).
        """
        x = np.asarray(points, dtype=np.float64)
        bins = self.grid.index(x)
        values = self.on_main()
        known = (bins >= 0) & np.isfinite(values[bins])
        result = np.full(len(x), np.nan)
        result[known] = multilinear(values, self.grid, x[known])
        return result


def integrate_gradient(
    gradient: ArrayLike, counts: ArrayLike, grid: Grid, *, min_count: int = 1
) -> FreeEnergy:
    """The free energy whose differences best match a noisy gradient, over the visited bins only.

    Minimises sum over edges (a, b) between neighbouring visited bins along dimension c of

        w_ab [F_b - F_a - h_c (G_ac + G_bc) / 2]^2,    w_ab = n_a n_b / (n_a + n_b),

    a discrete Poisson equation with natural boundary; along a periodic dimension the last bin is a
    neighbour of the first. G_ac is a mean of n_a samples of variance s^2, so
    that the mean of both bins has variance s^2/4 (1/n_a + 1/n_b) = s^2/4 (n_a + n_b)/(n_a n_b): w_ab is the
    inverse variance up to a constant. The constant h_c^2 s_c^2 is the same along every dimension when
    sigma_c is proportional to the bin width, because samples kappa (lam - xi) have
    s_c^2 = kT kappa_c = (kT / sigma_c)^2. Bins that no chain of visited neighbours joins are separate
    islands, each with its own zero; they are never joined. A bin whose gradient is NaN along c has no edge
    along c.

    Args:
        gradient: dF/dx at bin centres [kJ/mol/CV], shape (size, n_dims).
        counts: number of samples per bin, shape (size,).
        grid: the grid.
        min_count: bins with fewer samples count as unvisited.

    Returns:
        The free energy; no island at all if no bin is visited.

    Raises:
        GridError: for arrays that do not have the grid's shape, counts that are negative or not finite, an
            infinite gradient in a visited bin, or min_count < 1.

    Source: least squares on the edges as in Henin, J. Chem. Theory Comput. 17, 6789 (2021),
        doi:10.1021/acs.jctc.1c00593, here with weights and a mask.
    """
    g, n = _checked(gradient, counts, grid)
    if min_count < 1:
        raise GridError(f"integrate_gradient: min_count needs to be >= 1, got {min_count}")
    visited = n >= min_count
    if np.isinf(g[visited]).any():
        raise GridError(
            "integrate_gradient: the gradient of a visited bin is infinite; check the accumulators"
        )
    values, labels = integrate_on_edges(g, n, visited, grid)
    islands = _ordered_by_samples(labels, n)
    return FreeEnergy(grid=grid, values=values, islands=islands)


def bias_potential(force: ArrayLike, counts: ArrayLike, grid: Grid) -> FloatArray:
    """The potential B whose gradient best equals the bias force applied on lambda, on all bins.

    The same least squares as `integrate_gradient` over the full grid; an unvisited bin counts as one sample
    of zero force, so that B continues flat outside the visited region. The bias energy is -B(lambda).

    Args:
        force: bias force per bin [kJ/mol/CV], shape (size, n_dims); ignored where counts is 0.
        counts: number of samples per bin, shape (size,).
        grid: the grid.

    Returns:
        B at bin centres [kJ/mol], shape (size,), minimum 0.

    Raises:
        GridError: for arrays that do not have the grid's shape, bad counts or a force that is not finite.
    """
    f, n = _checked(force, counts, grid)
    f = np.where((n > 0)[:, None], f, 0.0)
    if not np.isfinite(f).all():
        raise GridError("bias_potential: the force of a visited bin is not finite; check the accumulators")
    values, _ = integrate_on_edges(f, np.maximum(n, 1.0), np.ones(grid.size, dtype=bool), grid)
    return values


def czar_gradient(n_xi: ArrayLike, sum_xi: ArrayLike, grid: Grid, *, kt: float) -> FloatArray:
    """Unbiased free-energy gradient along the CV itself from extended-system statistics (CZAR).

    dA/dz_c = -kT d ln rho(z)/dz_c + <kappa_c (lam_c - z_c)>_z, with rho the biased density of the CV z.
    d ln rho is a central difference inside the visited region and one-sided at its edges; along a periodic
    dimension it goes across the seam.

    Args:
        n_xi: number of samples per bin of the CV, shape (size,).
        sum_xi: sum of kappa_c (lam_c - xi_c) over these samples [kJ/mol/CV], shape (size, n_dims).
        grid: the grid of the CV.
        kt: thermal energy [kJ/mol].

    Returns:
        dA/dz at bin centres [kJ/mol/CV], shape (size, n_dims); NaN in unvisited bins, and along dimensions
        where both neighbours are unvisited.

    Raises:
        GridError: for arrays that do not have the grid's shape or bad counts.

    Source: Lesage et al., J. Phys. Chem. B 121, 3676 (2017), doi:10.1021/acs.jpcb.6b10055.
    """
    sums, n = _checked(sum_xi, n_xi, grid)
    log_density = np.full(grid.size, np.nan)
    np.log(n, out=log_density, where=n > 0)
    log_density = log_density.reshape(grid.shape)
    gradient = np.empty((grid.size, grid.n_dims))
    for dim, width in enumerate(grid.widths):
        ahead = (np.roll(log_density, -1, axis=dim) - log_density) / width
        if not grid.periodic[dim]:
            np.moveaxis(ahead, dim, 0)[-1] = np.nan
        behind = np.roll(ahead, 1, axis=dim)
        slope = np.where(np.isnan(ahead), behind, np.where(np.isnan(behind), ahead, 0.5 * (ahead + behind)))
        mean_force = np.divide(sums[:, dim], n, out=np.full(grid.size, np.nan), where=n > 0)
        gradient[:, dim] = -kt * slope.ravel() + mean_force
    return gradient


def delta_f(inside: ArrayLike, weights: ArrayLike, *, kt: float) -> float:
    """Free energy of a region relative to the rest, -kT ln(p_in / p_out).

    Args:
        inside: whether each frame is in the region, shape (n,) bool.
        weights: shape (n,), >= 0, any normalisation.
        kt: thermal energy [kJ/mol].

    Returns:
        [kJ/mol]; +inf if no weight is inside, -inf if all of it is.

    Raises:
        GridError: for shapes that do not match.
        SamplingError: for weights that are negative, not finite, or all zero.
    """
    chosen = np.asarray(inside, dtype=bool)
    w = _checked_weights(weights, "delta_f")
    if chosen.shape != w.shape:
        raise GridError(f"delta_f: inside needs the weights' shape {w.shape}, got {chosen.shape}")
    if not w.any():
        raise SamplingError("delta_f: needs a positive weight, got none; check the weights")
    p_in, p_out = float(w[chosen].sum()), float(w[~chosen].sum())
    if p_in == 0.0:
        return np.inf
    if p_out == 0.0:
        return -np.inf
    return -kt * float(np.log(p_in / p_out))


def _checked(vectors: ArrayLike, counts: ArrayLike, grid: Grid) -> tuple[FloatArray, FloatArray]:
    """Both as float64 arrays of the grid's shape, or a GridError."""
    g, n = np.asarray(vectors, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    if g.shape != (grid.size, grid.n_dims) or n.shape != (grid.size,):
        raise GridError(
            f"free energy: needs vectors of shape {(grid.size, grid.n_dims)} and counts {(grid.size,)}, "
            f"got {g.shape} and {n.shape}; flatten in C order"
        )
    if not np.all(np.isfinite(n) & (n >= 0)):
        raise GridError("free energy: counts need to be finite and >= 0; check the accumulators")
    return g, n


def _checked_weights(weights: ArrayLike, place: str) -> FloatArray:
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1:
        raise GridError(f"{place}: weights need shape (n,), got {w.shape}")
    if not np.all(np.isfinite(w) & (w >= 0)):
        raise SamplingError(
            f"{place}: weights need to be finite and >= 0; check the bias energies behind them"
        )
    return w


def _ordered_by_samples(labels: IntArray, counts: FloatArray) -> IntArray:
    """Components renumbered 0, 1, ... by decreasing number of samples; -1 stays."""
    visited = labels >= 0
    names, compact = np.unique(labels[visited], return_inverse=True)
    samples = np.bincount(compact, counts[visited], len(names))
    rank = np.empty(len(names), dtype=np.int64)
    rank[np.argsort(-samples, kind="stable")] = np.arange(len(names))
    islands = np.full(len(labels), -1, dtype=np.int64)
    islands[visited] = rank[compact]
    return islands


def multilinear(values: FloatArray, grid: Grid, points: FloatArray) -> FloatArray:
    """Multilinear interpolation between bin centres over the corners that have a value."""
    position = (points - np.array(grid.lower)) / grid.widths - 0.5
    base = np.floor(position).astype(np.int64)
    fraction = position - base
    n_bins = np.array(grid.n_bins)
    total, share = np.zeros(len(points)), np.zeros(len(points))
    for corner in np.ndindex(*(2,) * grid.n_dims):
        offset = np.array(corner)
        at = np.where(grid.periodic, (base + offset) % n_bins, base + offset)
        flat = np.ravel_multi_index(tuple(np.clip(at, 0, n_bins - 1).T), grid.n_bins)
        known = np.all((at >= 0) & (at < n_bins), axis=1) & np.isfinite(values[flat])
        part = known * np.prod(np.where(offset == 1, fraction, 1.0 - fraction), axis=1)
        total += part * np.where(known, values[flat], 0.0)
        share += part
    return total / share
