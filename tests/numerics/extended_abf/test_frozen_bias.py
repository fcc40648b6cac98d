"""A frozen bias: the kernel applies the slope of the potential that the reweighting takes it for."""

import numpy as np
import pytest

from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import couple
from aecv.numerics.extended_abf.marginal import MarginalBias
from aecv.numerics.free_energy.integration import multilinear
from aecv.numerics.kernels import encoder_kernels as kernels
from tests.numerics import toys
from tests.numerics.toys import KT

N_RUNS = 12


@pytest.mark.parametrize("n_bins", [(7,), (6, 9), (5, 4, 6)])
def test_slope_is_that_of_the_interpolated_potential(n_bins: tuple[int, ...]) -> None:
    """Finite differences of the interpolation between bin centres; zero in the outer half bins."""
    d = len(n_bins)
    grid = Grid(lower=(-1.0,) * d, upper=(1.0, 2.0, 0.5)[:d], n_bins=n_bins)
    rng = np.random.default_rng(0)
    potential = rng.normal(size=grid.size)
    constants = couple(
        grid, kt=KT, sigma=grid.widths, tau_ps=1.0, friction_per_ps=1.0, timestep_ps=0.01, full_samples=1
    ).constants
    points = np.array(grid.lower) + rng.random((200, d)) * (np.array(grid.upper) - np.array(grid.lower))
    low = np.array([grid.centers(c)[0] for c in range(d)])
    high = np.array([grid.centers(c)[-1] for c in range(d)])
    for c in range(d):
        step = np.zeros(d)
        step[c] = 1e-7
        slopes = np.array([kernels.slope(potential, p, constants, np.array(n_bins), c) for p in points])
        # clipped: flat beyond the outer centres
        ahead, behind = (multilinear(potential, grid, np.clip(points + s, low, high)) for s in (step, -step))
        np.testing.assert_allclose(slopes, (ahead - behind) / 2e-7, atol=1e-5)
    outer = np.any((points < low) | (points > high), axis=1)
    assert 0 < outer.sum() < 200


def wrong_on_purpose(grid: Grid, free_energy: np.ndarray, seed: int) -> np.ndarray:
    """A bias that misses the free energy by smooth waves, noise per bin and a tilt up to the walls."""
    rng = np.random.default_rng(seed)
    points = grid.center_points()
    span = np.array(grid.upper) - np.array(grid.lower)
    waves = np.sin(4 * np.pi * points / span).sum(axis=1)
    tilt = (points / span).sum(axis=1)
    bias: np.ndarray = free_energy + KT * (waves + 2.0 * tilt + rng.normal(size=grid.size))
    return bias


def reweighted(grid: Grid, force, potential: np.ndarray, seed: int, n_steps: int):  # type: ignore[no-untyped-def]
    """Points of a run with a frozen bias, and their weights exp(+U/kT)."""
    # a time step of 0.02, good enough for mean forces, leaves 7 % at the barrier; 0.005 less than 2 %
    run = toys.run(force, grid, n_steps=n_steps, seed=seed, potential=potential, timestep=0.006)
    marginal = MarginalBias(grid, potential, np.array(run.extended.kappa), KT)
    x = run.x[len(run.x) // 20 :]
    energy = marginal(x)
    return x, np.exp((energy - energy.max()) / KT)


def test_frames_under_a_wrong_frozen_bias_give_the_right_populations() -> None:
    """Walls in reach of the particle: what the reweighting says of the outer half bins counts here."""
    grid = Grid(lower=(-1.35,), upper=(1.35,), n_bins=(27,))
    x = np.linspace(-3, 3, 6001)
    boltzmann = np.exp(-toys.potential_1d(x) / KT)
    averages = []
    functions = (
        lambda z: z > 0,
        lambda z: np.abs(z) < 0.3,
        lambda z: z < -1.2,
        lambda z: z > 1.2,
        lambda z: z**2,
    )
    truth = np.array([(boltzmann * f(x)).sum() / boltzmann.sum() for f in functions])
    free_energy = np.interp(grid.centers(0), x, toys.potential_1d(x))
    for seed in range(N_RUNS):
        bias = wrong_on_purpose(grid, free_energy, seed)
        z, w = reweighted(grid, toys.force_1d, bias, seed, 1_000_000)
        averages.append([w @ f(z[:, 0]) / w.sum() for f in functions])
    mean, error = np.mean(averages, axis=0), np.std(averages, axis=0, ddof=1) / np.sqrt(N_RUNS)
    # measured: errors of 0.6 to 5.6 %, deviations of at most 0.8 errors
    assert np.all(error < 0.07 * truth)
    assert np.all(np.abs(mean - truth) < 3.5 * error)


def test_the_same_in_two_dimensions() -> None:
    grid = Grid(lower=(-1.8, -2.2), upper=(1.8, 2.2), n_bins=(24, 26))
    fine_x, fine_y = np.linspace(-2.6, 2.6, 1201), np.linspace(-3.2, 3.2, 641)
    boltzmann = np.exp(-toys.potential_2d(fine_x[:, None], fine_y[None, :]) / KT)
    truth = np.array(
        [
            boltzmann[fine_x > 0].sum() / boltzmann.sum(),
            boltzmann[np.abs(fine_x) < 0.25].sum() / boltzmann.sum(),
            boltzmann[:, fine_y > 1.0].sum() / boltzmann.sum(),
        ]
    )
    points = grid.center_points()
    free_energy = np.minimum(toys.potential_2d(points[:, 0], points[:, 1]), 8 * KT)
    averages = []
    for seed in range(N_RUNS):
        bias = wrong_on_purpose(grid, free_energy, seed)
        z, w = reweighted(grid, toys.force_2d, bias, seed, 1_000_000)
        inside = (z[:, 0] > 0, np.abs(z[:, 0]) < 0.25, z[:, 1] > 1.0)
        averages.append([w @ f / w.sum() for f in inside])
    mean, error = np.mean(averages, axis=0), np.std(averages, axis=0, ddof=1) / np.sqrt(N_RUNS)
    # measured: errors of 4 to 5 %, deviations of at most 1.9 errors
    assert np.all(error < 0.07 * truth)
    assert np.all(np.abs(mean - truth) < 3.5 * error)


def test_a_frozen_bias_does_not_follow_the_samples() -> None:
    """Samples of a strong mean force in the bin: an adaptive bias pushes, a flat frozen one does not."""
    grid = Grid(lower=(0.0,), upper=(1.0,), n_bins=(10,))
    constants = couple(
        grid, kt=KT, sigma=grid.widths, tau_ps=0.2, friction_per_ps=8.0, timestep_ps=0.001, full_samples=10
    ).constants
    velocities = []
    for frozen in (0, 1):
        samples = np.zeros((10, 4))
        samples[5, 0], samples[5, 1] = 1000.0, 1000.0 * 50.0
        lam = np.array([[0.55], [0.55], [0.0]])
        counters = np.array([-1, 0, 0, frozen])
        kernels.extended_step(
            np.array([0.55]), 0, constants, np.array([10]), samples, np.zeros(10, dtype=bool), np.zeros(10),
            lam, counters, np.zeros((1, 1)),
        )  # fmt: skip
        velocities.append(lam[kernels.VELOCITY, 0])
        assert samples[5, 0] == 1001.0  # the sample is taken all the same
    push = constants[kernels.DAMPING, 0] * constants[kernels.KICK, 0] * 50.0 * 1000 / 1001
    np.testing.assert_allclose(velocities, [push, 0.0], rtol=1e-9, atol=1e-12)
