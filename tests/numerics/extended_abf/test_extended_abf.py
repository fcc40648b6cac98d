"""Extended ABF against quadrature: the kernel, its accumulators, both free energies and the weights."""

import numpy as np
import pytest

from aecv.ground.errors import GridError, SamplingError
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import Accumulators, couple, data_range, fastest_frequency
from aecv.numerics.free_energy.integration import czar_gradient, integrate_gradient
from aecv.numerics.free_energy.weights import eabf_weights
from aecv.numerics.kernels import encoder_kernels as kernels
from tests.numerics import toys
from tests.numerics.toys import KT

GRID_1D = Grid(lower=(-1.8,), upper=(1.8,), n_bins=(60,))
GRID_2D = Grid(lower=(-1.8, -2.2), upper=(1.8, 2.2), n_bins=(36, 40))
N_RUNS = 8


def convolved(potential: np.ndarray, points: np.ndarray, lam: np.ndarray, kappa: float) -> np.ndarray:
    """exp(-beta F_kappa(lam)) = int dx exp(-beta [V(x) + kappa/2 (x - lam)^2]), as F_kappa, minimum 0."""
    boltzmann = np.exp(-(potential[None, :] + 0.5 * kappa * (points - lam[:, None]) ** 2) / KT)
    free_energy = -KT * np.log(boltzmann.sum(axis=1))
    return free_energy - free_energy.min()


def deviations(
    estimates: list[np.ndarray], truth: np.ndarray, low: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean error and its standard error over runs, after removing the free constant of each on bins `low`."""
    errors = np.array([(e - truth)[low] - (e - truth)[low].mean() for e in estimates])
    return errors.mean(axis=0), errors.std(axis=0, ddof=1) / np.sqrt(len(errors))


@pytest.fixture(scope="module")
def runs_1d() -> list[toys.ToyRun]:
    return [toys.run(toys.force_1d, GRID_1D, n_steps=1_000_000, seed=seed) for seed in range(N_RUNS)]


@pytest.fixture(scope="module")
def runs_2d() -> list[toys.ToyRun]:
    return [toys.run(toys.force_2d, GRID_2D, n_steps=1_500_000, seed=seed) for seed in range(N_RUNS)]


def test_f_kappa_of_a_double_well(runs_1d: list[toys.ToyRun]) -> None:
    lam, x = GRID_1D.centers(0), np.linspace(-3, 3, 4001)
    truth = convolved(toys.potential_1d(x), x, lam, runs_1d[0].extended.kappa[0])
    estimates = [
        integrate_gradient(np.nan_to_num(r.accumulators.mean_force), r.accumulators.n_lam, GRID_1D).values
        for r in runs_1d
    ]
    mean, error = deviations(estimates, truth, truth < 8 * KT)
    assert error.max() < 0.15 * KT  # the test can tell a wrong formula from noise
    assert np.all(np.abs(mean) < 5 * error + 0.02 * KT)  # 5 sigma, and the grid's own error


def test_czar_of_a_double_well(runs_1d: list[toys.ToyRun]) -> None:
    truth = toys.potential_1d(GRID_1D.centers(0))
    truth -= truth.min()
    estimates = []
    for r in runs_1d:
        gradient = czar_gradient(r.accumulators.n_xi, r.accumulators.sum_xi, GRID_1D, kt=KT)
        estimates.append(integrate_gradient(gradient, r.accumulators.n_xi, GRID_1D).values)
    mean, error = deviations(estimates, truth, truth < 6 * KT)
    assert error.max() < 0.15 * KT
    # bins of 0.06 smooth V by V'' h^2/24 < 0.05 kT where V'' is largest
    assert np.all(np.abs(mean) < 5 * error + 0.05 * KT)


def test_f_kappa_and_czar_of_a_coupled_potential(runs_2d: list[toys.ToyRun]) -> None:
    points = GRID_2D.center_points()
    fine_x, fine_y = np.linspace(-2.6, 2.6, 261), np.linspace(-3.2, 3.2, 321)
    boltzmann = np.exp(-toys.potential_2d(fine_x[:, None], fine_y[None, :]) / KT)
    kappa = np.array(runs_2d[0].extended.kappa)
    kx = np.exp(-0.5 * kappa[0] * (GRID_2D.centers(0)[:, None] - fine_x) ** 2 / KT)
    ky = np.exp(-0.5 * kappa[1] * (GRID_2D.centers(1)[:, None] - fine_y) ** 2 / KT)
    truth_kappa = -KT * np.log((kx @ boltzmann @ ky.T).ravel())
    truth_kappa -= truth_kappa.min()
    truth = toys.potential_2d(points[:, 0], points[:, 1])
    truth -= truth.min()
    extended, czar = [], []
    for r in runs_2d:
        a = r.accumulators
        extended.append(integrate_gradient(np.nan_to_num(a.mean_force), a.n_lam, GRID_2D).values)
        gradient = czar_gradient(a.n_xi, a.sum_xi, GRID_2D, kt=KT)
        czar.append(integrate_gradient(gradient, a.n_xi, GRID_2D).values)
    for estimates, reference, grid_error in ((extended, truth_kappa, 0.03), (czar, truth, 0.1)):
        mean, error = deviations(estimates, reference, reference < 5 * KT)
        assert error.max() < 0.4 * KT
        assert np.sqrt((mean**2).mean()) < 3 * np.sqrt((error**2).mean()) + grid_error * KT
        assert np.all(np.abs(mean) < 6 * error + 2 * grid_error * KT)


def test_weights_of_extended_samples_give_boltzmann_averages(runs_1d: list[toys.ToyRun]) -> None:
    x = np.linspace(-3, 3, 4001)
    boltzmann = np.exp(-toys.potential_1d(x) / KT)
    truth = np.array([(boltzmann * f).sum() / boltzmann.sum() for f in (x > 0, x, x**2)])
    averages = []
    for r in runs_1d:
        free_energy = integrate_gradient(
            np.nan_to_num(r.accumulators.mean_force), r.accumulators.n_lam, GRID_1D
        )
        late = slice(len(r.lam) // 5, None)
        w = eabf_weights(r.lam[late], free_energy, kt=KT)
        z = r.x[late, 0]
        averages.append([w @ (z > 0), w @ z, w @ z**2])
    mean, error = np.mean(averages, axis=0), np.std(averages, axis=0, ddof=1) / np.sqrt(N_RUNS)
    assert truth[0] == pytest.approx(0.17, abs=0.02)  # the rare well
    assert np.all(error < [0.02, 0.04, 0.01])
    assert np.all(np.abs(mean - truth) < 5 * error)


def test_without_the_bias_the_barrier_is_not_flattened(runs_1d: list[toys.ToyRun]) -> None:
    """The runs above would pass with no bias at all if they were long enough; this one says it is there."""
    lam = np.concatenate([r.lam[len(r.lam) // 5 :, 0] for r in runs_1d])
    barrier = np.mean(np.abs(lam) < 0.3)
    x = np.linspace(-1.8, 1.8, 4001)
    boltzmann = np.exp(-toys.potential_1d(x) / KT)
    unbiased = boltzmann[np.abs(x) < 0.3].sum() / boltzmann.sum()
    assert barrier > 3 * unbiased  # flat would be 0.6/3.6 = 0.17


def start(d: int = 1) -> tuple[np.ndarray, ...]:
    grid = Grid(lower=(0.0,) * d, upper=(1.0,) * d, n_bins=(10,) * d)
    extended = couple(
        grid, kt=KT, sigma=grid.widths, tau_ps=0.2, friction_per_ps=8.0, timestep_ps=0.001, full_samples=10
    )
    return (
        extended.constants,
        np.array(grid.n_bins),
        Accumulators.zeros(grid).samples,
        np.zeros(grid.size, dtype=bool),
        np.zeros(grid.size),
        np.full((kernels.N_LAM_ROWS, d), 0.55) * np.array([1, 1, 0])[:, None],
        np.array([-1, 0, 0, 0]),
        np.random.default_rng(0).standard_normal((50, d)),
    )


def test_repeated_evaluation_of_a_step_changes_nothing() -> None:
    arrays = start()
    samples, lam, counters = arrays[2], arrays[5], arrays[6]
    kernels.extended_step(np.array([0.5]), 0, *arrays)
    before = [a.copy() for a in (samples, lam, counters)]
    for xi in (0.5, 0.9):
        kernels.extended_step(np.array([xi]), 0, *arrays)
    for old, new in zip(before, (samples, lam, counters), strict=True):
        np.testing.assert_array_equal(old, new)
    assert samples[:, 0].sum() == 1
    kernels.extended_step(np.array([0.5]), 1, *arrays)
    assert samples[:, 0].sum() == 2


def test_sample_lands_in_the_bin_of_lambda_and_of_xi() -> None:
    arrays = start()
    kernels.extended_step(np.array([0.31]), 0, *arrays)
    kappa = arrays[0][kernels.KAPPA, 0]
    expected = np.zeros((10, 4))
    expected[5, 0], expected[5, 1] = 1, kappa * (0.55 - 0.31)
    expected[3, 2], expected[3, 3] = 1, kappa * (0.55 - 0.31)
    np.testing.assert_allclose(arrays[2], expected, rtol=1e-14)


def test_off_the_grid_there_is_no_sample_and_no_bias() -> None:
    arrays = start()
    arrays[2][:, 0], arrays[2][:, 1] = 1000, 1000 * 1e4  # a strong bias everywhere on the grid
    lam = arrays[5]
    lam[kernels.NEXT_LAM] = -0.5
    counts = arrays[2][:, [0, 2]].sum()
    kernels.extended_step(np.array([-0.5]), 0, *arrays)
    assert arrays[2][:, [0, 2]].sum() == counts
    assert arrays[6][kernels.OFF_GRID] == 1
    noise = arrays[0][kernels.NOISE, 0] * arrays[7][0, 0]
    assert lam[kernels.VELOCITY, 0] == pytest.approx(-noise)  # reflected; no spring force, no bias


def test_ramp_and_ceiling_scale_the_bias() -> None:
    """Kicks from the same state: below half of full_samples none, at 3/4 half, from full on whole."""
    kicks = []
    for count, masked in ((4, False), (6.5, False), (99, False), (99, True)):
        arrays = start()
        arrays[2][5, 0], arrays[2][5, 1] = count, 100.0 * (count + 1)
        arrays[3][5] = masked
        kernels.extended_step(np.array([0.55]), 0, *arrays)  # xi = lambda: no spring
        eta = arrays[0][kernels.NOISE, 0] * arrays[7][0, 0]
        kick = (arrays[5][kernels.VELOCITY, 0] - eta) / arrays[0][kernels.DAMPING, 0]
        kicks.append(kick / arrays[0][kernels.KICK, 0] / 100.0)
    np.testing.assert_allclose(kicks, [0.0, 0.5, 1.0, 0.0], atol=1e-9)


@pytest.mark.parametrize(("start_at", "eta", "wall"), [(0.995, 30.0, 1.0), (0.005, -30.0, 0.0)])
def test_a_wall_mirrors_lambda_and_turns_its_velocity(start_at: float, eta: float, wall: float) -> None:
    arrays = start()
    constants, lam = arrays[0], arrays[5]
    lam[kernels.NEXT_LAM], arrays[7][0] = start_at, eta
    kernels.extended_step(np.array([start_at]), 0, *arrays)  # xi = lambda: noise alone moves it
    velocity = constants[kernels.NOISE, 0] * eta
    free = start_at + constants[kernels.HALF_DRIFT, 0] * velocity
    assert abs(free - 0.5) > 0.5
    assert lam[kernels.NEXT_LAM, 0] == pytest.approx(2 * wall - free, rel=1e-12)
    assert lam[kernels.VELOCITY, 0] == pytest.approx(-velocity, rel=1e-12)


def test_a_free_step_follows_langevin_middle_by_hand() -> None:
    """kappa = kT/h^2, m = kappa (tau/2 pi)^2, a = exp(-gamma dt), b = ((1 - a^2) kT/m)^(1/2)."""
    arrays = start()
    lam, xi, eta, dt = arrays[5], 0.52, float(arrays[7][0, 0]), 0.001
    lam[kernels.VELOCITY] = 3.0
    kernels.extended_step(np.array([xi]), 0, *arrays)
    kappa = KT / 0.1**2
    mass, a = kappa * (0.2 / (2 * np.pi)) ** 2, np.exp(-8.0 * dt)
    v = 3.0 + dt / mass * kappa * (xi - 0.55)
    position = 0.55 + 0.5 * dt * v
    v = a * v + np.sqrt((1 - a * a) * KT / mass) * eta
    assert lam[kernels.VELOCITY, 0] == pytest.approx(v, rel=1e-12)
    assert lam[kernels.NEXT_LAM, 0] == pytest.approx(position + 0.5 * dt * v, rel=1e-12)


def test_lambda_stays_between_the_walls() -> None:
    arrays = start()
    arrays[7][:] = 30.0  # pushed up without end
    for step in range(50):
        kernels.extended_step(np.array([0.9]), step, *arrays)
        assert 0.0 <= arrays[5][kernels.NEXT_LAM, 0] <= 1.0


def test_accumulators_add_up_and_refuse_other_grids() -> None:
    rng = np.random.default_rng(1)
    a, b = (Accumulators(grid=GRID_1D, samples=rng.random((60, 4))) for _ in range(2))
    np.testing.assert_allclose((a + b - b).samples, a.samples, rtol=1e-12)
    with pytest.raises(GridError, match="same grid"):
        a + Accumulators.zeros(GRID_2D)
    with pytest.raises(GridError, match=r"need shape \(60, 4\)"):
        Accumulators(grid=GRID_1D, samples=np.zeros((60, 3)))


def test_applied_force_is_what_the_kernel_applies() -> None:
    samples = Accumulators.zeros(GRID_1D).samples
    samples[3, :2], samples[4, :2], samples[5, :2] = (75, 75 * 8.0), (400, 400 * 8.0), (400, 400 * 8.0)
    mask = np.zeros(60, dtype=bool)
    mask[5] = True
    force = Accumulators(grid=GRID_1D, samples=samples).applied_force(full_samples=100, unbiased=mask)
    np.testing.assert_allclose(force[2:7, 0], [0, 4.0, 8.0, 0, 0])


def test_coupling_follows_the_formulas() -> None:
    extended = couple(
        GRID_2D, kt=KT, sigma=np.array([0.1, 0.2]), tau_ps=0.2, friction_per_ps=1.0, timestep_ps=0.001,
        full_samples=200,
    )  # fmt: skip
    np.testing.assert_allclose(extended.kappa, [KT / 0.01, KT / 0.04])
    # a free lambda on its spring has period tau
    np.testing.assert_allclose(2 * np.pi * np.sqrt(np.array(extended.mass) / extended.kappa), 0.2)
    with pytest.raises(SamplingError, match="at least 20 time steps"):
        couple(
            GRID_1D, kt=KT, sigma=GRID_1D.widths, tau_ps=0.01, friction_per_ps=1.0, timestep_ps=0.001,
            full_samples=200,
        )  # fmt: skip


def test_fastest_frequency_of_a_known_spring() -> None:
    """One atom of mass m, xi = a x: two masses m/a^2 and m_lambda on one spring."""
    extended = couple(
        GRID_1D, kt=KT, sigma=np.array([0.1]), tau_ps=0.5, friction_per_ps=1.0, timestep_ps=0.001,
        full_samples=200,
    )  # fmt: skip
    gradient = np.zeros((1, 1, 1, 3))
    gradient[..., 0] = 7.0
    kappa, mass = extended.kappa[0], extended.mass[0]
    expected = np.sqrt(kappa * (49.0 / 12.0 + 1.0 / mass))
    np.testing.assert_allclose(fastest_frequency(gradient, np.array([12.0]), extended), [expected])


def test_fastest_frequency_of_two_springs_on_one_atom() -> None:
    """xi_1 = xi_2 = a x with heavy lambdas: both springs pull the atom, omega^2 = 2 kappa a^2 / m."""
    grid = Grid(lower=(0.0, 0.0), upper=(1.0, 1.0), n_bins=(10, 10))
    extended = couple(
        grid, kt=KT, sigma=np.array([0.1, 0.1]), tau_ps=1e4, friction_per_ps=1.0, timestep_ps=0.001,
        full_samples=200,
    )  # fmt: skip
    gradient = np.zeros((1, 2, 1, 3))
    gradient[..., 0] = 7.0
    expected = np.sqrt(2.0 * extended.kappa[0] * 49.0 / 12.0)
    np.testing.assert_allclose(fastest_frequency(gradient, np.array([12.0]), extended), [expected], rtol=1e-6)


def test_data_range_covers_the_data_and_refuses_a_constant_cv() -> None:
    xi = np.random.default_rng(0).uniform(-2, 3, (100_000, 1))
    np.testing.assert_allclose(data_range(xi, margin=0.1), [[-2.5, 3.5]], atol=0.01)
    with pytest.raises(SamplingError, match="needs to vary"):
        data_range(np.ones((100, 1)), margin=0.1)
