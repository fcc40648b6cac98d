"""Extended ABF on a circle against quadrature: kernel, both free energies, and frames under a frozen bias."""

import numpy as np
import pytest

from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import couple
from aecv.numerics.extended_abf.marginal import MarginalBias
from aecv.numerics.free_energy.integration import czar_gradient, integrate_gradient, multilinear
from aecv.numerics.kernels import encoder_kernels as kernels
from tests.numerics import circle
from tests.numerics.circle import GRID, KT, TURN

N_RUNS = 8


@pytest.fixture(scope="module")
def runs() -> list[circle.Run]:
    return [circle.run(n_steps=1_000_000, seed=seed) for seed in range(N_RUNS)]


def deviations(estimates: list[np.ndarray], truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean error and its standard error over runs, after removing the free constant of each."""
    errors = np.array([(e - truth) - (e - truth).mean() for e in estimates])
    return errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))


def test_lambda_goes_round_in_both_directions(runs: list[circle.Run]) -> None:
    for run in runs:
        assert np.all((run.lam >= -np.pi) & (run.lam <= np.pi))
        jumps = np.diff(run.lam)
        # 20 000 ps; a tenth of these passages would do for what follows
        assert np.sum(jumps > np.pi) > 100
        assert np.sum(jumps < -np.pi) > 100
        # the particle is where lambda is, whatever turn it is in: the spring is 8 times narrower than a bin
        assert np.abs(circle.shortest(run.x - run.lam)).max() < 8 * 1.5 * GRID.widths[0]


def test_f_kappa_has_no_step_at_the_seam(runs: list[circle.Run]) -> None:
    truth = circle.f_kappa(GRID.centers(0), runs[0].extended.kappa[0])
    estimates = [
        integrate_gradient(r.accumulators.mean_force, r.accumulators.n_lam, GRID).values for r in runs
    ]
    mean, error = deviations(estimates, truth)
    assert np.ptp(truth) > 5 * KT  # there is something to get right
    assert error.max() < 0.1 * KT  # the test can tell a wrong formula from noise
    assert np.all(np.abs(mean) < 5 * error + 0.02 * KT)  # 5 sigma, and the grid's own error


def test_czar_across_the_seam(runs: list[circle.Run]) -> None:
    truth = circle.potential(GRID.centers(0))
    estimates = []
    for r in runs:
        a = r.accumulators
        estimates.append(
            integrate_gradient(czar_gradient(a.n_xi, a.sum_xi, GRID, kt=KT), a.n_xi, GRID).values
        )
    mean, error = deviations(estimates, truth)
    assert error.max() < 0.1 * KT
    # bins of 0.105 smooth V by V'' h^2/24 < 0.01 kT
    assert np.all(np.abs(mean) < 5 * error + 0.03 * KT)


def test_frames_under_a_wrong_frozen_bias_give_the_right_populations() -> None:
    """A bias with noise per bin and a jump of 1.5 kT between the last bin and the first."""
    boltzmann = np.exp(-circle.potential(circle.FINE) / KT)
    functions = (
        lambda x: np.abs(x) > 2.8,
        lambda x: (x > 0) & (x < 1.5),
        lambda x: np.abs(circle.shortest(x - np.pi)) < 0.15,
        lambda x: 1.0 + np.cos(x),
        lambda x: 1.0 + np.sin(x),
    )
    truth = np.array([(boltzmann * f(circle.FINE)).sum() / boltzmann.sum() for f in functions])
    averages = []
    for seed in range(N_RUNS):
        rng = np.random.default_rng(seed)
        tilt = 1.5 * KT * (GRID.centers(0) + np.pi) / TURN
        bias = circle.potential(GRID.centers(0)) + tilt + 0.7 * KT * rng.normal(size=GRID.size)
        # a time step of 0.02, good enough for mean forces, is not for populations at a barrier
        run = circle.run(n_steps=1_500_000, seed=seed, bias=bias, timestep=0.006)
        energy = MarginalBias(GRID, bias, np.array(run.extended.kappa), KT)(run.x[:, None])
        w, x = np.exp((energy - energy.max()) / KT), circle.shortest(run.x)
        averages.append([w @ f(x) / w.sum() for f in functions])
    mean, error = np.mean(averages, axis=0), np.std(averages, axis=0, ddof=1) / np.sqrt(N_RUNS)
    assert np.all(error < 0.08 * truth)
    assert np.all(np.abs(mean - truth) < 4 * error + 0.015 * truth)


def start(**other: float) -> tuple[np.ndarray, ...]:
    """Arguments of `extended_step` after xi and step; lambda at rest at other["lam"]."""
    constants = circle.extended_variable(0.001 * 20).constants
    return (
        constants,
        np.array(GRID.n_bins),
        np.zeros((GRID.size, 4)),
        np.zeros(GRID.size, dtype=bool),
        np.zeros(GRID.size),
        np.array([[other["lam"]], [other["lam"]], [0.0]]),
        np.array([-1, 0, 0, 0]),
        np.zeros((5, 1)),
    )


def test_the_spring_pulls_the_short_way() -> None:
    """xi 0.2 beyond lambda through the seam: the same step as at xi = lambda + 0.2 elsewhere."""
    kicks = []
    for lam, xi in ((3.1, 3.1 + 0.2 - TURN), (3.1, 3.1 + 0.2 + 3 * TURN), (0.5, 0.7)):
        arrays = start(lam=lam)
        kernels.extended_step(np.array([xi]), 0, *arrays)
        kicks.append(arrays[5][kernels.VELOCITY, 0])
        at_lam, at_xi = GRID.index([[lam]])[0], GRID.index([[xi]])[0]
        pull = -0.2 * arrays[0][kernels.KAPPA, 0]
        np.testing.assert_allclose(arrays[2][at_lam, :2], [1.0, pull])
        np.testing.assert_allclose(arrays[2][at_xi, 2:], [1.0, pull])
    assert kicks[2] > 0.01
    np.testing.assert_allclose(kicks, kicks[2], rtol=1e-10)


def test_lambda_keeps_its_velocity_at_the_seam() -> None:
    arrays = start(lam=3.14)
    arrays[5][kernels.VELOCITY] = 2.0
    kernels.extended_step(np.array([3.14]), 0, *arrays)
    damping = arrays[0][kernels.DAMPING, 0]
    half = arrays[0][kernels.HALF_DRIFT, 0]
    assert arrays[5][kernels.VELOCITY, 0] == pytest.approx(2.0 * damping, rel=1e-12)
    expected = 3.14 + half * 2.0 * (1 + damping) - TURN
    assert expected < -3.0
    assert arrays[5][kernels.NEXT_LAM, 0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_bins", [(7,), (6, 9), (5, 4, 6)])
def test_slope_is_that_of_the_potential_interpolated_across_the_seam(n_bins: tuple[int, ...]) -> None:
    d = len(n_bins)
    grid = Grid(lower=(-1.0,) * d, upper=(1.0, 2.0, 0.5)[:d], n_bins=n_bins, periodic=(True, False, True)[:d])
    rng = np.random.default_rng(0)
    values = rng.normal(size=grid.size)
    constants = couple(
        grid, kt=KT, sigma=grid.widths, tau_ps=1.0, friction_per_ps=1.0, timestep_ps=0.01, full_samples=1
    ).constants
    points = np.array(grid.lower) + rng.random((200, d)) * (np.array(grid.upper) - np.array(grid.lower))
    low = np.array([-np.inf if p else grid.centers(c)[0] for c, p in enumerate(grid.periodic)])
    high = np.array([np.inf if p else grid.centers(c)[-1] for c, p in enumerate(grid.periodic)])
    for c in range(d):
        step = np.zeros(d)
        step[c] = 1e-7
        slopes = np.array([kernels.slope(values, p, constants, np.array(n_bins), c) for p in points])
        ahead, behind = (multilinear(values, grid, np.clip(points + s, low, high)) for s in (step, -step))
        np.testing.assert_allclose(slopes, (ahead - behind) / 2e-7, atol=1e-5)
