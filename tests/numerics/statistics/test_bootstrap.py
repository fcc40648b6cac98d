"""Units, replicates of MBAR weights, and their spread against repeated sampling."""

import numpy as np
import pytest

from aecv.ground.errors import GridError, SamplingError
from aecv.numerics.free_energy.weights import mbar_log_weights
from aecv.numerics.statistics.bootstrap import resampled_weights
from aecv.numerics.statistics.intervals import interval
from aecv.numerics.statistics.sampling_units import Units, block_units

KT = 2.5


def harmonic_pool(n_per_state: list[int], seed: int, centres: tuple[float, ...] = (0.0, 1.5, -2.0)):  # type: ignore[no-untyped-def]
    """x ~ exp(-x^2/2 - (x - c_k)^2) and the biases U_k = kT (x - c_k)^2; unbiased a standard normal."""
    rng = np.random.default_rng(seed)
    x = np.concatenate(
        [rng.normal(2 * c / 3, 1 / np.sqrt(3), n) for c, n in zip(centres, n_per_state, strict=True)]
    )
    return x, KT * (x - np.array(centres)[:, None]) ** 2


def singles(n_per_state: list[int]) -> Units:
    """Every frame a unit of its own, states are the strata."""
    return Units(
        of_frame=np.arange(sum(n_per_state)), stratum=np.repeat(np.arange(len(n_per_state)), n_per_state)
    )


def test_block_units_by_hand() -> None:
    run = np.repeat([0, 1], [12, 4])
    walker = np.array([0] * 6 + [1] * 6 + [0, 0, 1, 1])
    time = np.array([*range(6), *range(6), 10, 11, 10, 11])
    units = block_units(run, walker, time, [2, 1])
    np.testing.assert_array_equal(units.of_frame, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5])
    np.testing.assert_array_equal(units.stratum, [0, 0, 0, 0, 1, 1])
    thin = units.at(np.array([0, 3, 6, 12, 14]))
    np.testing.assert_array_equal(thin.of_frame, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(thin.stratum, [0, 0, 0, 1, 1])


def test_runs_of_one_unit_are_exchanged_with_others() -> None:
    zeros = np.zeros(8, dtype=int)
    each = block_units(np.repeat([0, 1, 2, 3], 2), zeros, zeros, 1)
    np.testing.assert_array_equal(each.stratum, [0, 0, 0, 0])
    walker = np.array([0, 0, 1, 1, 0, 0, 0, 0])
    one = block_units(np.repeat([0, 1], 4), walker, zeros, 1)
    np.testing.assert_array_equal(one.stratum, [0, 0, 0])
    assert block_units(zeros, zeros, zeros, 1).n_units == 1
    assert block_units(zeros, zeros, zeros, 1).n_strata == 1


def test_multiplicities_keep_the_size_of_a_stratum() -> None:
    units = Units(of_frame=np.arange(7), stratum=np.array([0, 0, 0, 1, 1, 1, 1]))
    m = units.multiplicities(4000, seed=1)
    np.testing.assert_allclose(m[:, :3].sum(axis=1), 3.0, rtol=1e-12)
    np.testing.assert_allclose(m[:, 3:].sum(axis=1), 4.0, rtol=1e-12)
    # n/(n - 1) times a binomial (n - 1, 1/n) has the variance 1; 5 standard errors of 4000 are about 0.2
    np.testing.assert_allclose(m.var(axis=0), 1.0, atol=0.2)
    np.testing.assert_array_equal(m, units.multiplicities(4000, seed=1))
    assert (m != units.multiplicities(4000, seed=2)).any()


def test_strata_of_unequal_size_have_the_right_error() -> None:
    """Only three units of one stratum scatter, eighty of another do not: the error is that of three."""
    rng = np.random.default_rng(4)
    units = Units(of_frame=np.arange(83), stratum=np.repeat([0, 1], [3, 80]))
    found = []
    for seed in range(400):
        values = np.concatenate([rng.standard_normal(3), np.zeros(80)])
        draws = units.multiplicities(200, seed) @ values / 3.0
        found.append(draws.std() ** 2)
    # variance of the mean of three: 1/3; 400 estimates of two degrees of freedom: to 5 %, bound 4 times
    assert abs(np.mean(found) * 3.0 - 1.0) < 0.2


def test_a_replicate_is_mbar_of_the_repeated_frames() -> None:
    n = [60, 50, 40]
    _, energies = harmonic_pool(n, seed=0)
    state = np.repeat(np.arange(3), n)
    units = block_units(np.zeros(150), state * 10 + np.arange(150) % 10, np.zeros(150), 1)
    drawn = resampled_weights(energies, n, units, kt=KT, n_replicates=25, seed=3)
    for m, weights in zip(units.multiplicities(25, seed=3), drawn.replicates, strict=True):
        # of 30 units 29 are drawn; the factor 30/29 is the same for all of one stratum
        frames = np.repeat(np.arange(150), np.rint(m * 29 / 30).astype(int)[units.of_frame])
        direct = mbar_log_weights(energies[:, frames], np.bincount(state[frames], minlength=3), kt=KT)
        expected = np.bincount(frames, weights=direct.weights, minlength=150)
        np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-9)
    assert drawn.n_unsolved == 0
    np.testing.assert_allclose(drawn.weights, mbar_log_weights(energies, n, kt=KT).weights)
    again = resampled_weights(energies, n, units, kt=KT, n_replicates=25, seed=3)
    np.testing.assert_array_equal(drawn.replicates, again.replicates)


def test_a_state_may_lose_all_its_frames() -> None:
    n = [40, 30, 30]
    _, energies = harmonic_pool(n, seed=1)
    units = block_units(np.zeros(100), np.repeat(np.arange(3), n), np.zeros(100), 1)  # a state is a unit
    drawn = resampled_weights(energies, n, units, kt=KT, n_replicates=40, seed=0)
    np.testing.assert_allclose(drawn.replicates.sum(axis=1), 1.0)
    m = units.multiplicities(40, seed=0)
    assert ((m == 0).sum(axis=1) == 2).any()  # one state alone: w ~ exp(+U)
    for row, weights in zip(m, drawn.replicates, strict=True):
        np.testing.assert_array_equal(weights > 0, row[units.of_frame] > 0)
        if np.count_nonzero(row) == 1:
            k = int(np.argmax(row))
            own = np.repeat(np.arange(3), n) == k
            expected = np.exp(energies[k, own] / KT)
            np.testing.assert_allclose(weights[own], expected / expected.sum(), rtol=1e-10)


def test_one_state_is_plain_reweighting() -> None:
    _, energies = harmonic_pool([400], seed=2, centres=(0.5,))
    units = block_units(np.zeros(400), np.repeat(np.arange(4), 100), np.tile(np.arange(100), 4), 5)
    drawn = resampled_weights(energies, [400], units, kt=KT, n_replicates=30, seed=5)
    m = units.multiplicities(30, seed=5)[:, units.of_frame]
    expected = m * np.exp(energies[0] / KT)
    np.testing.assert_allclose(drawn.replicates, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)


def test_strong_biases_without_much_overlap_are_solved() -> None:
    """Neighbours 3 apart, 5 standard deviations: free energies hang on single frames."""
    n = [300] * 8
    _, energies = harmonic_pool(n, seed=4, centres=tuple(np.arange(8) * 3.0 - 10.5))
    units = block_units(np.zeros(2400), np.arange(2400) // 30, np.zeros(2400), 1)
    drawn = resampled_weights(energies, n, units, kt=KT, n_replicates=100, seed=0)
    assert drawn.n_unsolved == 0
    assert np.isfinite(drawn.replicates).all()


def test_thinning_keeps_the_states_in_proportion() -> None:
    n = [3000, 1500, 0, 600]
    x, energies = harmonic_pool(n, seed=6, centres=(0.0, 1.0, 3.0, -1.0))
    drawn = resampled_weights(energies, n, singles(n), kt=KT, n_replicates=20, max_frames=1000, seed=0)
    stride = 6  # 5100 frames to at most 1000
    np.testing.assert_array_equal(drawn.frames, np.r_[0:3000:stride, 3000:4500:stride, 4500:5100:stride])
    assert drawn.n_units == len(drawn.frames)
    assert drawn.weights @ x[drawn.frames] ** 2 == pytest.approx(1.0, abs=0.25)


def test_standard_error_is_that_of_repeated_sampling() -> None:
    """Independent frames: the mean SE of 30 pools (to 4 %) against the spread of 150 pools (to 6 %)."""
    n = [120, 80, 60]
    means, errors, stiff = [], [], []
    for seed in range(150):
        x, energies = harmonic_pool(n, seed)
        means.append(float(mbar_log_weights(energies, n, kt=KT).weights @ x))
        if seed < 30:
            units = singles(n)
            drawn = resampled_weights(energies, n, units, kt=KT, seed=seed)
            size = {"n_units": drawn.n_units, "n_strata": drawn.n_strata}
            errors.append(float(interval(means[-1], drawn.replicates @ x, **size).standard_error))
            fixed = units.multiplicities(200, seed) * drawn.weights
            draws = fixed @ x / fixed.sum(axis=1)
            stiff.append(float(interval(means[-1], draws, **size).standard_error))
    assert np.mean(means) == pytest.approx(0.0, abs=4 * np.std(means) / np.sqrt(150))
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.2)
    # with the free energies of the full solution the error is another one
    assert np.mean(stiff) < 0.8 * np.std(means)


def test_errors() -> None:
    _, energies = harmonic_pool([10, 10, 10], seed=0)
    with pytest.raises(GridError, match="unit of each frame"):
        resampled_weights(energies, [10, 10, 10], singles([10]), kt=KT, seed=0)
    with pytest.raises(GridError, match="one shape"):
        block_units(np.zeros(3), np.zeros(4), np.zeros(3), 1)
    with pytest.raises(GridError, match="n_blocks >= 1"):
        block_units(np.zeros(3), np.zeros(3), np.zeros(3), 0)
    with pytest.raises(SamplingError, match="frames"):
        block_units([], [], [], 1)
