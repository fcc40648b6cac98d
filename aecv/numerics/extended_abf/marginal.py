"""The bias that an extended system with a frozen bias on lambda exerts on the CV itself."""

import math
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import map_coordinates, spline_filter

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError
from aecv.ground.grid import Grid

_TABLE_MARGIN = 5.0
"""The table reaches so many sigma beyond the grid; frames further out are summed directly."""

_LARGEST_TABLE = 20_000_000
LARGEST_SPAN = 500.0
"""exp of the bias, times Gaussians, has to stay within double precision (e^708) [kT]."""


def is_too_fine(n_bins: int, sigma_bins: float, n_dims: int) -> bool:
    """Whether the table of a grid of so many bins per dimension, and sigma in bin widths, is too large."""
    n_table = math.ceil(_per_sigma(n_dims) * (n_bins / sigma_bins + 2.0 * _TABLE_MARGIN)) + 1
    n_refined = n_bins * max(1, math.ceil(2.0 / sigma_bins))
    return float(max(n_table, n_refined)) ** n_dims > _LARGEST_TABLE


def _per_sigma(n_dims: int) -> float:
    """Points of the table per sigma.

    Splines are off by about h^4: 4e-3 kT for a bias of 8 kT of noise per bin. In 3-D points are dear.
    """
    return 6.0 if n_dims < 3 else 4.0


class MarginalBias:
    """Effective bias energy on xi of an extended system, lambda integrated out.

        U(xi) = -kT ln sum_b v exp(-[sum_c kappa_c/2 (xi_c - lam_bc)^2 - B(lam_b)] / kT)

    over the bins b of the grid, refined to a spacing <= sigma_c/2 (sigma_c^2 = kT / kappa_c), B multilinear
    between bin centres and flat in the outer half bins; v is the volume of a refined bin. Where a component
    is periodic, xi_c - lam_bc is the nearest image, as in the dynamics, and B goes on across the seam. Frames
    of the run have the marginal law exp(-[V(q) + U(xi(q))] / kT). U is tabulated by a separable convolution
    and interpolated by cubic splines; points outside the table are summed directly.

    Args:
        grid: grid of lambda, whose edges reflect it.
        bias: B at bin centres [kJ/mol], shape (size,); the bias energy is -B(lambda).
        kappa: spring constants [kJ/mol/CV^2], shape (n_dims,).
        kt: thermal energy [kJ/mol].

    Raises:
        GridError: for shapes that do not fit, values that are not finite, kappa <= 0, a bias that spans
            more than 500 kT, or a sigma so small that the table would exceed 2e7 points.

    Source: Hulm et al., J. Chem. Phys. 157, 024110 (2022), doi:10.1063/5.0095554.
    """

    def __init__(self, grid: Grid, bias: ArrayLike, kappa: ArrayLike, kt: float) -> None:
        b, k = np.asarray(bias, dtype=np.float64), np.asarray(kappa, dtype=np.float64)
        if b.shape != (grid.size,) or k.shape != (grid.n_dims,):
            raise GridError(
                f"marginal bias: needs bias of shape {(grid.size,)} and kappa of shape {(grid.n_dims,)}, "
                f"got {b.shape} and {k.shape}"
            )
        if not (np.isfinite(b).all() and np.isfinite(k).all() and (k > 0).all() and kt > 0):
            raise GridError("marginal bias: bias needs to be finite, kappa and kt finite and > 0")
        if np.ptp(b) > LARGEST_SPAN * kt:
            raise GridError(
                f"marginal bias: bias needs to span <= {LARGEST_SPAN:g} kT, got {np.ptp(b) / kt:.0f}; cap it"
            )
        self._kt = kt
        self._sigma = np.sqrt(kt / k)
        self._top = float(b.max())
        self._grid = grid
        self._lower = np.array(grid.lower) - _TABLE_MARGIN * self._sigma
        self._upper = np.array(grid.upper) + _TABLE_MARGIN * self._sigma
        n_table = (
            np.ceil(_per_sigma(grid.n_dims) * (self._upper - self._lower) / self._sigma).astype(np.int64) + 1
        )
        refinement = np.maximum(1, np.ceil(2.0 * grid.widths / self._sigma)).astype(np.int64)
        n_refined = refinement * np.array(grid.n_bins)
        if max(np.prod(n_table.astype(float)), np.prod(n_refined.astype(float))) > _LARGEST_TABLE:
            raise GridError(
                f"marginal bias: sigma {self._sigma} needs a table of {n_table} points, more than "
                f"{_LARGEST_TABLE:g} in all; use a larger sigma or a smaller grid"
            )
        self._lam, self._boltzmann = _refined(grid, (b - self._top) / kt, refinement)
        self._step = (self._upper - self._lower) / (n_table - 1)
        axes = [np.linspace(*ends) for ends in zip(self._lower, self._upper, n_table, strict=True)]
        self._spline = spline_filter(self._on_product(axes), order=3, mode="mirror")

    def __call__(self, xi: ArrayLike) -> FloatArray:
        """U at points of the CV.

        Args:
            xi: shape (n, n_dims) [CV].

        Returns:
            shape (n,) [kJ/mol]; NaN where a coordinate is not finite.

        Raises:
            GridError: if xi does not have shape (n, n_dims).
        """
        x = np.asarray(xi, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != len(self._sigma):
            raise GridError(f"marginal bias: xi needs shape (n, {len(self._sigma)}), got {x.shape}")
        # The table of a periodic component has its margin too: there the spline's ends do no harm.
        x = self._grid.wrap(x)
        finite = np.isfinite(x).all(axis=1)
        tabulated = finite & np.all((x >= self._lower) & (x <= self._upper), axis=1)
        result = np.full(len(x), np.nan)
        at = ((x[tabulated] - self._lower) / self._step).T
        result[tabulated] = map_coordinates(self._spline, at, order=3, mode="mirror", prefilter=False)
        outside = finite & ~tabulated
        result[outside] = self.direct(x[outside])
        return result

    def direct(self, xi: FloatArray) -> FloatArray:
        """U by the sum itself, without the table [kJ/mol]; xi of shape (n, n_dims) [CV]."""
        result = np.empty(len(xi))
        chunk = max(1, 4_000_000 // max(1, self._boltzmann[0].size))
        for start in range(0, len(xi), chunk):
            x = xi[start : start + chunk]
            kernels = [self._kernel(x[:, dim], dim) for dim in range(x.shape[1])]
            total = np.tensordot(kernels[0][0], self._boltzmann, axes=(1, 0))
            for kernel, _ in kernels[1:]:
                total = np.einsum("nb...,nb->n...", total, kernel)
            exponent = sum(shift for _, shift in kernels)
            result[start : start + chunk] = -self._kt * (np.log(total) + exponent) - self._top
        return result

    def _on_product(self, axes: list[FloatArray]) -> FloatArray:
        """U on the product of coordinate axes, one dimension convolved after the other."""
        total, exponents = self._boltzmann, []
        for dim, axis in enumerate(axes):
            kernel, shift = self._kernel(axis, dim)
            total = np.moveaxis(np.tensordot(kernel, total, axes=(1, dim)), 0, dim)
            exponents.append(shift)
        result: FloatArray = -self._kt * (np.log(total) + reduce(np.add.outer, exponents)) - self._top
        return result

    def _kernel(self, x: FloatArray, dim: int) -> tuple[FloatArray, FloatArray]:
        """Gaussians exp(-(x_i - lam_b)^2 / 2 sigma^2) over their largest, (n, n_lam), and its log, (n,).

        Over their largest, so that far from the grid nothing underflows.
        """
        difference = x[:, None] - self._lam[dim]
        if self._grid.periodic[dim]:
            period = self._grid.periods[dim]
            difference -= period * np.round(difference / period)
        exponent = -0.5 * np.square(difference / self._sigma[dim])
        shift = exponent.max(axis=1)
        return np.exp(exponent - shift[:, None]), shift


def _refined(grid: Grid, log_bias: FloatArray, refinement: ArrayLike) -> tuple[list[FloatArray], FloatArray]:
    """Centres of refined bins per dimension, and exp(log_bias) times their volume; it is multilinear."""
    values = log_bias.reshape(grid.shape)
    volume, axes = 1.0, []
    for dim, factor in enumerate(np.asarray(refinement)):
        n_bins = grid.n_bins[dim]
        step = grid.widths[dim] / factor
        axes.append(grid.lower[dim] + step * (np.arange(n_bins * factor) + 0.5))
        volume *= step
        at = (np.arange(n_bins * factor) + 0.5) / factor - 0.5
        left = np.floor(at).astype(np.int64)
        if not grid.periodic[dim]:
            at = np.clip(at, 0, n_bins - 1)
            left = np.clip(left, 0, n_bins - 2)
        fraction = (at - left).reshape([-1 if d == dim else 1 for d in range(grid.n_dims)])
        first, second = np.take(values, left % n_bins, dim), np.take(values, (left + 1) % n_bins, dim)
        values = (1.0 - fraction) * first + fraction * second
    return axes, np.exp(values) * volume
