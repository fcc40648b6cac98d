"""Estimators on periodic grids against exact answers."""

import numpy as np
import pytest

from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.marginal import MarginalBias
from aecv.numerics.extended_abf.mean_force import mean_force_of_frames
from aecv.numerics.free_energy.integration import FreeEnergy, czar_gradient, integrate_gradient
from aecv.numerics.free_energy.quadrature import smeared_density
from tests.numerics import circle
from tests.numerics.circle import GRID, KT, TURN

OPEN = Grid(lower=GRID.lower, upper=GRID.upper, n_bins=GRID.n_bins)


def test_islands_meet_at_the_seam() -> None:
    """Only the outer bins are visited: one island on the circle, two on the line."""
    x = GRID.centers(0)
    counts = np.where(np.abs(x) > 2.0, 10.0, 0.0)
    gradient = np.cos(x)[:, None]
    on_circle, on_line = (integrate_gradient(gradient, counts, grid) for grid in (GRID, OPEN))
    assert (on_circle.n_islands, on_line.n_islands) == (1, 2)
    truth = np.sin(x)[counts > 0]
    found = on_circle.values[counts > 0]
    # the midpoint rule is off by h^2/12 of the difference
    np.testing.assert_allclose(found - found.min(), truth - truth.min(), atol=2e-3)


def test_a_gradient_that_does_not_close_is_spread_evenly() -> None:
    """G = cos x + 0.3: the 0.3 belongs to no potential on a circle, and least squares leaves it out."""
    x = GRID.centers(0)
    found = integrate_gradient((np.cos(x) + 0.3)[:, None], np.ones(GRID.size), GRID).values
    np.testing.assert_allclose(found, np.sin(x) - np.sin(x).min(), atol=2e-3)


def test_a_torus_is_integrated_across_both_seams() -> None:
    grid = Grid(lower=(-np.pi, 0.0), upper=(np.pi, TURN), n_bins=(48, 52), periodic=(True, True))
    x, y = grid.center_points().T
    truth = np.cos(x - y) + np.sin(2 * y)
    gradient = np.stack([-np.sin(x - y), np.sin(x - y) + 2 * np.cos(2 * y)], axis=1)
    counts = 1.0 + np.random.default_rng(0).integers(1, 50, grid.size)
    found = integrate_gradient(gradient, counts, grid).values
    np.testing.assert_allclose(found, truth - truth.min(), atol=0.02)


def test_czar_uses_both_neighbours_at_the_seam() -> None:
    """Without a spring force dA/dz = -kT d ln rho/dz; rho = exp(cos z), whose slope at the ends is not 0."""
    shifted = Grid(lower=(1.0,), upper=(1.0 + TURN,), n_bins=(200,), periodic=(True,))
    x = shifted.centers(0)
    counts = 1e4 * np.exp(np.cos(x))
    gradient = czar_gradient(counts, np.zeros((200, 1)), shifted, kt=KT)[:, 0]
    # central differences of cos: sin(h)/h, relative h^2/6
    np.testing.assert_allclose(gradient, KT * np.sin(x), atol=KT * shifted.widths[0] ** 2 / 6)


def test_interpolation_across_the_seam() -> None:
    x = GRID.centers(0)
    energy = FreeEnergy(grid=GRID, values=x.copy(), islands=np.zeros(GRID.size, dtype=np.int64))
    h = GRID.widths[0]
    points = np.array([[np.pi], [np.pi - 0.25 * h], [-np.pi + 0.25 * h], [-np.pi + 0.25 * h + 4 * TURN]])
    last, first = x[-1], x[0]
    expected = [0.5 * (last + first), 0.75 * last + 0.25 * first, 0.25 * last + 0.75 * first]
    np.testing.assert_allclose(energy.interpolate(points), [*expected, expected[2]], atol=1e-9)


@pytest.mark.parametrize("sigma_bins", [0.7, 1.5, 4.0])
def test_marginal_bias_is_the_integral_over_the_circle(sigma_bins: float) -> None:
    """Against a sum over 60 000 points of lambda; B falls by 1.5 kT from the last bin to the first."""
    rng = np.random.default_rng(1)
    bias = KT * (2.0 * np.sin(GRID.centers(0) + 1.0) + 1.5 * GRID.centers(0) / TURN)
    kappa = KT / (sigma_bins * GRID.widths[0]) ** 2
    marginal = MarginalBias(GRID, bias, [kappa], KT)
    lam = -np.pi + TURN * (np.arange(60_000) + 0.5) / 60_000
    centers = GRID.centers(0)
    wrapped = np.interp(lam, [centers[-1] - TURN, *centers, centers[0] + TURN], [bias[-1], *bias, bias[0]])
    x = np.concatenate([rng.uniform(-np.pi, np.pi, 150), np.pi - np.geomspace(1e-6, 0.3, 50)])
    spring = 0.5 * kappa * circle.shortest(np.subtract.outer(x, lam)) ** 2
    truth = -KT * np.log(np.exp(-(spring - wrapped) / KT).mean(axis=1) * TURN)
    # the sum over bins refined to sigma/2 is off by up to 0.013 kT where B bends; splines by 1e-5
    np.testing.assert_allclose(marginal.direct(x[:, None]), truth, atol=0.02 * KT)
    np.testing.assert_allclose(marginal(x[:, None]), marginal.direct(x[:, None]), atol=1e-4 * KT)
    np.testing.assert_allclose(marginal(x[:, None] + 3 * TURN), marginal(x[:, None]), atol=1e-6 * KT)
    assert abs(np.diff(marginal([[np.pi - 1e-9], [np.pi + 1e-9]]))[0]) < 1e-6 * KT


def test_marginal_bias_of_a_torus_with_one_open_side() -> None:
    grid = Grid(lower=(-np.pi, 0.0), upper=(np.pi, 2.0), n_bins=(30, 20), periodic=(True, False))
    rng = np.random.default_rng(2)
    bias, kappa = KT * rng.normal(size=grid.size), KT / (1.2 * grid.widths) ** 2
    marginal = MarginalBias(grid, bias, kappa, KT)
    x = np.stack([rng.uniform(-3 * np.pi, 3 * np.pi, 300), rng.uniform(-0.3, 2.3, 300)], axis=1)
    np.testing.assert_allclose(marginal(x), marginal.direct(x), atol=0.02 * KT)
    turned = x + np.array([TURN, 0.0])
    np.testing.assert_allclose(marginal(turned), marginal(x), atol=1e-6 * KT)


def test_mean_force_of_boltzmann_frames_across_the_seam() -> None:
    """Frames of exp(-V/kT): G is the slope of F_kappa, which quadrature gives, beside the seam as well."""
    rng = np.random.default_rng(3)
    law = np.exp(-circle.potential(circle.FINE) / KT)
    frames = rng.choice(circle.FINE, 400_000, p=law / law.sum()) + TURN * rng.integers(-2, 3, 400_000)
    kappa = KT / (2.0 * GRID.widths[0]) ** 2
    found, effective = mean_force_of_frames(frames[:, None], np.ones(len(frames)), GRID, kappa=[kappa], kt=KT)
    x, h = GRID.centers(0), 1e-4
    truth = (circle.f_kappa_at(x + h, kappa) - circle.f_kappa_at(x - h, kappa)) / (2 * h)
    assert effective.min() > 200
    # each of n frames is a sample of kappa (lam - xi), of variance kT kappa; cells of a quarter bin add 1 %
    error = np.sqrt(KT * kappa / effective)
    assert np.all(np.abs(found[:, 0] - truth) < 4.5 * error + 0.02 * np.abs(truth).max())


def test_smeared_density_goes_round() -> None:
    """A point mass beside the seam: half of the smeared density lies on the other side."""
    fine = Grid(lower=(-np.pi,), upper=(np.pi,), n_bins=(3600,), periodic=(True,))
    mass = np.zeros(3600)
    mass[0] = 1.0
    density = smeared_density(
        mass, [fine.centers(0)], [GRID.centers(0)], [0.2], periods=GRID.periods.tolist()
    )
    assert density.sum() * GRID.widths[0] == pytest.approx(1.0, abs=1e-6)
    assert density[GRID.n_bins[0] // 2 :].sum() / density.sum() == pytest.approx(0.5, abs=0.01)
