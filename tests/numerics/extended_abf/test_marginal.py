"""The marginalised bias against closed forms and the direct sum."""

import numpy as np
import pytest
from scipy.special import logsumexp

from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.marginal import MarginalBias
from aecv.numerics.free_energy.weights import mbar_log_weights

KT = 2.494


def test_linear_bias_gives_a_linear_marginal():
    """B = a.lam far from the edges: U = -a.xi - |a sigma|^2 / 2 kT - kT sum_c ln(sigma_c sqrt(2 pi))."""
    grid = Grid(lower=(-3.0, -2.0), upper=(3.0, 2.0), n_bins=(30, 20))
    a, sigma = np.array([4.0, -3.0]), np.array([0.2, 0.15])
    marginal = MarginalBias(grid, grid.center_points() @ a, KT / sigma**2, KT)
    xi = np.random.default_rng(0).uniform(-0.7, 0.7, (500, 2))
    expected = -xi @ a - np.square(a * sigma).sum() / (2 * KT) - KT * np.log(2 * np.pi * sigma.prod())
    np.testing.assert_allclose(marginal(xi), expected, atol=1e-4 * KT)


def test_edges_cut_half_of_the_gaussian():
    """No bias: U at an edge is kT ln 2 above the middle; far outside it is the spring to the edge."""
    grid = Grid(lower=(0.0,), upper=(4.0,), n_bins=(20,))
    sigma = 0.2
    marginal = MarginalBias(grid, np.zeros(20), [KT / sigma**2], KT)
    middle, edge = marginal(np.array([[2.0], [4.0]]))
    assert edge - middle == pytest.approx(KT * np.log(2.0), abs=0.01 * KT)
    far = marginal(np.array([[4.0 + 30 * sigma], [1e4]]))
    assert far[0] - middle == pytest.approx(KT * (450 + np.log(30 * np.sqrt(2 * np.pi))), rel=0.02)
    assert np.isfinite(far[1])


def brute_force(grid, bias, sigma, xi, refinement):
    """The documented sum over a refined mesh, point by point, with B by np.interp per dimension."""
    b = bias.reshape(grid.shape)
    axes, volume = [], 1.0
    for dim in range(grid.n_dims):
        fine = grid.widths[dim] / refinement
        axis = grid.lower[dim] + fine * (np.arange(grid.n_bins[dim] * refinement) + 0.5)
        columns = np.moveaxis(b, dim, -1)
        rows = [np.interp(axis, grid.centers(dim), row) for row in columns.reshape(-1, grid.n_bins[dim])]
        b = np.moveaxis(np.reshape(rows, (*columns.shape[:-1], len(axis))), -1, dim)
        axes.append(axis)
        volume *= fine
    mesh = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)
    exponents = np.array([b.ravel() / KT - 0.5 * np.square((x - mesh) / sigma).sum(axis=1) for x in xi])
    return -KT * (np.log(volume) + logsumexp(exponents, axis=1))


@pytest.mark.parametrize(
    ("n_bins", "sigma_in_bins", "refinement"),
    [((30,), 1.0, 2), ((24, 16), 1.0, 2), ((24, 16), 0.4, 5), ((8, 6, 7), 1.0, 2)],
)
def test_table_equals_the_direct_sum(n_bins, sigma_in_bins, refinement):
    """Within 0.01 kT, for a bias of 40 kJ/mol with 5 kJ/mol of noise from bin to bin."""
    rng = np.random.default_rng(1)
    n_dims = len(n_bins)
    grid = Grid(lower=(-1.0,) * n_dims, upper=(1.5,) * n_dims, n_bins=n_bins)
    bias = 40 * np.sin(2 * grid.center_points()).sum(axis=1) + 5 * rng.standard_normal(grid.size)
    sigma = sigma_in_bins * grid.widths
    marginal = MarginalBias(grid, bias, KT / sigma**2, KT)
    xi = rng.uniform(-1.0, 1.5, (60, n_dims)) + sigma * rng.standard_normal((60, n_dims))
    reference = brute_force(grid, bias, sigma, xi, refinement)
    np.testing.assert_allclose(marginal.direct(xi), reference, atol=1e-9)
    np.testing.assert_allclose(marginal(xi), reference, atol=0.01 * KT)


def test_table_and_direct_sum_join_at_the_border():
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
    marginal = MarginalBias(grid, 30 * grid.centers(0) ** 2, [KT / 0.01], KT)
    # 5 sigma of 0.1 beyond the grid; in the last cells before it the spline's end is off by up to 0.15 kT
    border = 1.5
    xi = np.concatenate([np.linspace(0.9, border - 0.05, 500), [border - 1e-9, border + 1e-9, 1.6, 2.5]])[
        :, None
    ]
    np.testing.assert_allclose(marginal(xi), marginal.direct(xi), atol=0.01 * KT)


def test_marginal_weights_of_an_extended_run_are_exact():
    """Frames of exp(-V - spring + B) reweighted by exp(U(xi)) through MBAR reproduce <xi> of exp(-V)."""
    rng = np.random.default_rng(3)
    grid = Grid(lower=(-2.0,), upper=(2.0,), n_bins=(40,))
    sigma = 0.15
    bias = -8.0 * np.cos(2 * grid.centers(0)) + 3 * grid.centers(0)
    x = np.linspace(-2.2, 2.2, 441)
    lam = grid.lower[0] + 0.01 * (np.arange(400) + 0.5)
    potential = 6 * (x**2 - 1) ** 2 + 2 * x
    log_p = (np.interp(lam, grid.centers(0), bias) - potential[:, None]) / KT
    log_p -= (x[:, None] - lam) ** 2 / (2 * sigma**2)
    p = np.exp(log_p - log_p.max()).ravel()
    n = 100_000
    xi = x[rng.choice(p.size, n, p=p / p.sum()) // len(lam)]
    marginal = MarginalBias(grid, bias, [KT / sigma**2], KT)
    result = mbar_log_weights(marginal(xi[:, None])[None], [n], kt=KT)
    exact = np.exp(-potential / KT) @ x / np.exp(-potential / KT).sum()
    error = np.sqrt(np.sum(result.weights**2 * (xi - exact) ** 2))
    assert abs(result.weights @ xi - exact) < 4 * error
    assert abs(xi.mean() - exact) > 20 * error


def test_nan_points_and_errors():
    grid = Grid(lower=(0.0,), upper=(1.0,), n_bins=(10,))
    marginal = MarginalBias(grid, np.zeros(10), [KT / 0.01], KT)
    assert np.isnan(marginal(np.array([[np.nan], [0.5]]))).tolist() == [True, False]
    with pytest.raises(GridError, match="xi needs shape"):
        marginal(np.zeros((3, 2)))
    with pytest.raises(GridError, match="bias of shape"):
        MarginalBias(grid, np.zeros(9), [1.0], KT)
    with pytest.raises(GridError, match="finite"):
        MarginalBias(grid, np.full(10, np.nan), [1.0], KT)
    with pytest.raises(GridError, match="span"):
        MarginalBias(grid, np.linspace(0, 2000, 10), [1.0], KT)
    with pytest.raises(GridError, match="larger sigma"):
        MarginalBias(grid, np.zeros(10), [KT / 1e-14], KT)
