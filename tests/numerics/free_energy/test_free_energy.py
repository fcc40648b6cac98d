"""Integration, CZAR and Delta F against analytic free energies."""

import numpy as np
import pytest

from aecv.ground.errors import GridError, SamplingError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.integration import (
    bias_potential,
    czar_gradient,
    delta_f,
    integrate_gradient,
)

KT = 2.494


def square_grid(n_dims, n_bins=20):
    return Grid(lower=(-1.0,) * n_dims, upper=(1.5,) * n_dims, n_bins=(n_bins,) * n_dims)


def quadratic(x):
    """F and its gradient; the trapezoidal rule on the edges is exact for a quadratic."""
    n_dims = x.shape[1]
    hessian = np.array([[6.0, 2.0, -1.0], [2.0, 4.0, 0.5], [-1.0, 0.5, 5.0]])[:n_dims, :n_dims]
    slope = np.array([1.0, -2.0, 0.5])[:n_dims]
    return 0.5 * np.einsum("ni,ij,nj->n", x, hessian, x) + x @ slope, x @ hessian + slope


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_quadratic_gradient_is_inverted_exactly(n_dims):
    grid = square_grid(n_dims, 12)
    expected, gradient = quadratic(grid.center_points())
    counts = np.random.default_rng(1).integers(1, 1_000_000, grid.size)
    result = integrate_gradient(gradient, counts, grid)
    assert result.n_islands == 1
    np.testing.assert_allclose(result.values, expected - expected.min(), atol=1e-8)


def test_unequal_bins_per_dimension_keep_their_order():
    grid = Grid(lower=(-1.0, 0.0), upper=(1.0, 3.0), n_bins=(7, 11))
    expected, gradient = quadratic(grid.center_points())
    result = integrate_gradient(gradient, np.ones(grid.size), grid)
    np.testing.assert_allclose(result.values, expected - expected.min(), atol=1e-10)


def test_smooth_potential_converges_with_the_square_of_the_bin_width():
    errors = []
    for n_bins in (20, 40):
        grid = Grid(lower=(-2.0, -2.0), upper=(2.0, 2.0), n_bins=(n_bins, n_bins))
        x, y = grid.center_points().T
        expected = 5 * (x**2 - 1) ** 2 + 3 * np.cos(2 * y) * x
        gradient = np.stack([20 * x * (x**2 - 1) + 3 * np.cos(2 * y), -6 * np.sin(2 * y) * x], axis=1)
        values = integrate_gradient(gradient, np.ones(grid.size), grid).values
        errors.append(np.ptp(values - expected))
    # the trapezoidal rule is off by h^2/12 times the change of F'', from -20 at x = 0 to 220 at x = 2
    assert errors[1] == pytest.approx(0.1**2 / 12 * 240, rel=0.1)
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.25)


def test_double_well_from_noisy_forces_is_within_its_error():
    """A random walk of edge errors: the standard deviation over the whole axis follows from the counts."""
    grid = Grid(lower=(-1.6,), upper=(1.6,), n_bins=(64,))
    x = grid.centers(0)
    rng = np.random.default_rng(7)
    counts = rng.integers(200, 2000, grid.size)
    noise = 30.0 / np.sqrt(counts)
    gradient = 80 * x * (x**2 - 1) + noise * rng.standard_normal(grid.size)
    values = integrate_gradient(gradient[:, None], counts, grid).values
    expected = 20 * (x**2 - 1) ** 2
    sigma = grid.widths[0] * np.sqrt(np.square(noise).sum())
    error = values - expected
    assert np.ptp(error - error.mean()) < 4 * sigma
    assert abs(values[x > 0].min() - values[x < 0].min()) < 4 * sigma


def test_counts_weight_the_edges():
    """A bin of one sample with an absurd force hardly moves the others; with equal weights it would."""
    grid = square_grid(2, 10)
    expected, gradient = quadratic(grid.center_points())
    counts = np.full(grid.size, 10_000)
    spoiled = 5 * 10 + 5
    gradient[spoiled] += 1000.0
    counts[spoiled] = 1
    others = np.delete(np.arange(grid.size), spoiled)
    error = (integrate_gradient(gradient, counts, grid).values - expected)[others]
    assert np.ptp(error) < 0.1
    unweighted = (integrate_gradient(gradient, np.ones(grid.size), grid).values - expected)[others]
    assert np.ptp(unweighted) > 10.0


def test_weighted_solution_is_the_least_squares_minimum():
    """Against dense weighted least squares over the edges, written out independently."""
    grid = Grid(lower=(0.0, 0.0), upper=(1.0, 2.0), n_bins=(4, 5))
    rng = np.random.default_rng(3)
    gradient, counts = rng.normal(size=(grid.size, 2)), rng.integers(1, 500, grid.size)
    rows, steps = [], []
    flat = np.arange(grid.size).reshape(grid.shape)
    pairs = [(flat[:-1], flat[1:]), (flat[:, :-1], flat[:, 1:])]
    for dim, (tails, heads) in enumerate(pairs):
        for a, b in zip(tails.ravel(), heads.ravel(), strict=True):
            root = np.sqrt(1.0 / (1.0 / counts[a] + 1.0 / counts[b]))
            row = np.zeros(grid.size)
            row[a], row[b] = -root, root
            rows.append(row)
            steps.append(root * grid.widths[dim] * 0.5 * (gradient[a, dim] + gradient[b, dim]))
    expected = np.linalg.lstsq(np.array(rows), np.array(steps), rcond=None)[0]
    np.testing.assert_allclose(
        integrate_gradient(gradient, counts, grid).values, expected - expected.min(), atol=1e-10
    )


def test_islands_are_separate_and_ordered_by_samples():
    grid = Grid(lower=(0.0,), upper=(12.0,), n_bins=(12,))
    counts = np.array([5, 5, 5, 0, 0, 900, 900, 0, 0, 0, 7, 0])
    gradient = np.where(counts > 0, 2.0, np.nan)[:, None]
    result = integrate_gradient(gradient, counts, grid)
    np.testing.assert_array_equal(result.islands, [1, 1, 1, -1, -1, 0, 0, -1, -1, -1, 2, -1])
    nan = np.nan
    np.testing.assert_allclose(result.values, [0, 2, 4, nan, nan, 0, 2, nan, nan, nan, 0, nan], atol=1e-12)
    np.testing.assert_allclose(result.on_main(), [nan] * 5 + [0, 2] + [nan] * 5, atol=1e-12)
    assert result.n_islands == 3


def test_diagonal_neighbours_do_not_join_islands():
    grid = Grid(lower=(0.0, 0.0), upper=(2.0, 2.0), n_bins=(2, 2))
    assert integrate_gradient(np.zeros((4, 2)), [3, 0, 0, 4], grid).n_islands == 2


def test_min_count_and_nothing_visited():
    grid = square_grid(1)
    counts = np.full(grid.size, 3)
    counts[:5] = 20
    assert np.isfinite(integrate_gradient(np.zeros((20, 1)), counts, grid, min_count=10).values).sum() == 5
    empty = integrate_gradient(np.full((20, 1), np.nan), np.zeros(20), grid)
    assert empty.n_islands == 0
    assert np.isnan(empty.values).all()


def test_interpolation_is_exact_for_linear_functions_and_never_leaves_the_main_island():
    grid = Grid(lower=(0.0, 0.0), upper=(4.0, 4.0), n_bins=(4, 4))
    counts = np.ones((4, 4))
    counts[2, :] = 0
    counts[3, 0] = 0.0
    gradient = np.tile([3.0, -1.0], (16, 1))
    free_energy = integrate_gradient(gradient, counts.ravel(), grid)
    points = np.array([[0.7, 1.3], [1.4, 2.9], [1.9, 1.0], [2.5, 1.0], [3.5, 2.0], [-0.1, 1.0], [4.0, 1.0]])
    values = free_energy.interpolate(points)
    shift = -3 * 0.5 + 3.5
    np.testing.assert_allclose(values[:2], 3 * points[:2, 0] - points[:2, 1] + shift, atol=1e-10)
    assert values[2] == pytest.approx(3 * 1.5 - 1.0 + shift)
    assert np.isnan(values[3:]).all()


def test_bias_potential_equals_the_potential_where_sampled_and_is_flat_outside():
    grid = Grid(lower=(-2.0,), upper=(2.0,), n_bins=(40,))
    x = grid.centers(0)
    inside = np.abs(x) < 1.0
    counts = np.where(inside, 1000, 0)
    force = np.where(inside, 6 * x, np.nan)[:, None]
    b = bias_potential(force, counts, grid)
    assert np.isfinite(b).all()
    assert b.min() == 0.0
    np.testing.assert_allclose(b[inside], (3 * x**2)[inside] - (3 * x**2)[inside].min(), atol=1e-9)
    right = b[x > 1.0]
    np.testing.assert_allclose(right, right[0], atol=1e-9)
    edge = 0.5 * grid.widths[0] * (6 * x[inside][-1])
    assert right[0] - b[inside][-1] == pytest.approx(edge)


def test_czar_recovers_the_mean_force_of_a_gaussian_well():
    """V = k xi^2/2 with a spring and no bias: rho of xi is exactly exp(-A/kT), <lam - xi>_xi = 0."""
    grid = Grid(lower=(-1.0, -1.0), upper=(1.0, 1.0), n_bins=(40, 40))
    z = grid.center_points()
    stiffness, kappa = np.array([9.0, 4.0]), np.array([50.0, 80.0])
    # A bias of force f on lambda shifts <lam - xi>_xi by f / kappa and rho by the factor exp(f xi / kT).
    f = np.array([3.0, -2.0])
    density = np.exp(-(z**2 @ stiffness / 2 - z @ f) / KT)
    n_xi = 1e6 * density
    sum_xi = n_xi[:, None] * (kappa * (f / kappa))
    gradient = czar_gradient(n_xi, sum_xi, grid, kt=KT)
    expected = z * stiffness
    interior = np.all(np.abs(z) < 0.94, axis=1)
    np.testing.assert_allclose(gradient[interior], expected[interior], atol=1e-9)
    one_sided = np.abs(gradient - expected)[~interior].max()
    assert one_sided == pytest.approx(0.5 * grid.widths[0] * 9.0, rel=1e-6)


def test_czar_is_nan_where_no_slope_is_known():
    grid = Grid(lower=(0.0, 0.0), upper=(3.0, 2.0), n_bins=(3, 2))
    counts = np.array([4, 0, 4, 0, 0, 4])
    gradient = czar_gradient(counts, np.zeros((6, 2)), grid, kt=KT)
    np.testing.assert_array_equal(np.isnan(gradient[:, 0]), [False, True, False, True, True, True])
    assert np.isnan(gradient[:, 1]).all()
    assert integrate_gradient(gradient, counts, grid).n_islands == 2


def test_delta_f_signs_and_limits():
    inside = np.array([True, False, False])
    assert delta_f(inside, [1.0, 1.0, 1.0], kt=KT) == pytest.approx(KT * np.log(2.0))
    assert delta_f(inside, [0.0, 1.0, 1.0], kt=KT) == np.inf
    assert delta_f(inside, [1.0, 0.0, 0.0], kt=KT) == -np.inf
    with pytest.raises(SamplingError, match="positive weight"):
        delta_f(inside, [0.0, 0.0, 0.0], kt=KT)


def test_errors_name_what_is_wrong():
    grid = square_grid(1)
    with pytest.raises(GridError, match="shape"):
        integrate_gradient(np.zeros((20, 2)), np.ones(20), grid)
    with pytest.raises(GridError, match="counts"):
        integrate_gradient(np.zeros((20, 1)), -np.ones(20), grid)
    with pytest.raises(GridError, match="infinite"):
        integrate_gradient(np.full((20, 1), np.inf), np.ones(20), grid)
    with pytest.raises(GridError, match="finite"):
        bias_potential(np.full((20, 1), np.nan), np.ones(20), grid)
