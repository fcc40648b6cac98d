"""Mean force of weighted frames against quadrature."""

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.mean_force import mean_force_of_frames

KT = 2.5


def test_mean_force_of_gaussian_frames_is_exact() -> None:
    """xi ~ N(m, s^2): F_kappa is harmonic around m with k = kT / (s^2 + sigma^2)."""
    rng = np.random.default_rng(0)
    mean, spread = np.array([0.3, -0.2]), np.array([0.5, 0.8])
    xi = mean + spread * rng.standard_normal((400_000, 2))
    grid = Grid(lower=(-1.0, -1.5), upper=(1.5, 1.5), n_bins=(25, 30))
    sigma = 1.2 * grid.widths
    force, effective = mean_force_of_frames(xi, np.ones(len(xi)), grid, kappa=KT / sigma**2, kt=KT)
    stiffness = KT / (spread**2 + sigma**2)
    error = force - stiffness * (grid.center_points() - mean)
    noise = np.sqrt(KT * KT / sigma**2 / effective[:, None])  # spread of one sample over effective frames
    assert effective.min() > 50
    assert np.abs(error / noise).max() < 5.0
    assert np.abs((error / noise).mean(axis=0)).max() < 0.15  # bins overlap: some 100 independent ones


def test_a_wide_spring_sees_frames_far_beyond_the_grid() -> None:
    """As above with sigma of four bins: frames up to 4 sigma, 16 bins, beyond the last one count in it."""
    rng = np.random.default_rng(5)
    xi = 0.8 * rng.standard_normal((400_000, 1))
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
    sigma = 4.0 * grid.widths
    force, _ = mean_force_of_frames(xi, np.ones(len(xi)), grid, kappa=KT / sigma**2, kt=KT)
    expected = KT / (0.64 + sigma**2) * grid.centers(0)
    np.testing.assert_allclose(force[:, 0], expected, atol=0.05)


def test_weights_count() -> None:
    """Frames drawn flat and weighted by a Gaussian give the Gaussian's mean force."""
    rng = np.random.default_rng(1)
    xi = rng.uniform(-3, 3, (400_000, 1))
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
    weights = np.exp(-0.5 * (xi[:, 0] / 0.7) ** 2)
    kappa = KT / grid.widths**2
    force, effective = mean_force_of_frames(xi, weights, grid, kappa=kappa, kt=KT)
    expected = KT / (0.49 + grid.widths**2) * grid.centers(0)
    noise = np.sqrt(KT * kappa / effective)
    assert np.abs((force[:, 0] - expected) / noise).max() < 5.0
    again, _ = mean_force_of_frames(xi, 7.0 * weights, grid, kappa=kappa, kt=KT)
    np.testing.assert_allclose(again, force, atol=1e-9)


def test_effective_frames_of_equal_weights_are_their_number_under_the_kernel() -> None:
    """n frames on one spot count n; far from them nothing is known."""
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
    kappa = KT / grid.widths**2
    force, effective = mean_force_of_frames(np.full((30, 1), 0.01), np.ones(30), grid, kappa=kappa, kt=KT)
    assert effective[10] == pytest.approx(30)
    assert force[10, 0] == pytest.approx(
        kappa[0] * (0.05 - 0.01), abs=kappa[0] * 0.0126
    )  # an eighth of a bin
    assert force[-1, 0] == pytest.approx(kappa[0] * (0.95 - 0.01), rel=0.02)  # the spring to where they are


def test_effective_frames_of_unequal_weights_follow_kish() -> None:
    """One frame of weight 9 and nine of weight 1 on one spot: (18)^2 / (81 + 9) = 3.6."""
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
    weights = np.array([9.0, *np.ones(9)])
    _, effective = mean_force_of_frames(
        np.full((10, 1), 0.01), weights, grid, kappa=KT / grid.widths**2, kt=KT
    )
    assert effective[10] == pytest.approx(3.6)


def test_shapes_are_checked() -> None:
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
    with pytest.raises(GridError, match=r"needs xi \(n, 1\)"):
        mean_force_of_frames(np.zeros((5, 2)), np.ones(5), grid, kappa=[1.0], kt=KT)
