"""Weights against exactly sampled extended systems and Gaussians of known free energy."""

import logging

import numpy as np
import pytest
from scipy.special import logsumexp

from aecv.ground.errors import GridError, SamplingError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.integration import FreeEnergy, delta_f
from aecv.numerics.free_energy.weights import (
    eabf_weights,
    effective_sample_size,
    mbar_log_weights,
    normalised,
    pooled_log_weights,
    shared_weight,
)

KT = 2.494


def double_well(x):
    return 12 * (x**2 - 1) ** 2 + 2 * x


def extended_sample(n, sigma, grid, bias, seed):
    """Exact draws (xi, lam) of exp(-[V + kT (xi - lam)^2 / 2 sigma^2 - B(lam)] / kT), lam within the grid."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-2.2, 2.2, 881)
    lam = Grid(lower=grid.lower, upper=grid.upper, n_bins=(800,)).centers(0)
    log_p = -double_well(x)[:, None] / KT - (x[:, None] - lam) ** 2 / (2 * sigma**2) + bias(lam) / KT
    p = np.exp(log_p - log_p.max()).ravel()
    drawn = rng.choice(p.size, n, p=p / p.sum())
    return x[drawn // len(lam)], lam[drawn % len(lam)]


def boltzmann(x):
    return np.exp(-double_well(x) / KT)


def exact_f_of_lambda(grid, sigma):
    x = np.linspace(-4, 4, 4001)
    lam = grid.centers(0)
    log_p = logsumexp(-double_well(x) / KT - (x - lam[:, None]) ** 2 / (2 * sigma**2), axis=1)
    return -KT * (log_p - log_p.max())


def test_eabf_weights_reproduce_boltzmann_averages():
    grid = Grid(lower=(-2.0,), upper=(2.0,), n_bins=(80,))
    sigma = 0.1
    f = exact_f_of_lambda(grid, sigma)
    free_energy = FreeEnergy(grid=grid, values=f, islands=np.zeros(80, dtype=np.int64))
    xi, lam = extended_sample(200_000, sigma, grid, lambda v: np.interp(v, grid.centers(0), f), seed=5)
    weights = eabf_weights(lam[:, None], free_energy, kt=KT)
    assert weights.sum() == pytest.approx(1.0)
    x = np.linspace(-2.2, 2.2, 8801)
    p = boltzmann(x) / boltzmann(x).sum()
    for observable in (lambda v: v, lambda v: v**2, lambda v: (v > 0).astype(float)):
        expected = p @ observable(x)
        values = observable(xi)
        error = np.sqrt(np.sum(weights**2 * (values - expected) ** 2))
        assert abs(weights @ values - expected) < 4 * error
    # the biased average is far off: the weights do the work
    assert abs(np.mean(xi > 0) - p @ (x > 0)) > 0.2
    assert 0.02 < effective_sample_size(weights) / len(xi) < 0.9


def test_weight_is_zero_where_the_free_energy_is_unknown():
    grid = Grid(lower=(0.0,), upper=(5.0,), n_bins=(5,))
    islands = np.array([0, 0, -1, 1, -1])
    free_energy = FreeEnergy(grid=grid, values=np.array([0.0, 1.0, np.nan, 0.0, np.nan]), islands=islands)
    lam = np.array([[0.5], [1.5], [2.5], [3.5], [4.5], [-1.0], [7.0], [np.nan]])
    weights = eabf_weights(lam, free_energy, kt=2.0)
    np.testing.assert_array_equal(weights > 0, [True, True] + [False] * 6)
    assert weights[1] / weights[0] == pytest.approx(np.exp(-0.5))
    with pytest.raises(SamplingError, match="visited part of the grid"):
        eabf_weights(lam[2:], free_energy, kt=2.0)


def test_normalised_and_effective_sample_size():
    np.testing.assert_allclose(normalised([1000.0, 1000.0 + np.log(3.0), -np.inf]), [0.25, 0.75, 0.0])
    assert effective_sample_size([2.0, 2.0, 0.0]) == pytest.approx(2.0)
    assert effective_sample_size([1e-300, 1e-300]) == pytest.approx(2.0)
    assert effective_sample_size([0.0]) == 0.0
    for bad in ([-np.inf], [], [0.0, np.nan], [0.0, np.inf]):
        with pytest.raises(SamplingError, match="log weights"):
            normalised(bad)


def gaussian_pool(n_per_state, seed):
    """Harmonic biases on a harmonic well: U_k = k_k (x - c_k)^2 / 2, f_k known in closed form [kT]."""
    rng = np.random.default_rng(seed)
    well, springs, centres = 1.0, np.array([0.0, 6.0, 6.0, 2.0]), np.array([0.0, 1.5, -2.0, 3.0])
    total = well + springs
    frames = [
        rng.normal(k * c / t, 1 / np.sqrt(t), n)
        for k, c, t, n in zip(springs, centres, total, n_per_state, strict=True)
    ]
    x = np.concatenate(frames)
    energies = 0.5 * springs[:, None] * (x - centres[:, None]) ** 2
    f = 0.5 * np.log(total / well) + 0.5 * springs * well * centres**2 / total
    return x, energies, f


def test_mbar_on_gaussians_gives_known_free_energies_and_moments():
    x, energies, f = gaussian_pool([3000, 4000, 2000, 3000], seed=2)
    result = mbar_log_weights(energies * KT, [3000, 4000, 2000, 3000], kt=KT)
    np.testing.assert_allclose(result.free_energies - result.free_energies[0], f, atol=0.1)
    assert result.free_energies[0] == pytest.approx(0.0, abs=1e-10)
    w = result.weights
    n_effective = result.n_effective
    assert abs(w @ x) < 4 / np.sqrt(n_effective)
    assert abs(w @ x**2 - 1) < 4 * np.sqrt(2 / n_effective)


def test_shared_weight_of_identical_disjoint_and_grouped_states():
    rng = np.random.default_rng(3)
    n = np.array([1000, 3000])
    identical = np.zeros((2, 4000))
    result = mbar_log_weights(identical, n, kt=1.0)
    shared = shared_weight(identical, n, result, [0, 1], kt=1.0)
    np.testing.assert_allclose(shared, [0.75, 0.25], rtol=1e-8)  # 1 - N_k / N
    # two runs 60 sigma apart, each in two blocks: the blocks share all, the runs nothing
    x = np.concatenate([rng.normal(0, 1, 2000), rng.normal(60, 1, 2000)])
    far = 0.5 * np.array([x**2, x**2, (x - 60) ** 2, (x - 60) ** 2])
    counts = [1000] * 4
    result = mbar_log_weights(far, counts, kt=1.0)
    np.testing.assert_allclose(shared_weight(far, counts, result, range(4), kt=1.0), 0.5, atol=0.02)
    assert shared_weight(far, counts, result, [0, 0, 1, 1], kt=1.0).max() < 1e-6


def test_mbar_solves_its_own_equations():
    _, energies, _ = gaussian_pool([500, 100, 2000, 40], seed=8)
    n = np.array([500, 100, 2000, 40])
    result = mbar_log_weights(energies, n, kt=1.0)
    denominator = (n[:, None] * np.exp(result.free_energies[:, None] - energies)).sum(axis=0)
    np.testing.assert_allclose(result.weights, 1 / denominator, rtol=1e-8)
    np.testing.assert_allclose(
        (np.exp(result.free_energies[:, None] - energies) / denominator).sum(axis=1), 1.0
    )


def test_mbar_of_one_state_is_plain_reweighting_and_empty_states_only_get_a_free_energy():
    _, energies, _ = gaussian_pool([0, 0, 0, 20_000], seed=4)
    result = mbar_log_weights(energies * KT, [0, 0, 0, 20_000], kt=KT)
    np.testing.assert_allclose(result.weights, normalised(energies[3]), rtol=1e-10)
    _, energies, f = gaussian_pool([4000, 4000, 0, 4000], seed=4)
    result = mbar_log_weights(energies * KT, [4000, 4000, 0, 4000], kt=KT)
    assert result.free_energies[2] == pytest.approx(f[2], abs=0.4)


def test_the_solution_gives_any_frame_its_weight() -> None:
    """Frames of the pool get the weights they have; a state without frames has no part in the denominator."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=600)
    energies = np.array([0.0 * x, 2.0 * x, 5.0 + x**2])
    n = [400, 200, 0]
    result = mbar_log_weights(energies, n, kt=2.0)
    found = pooled_log_weights(energies, n, result.free_energies, kt=2.0)
    np.testing.assert_allclose(np.diff(found), np.diff(result.log_weights), atol=1e-9)
    mixture = 400 * np.exp(result.free_energies[0]) + 200 * np.exp(result.free_energies[1] - x)
    np.testing.assert_allclose(found, -np.log(mixture), atol=1e-9)


def test_mbar_does_not_depend_on_frame_offsets_of_the_states():
    """Adding a constant to a bias changes its free energy by it and no weight, also for hundreds of kT."""
    _, energies, _ = gaussian_pool([1000] * 4, seed=9)
    shift = np.array([0.0, 300.0, -500.0, 40.0])
    plain = mbar_log_weights(energies, [1000] * 4, kt=1.0)
    moved = mbar_log_weights(energies + shift[:, None], [1000] * 4, kt=1.0)
    np.testing.assert_allclose(moved.log_weights, plain.log_weights, atol=1e-8)
    np.testing.assert_allclose(moved.free_energies - plain.free_energies, shift, atol=1e-8)


def test_mbar_thinned_start_gives_the_same_answer(monkeypatch):
    _, energies, _ = gaussian_pool([1500] * 4, seed=6)
    plain = mbar_log_weights(energies, [1500] * 4, kt=1.0)
    monkeypatch.setattr("aecv.numerics.free_energy.weights.PRESOLVE_FRAMES", 500)
    thinned = mbar_log_weights(energies, [1500] * 4, kt=1.0)
    np.testing.assert_allclose(thinned.log_weights, plain.log_weights, atol=1e-8)


def test_mbar_with_strong_biases_recovers_a_rare_basin():
    """Wells separated by 25 kT and biases that differ by tens of kT."""
    rng = np.random.default_rng(0)
    x = np.linspace(-1.8, 1.8, 3601)
    potential = 25 * (x**2 - 1) ** 2 + 1.5 * x
    biases = np.array([0 * x, -potential, -0.7 * potential + 8 * np.cos(3 * x), 12 * x, -30 * x - 60])
    n = np.array([300, 3000, 3000, 50, 2000])
    frames = []
    for bias, size in zip(biases, n, strict=True):
        p = np.exp(-(potential + bias) + (potential + bias).min())
        frames.append(rng.choice(len(x), size, p=p / p.sum()))
    drawn = np.concatenate(frames)
    result = mbar_log_weights(biases[:, drawn], n, kt=1.0)
    expected = logsumexp(-potential[x <= 0]) - logsumexp(-potential[x > 0])
    assert delta_f(x[drawn] > 0, result.weights, kt=1.0) == pytest.approx(expected, abs=0.2)


def test_mbar_leaves_global_random_state_and_loggers_alone(caplog):
    _, energies, _ = gaussian_pool([200] * 4, seed=1)
    np.random.seed(12)  # noqa: NPY002 - the legacy global generator is what is watched
    expected = np.random.random_sample()  # noqa: NPY002
    np.random.seed(12)  # noqa: NPY002
    with caplog.at_level(logging.WARNING):
        mbar_log_weights(energies, [200] * 4, kt=1.0)
    assert np.random.random_sample() == expected  # noqa: NPY002
    assert caplog.records == []
    assert logging.getLogger("pymbar").level == logging.NOTSET


def test_mbar_errors():
    with pytest.raises(GridError, match="sum N"):
        mbar_log_weights(np.zeros((2, 5)), [2, 2], kt=1.0)
    with pytest.raises(SamplingError, match="finite"):
        mbar_log_weights(np.full((1, 2), np.nan), [2], kt=1.0)
    with pytest.raises(SamplingError, match="none"):
        mbar_log_weights(np.zeros((1, 0)), [0], kt=1.0)
