"""Intervals against Student's, coverage on a telegraph process, the zero of profiles."""

import numpy as np
import pytest
from scipy.stats import t as student

from aecv.ground.errors import GridError, SamplingError
from aecv.numerics.free_energy.integration import delta_f
from aecv.numerics.statistics.correlation import n_blocks
from aecv.numerics.statistics.diagnostics import basin_visits
from aecv.numerics.statistics.intervals import (
    Interval,
    aligned,
    crossing_error,
    interval,
    profile_crossing_error,
)
from aecv.numerics.statistics.sampling_units import block_units

KT = 2.5


def test_interval_of_a_mean_is_students() -> None:
    """The variance of a mean of 5 of 6 values, drawn as `Units` does, is that of the mean of 6, exactly."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(6)
    draws = x[rng.integers(0, 6, (100_000, 5))].mean(axis=1)
    found = interval(x.mean(), draws, n_units=6)
    expected = x.std(ddof=1) / np.sqrt(6)
    # the SE of 1e5 draws is good to 0.2 %
    assert float(found.standard_error) == pytest.approx(expected, rel=0.01)
    half = student.ppf(0.975, 5) * expected
    assert float(found.upper) == pytest.approx(x.mean() + half, rel=0.01)
    assert float(found.lower) == pytest.approx(x.mean() - half, rel=0.01)


def test_a_floor_and_a_level() -> None:
    draws = np.random.default_rng(1).normal(3.0, 0.1, 5000)
    wide = interval(3.0, draws, n_units=100, level=0.6827, floor=2.0)
    assert float(wide.upper - wide.estimate) == pytest.approx(2.0, rel=1e-3)  # one sigma is 68.27 %
    assert float(wide.standard_error) == 2.0
    narrow = interval(3.0, draws, n_units=100, floor=0.01)
    assert float(narrow.standard_error) == pytest.approx(0.1, rel=0.05)


def test_what_few_units_know_is_not_known() -> None:
    draws = np.tile(np.random.default_rng(2).normal(0, 1, (200, 1)), (1, 4))
    draws[:9, 1] = np.inf  # 4.5 % of the replicates
    draws[:11, 2] = np.inf  # 5.5 %
    draws[:, 3] = np.nan
    found = interval([0.0, 0.0, 0.0, np.nan], draws, n_units=8)
    assert np.isfinite(found.standard_error[:2]).all()
    assert found.standard_error[2] == np.inf
    assert (found.lower[2], found.upper[2]) == (-np.inf, np.inf)
    assert np.isnan(found.lower[3])
    np.testing.assert_array_equal(found.contains([0.0, 50.0, 50.0, 0.0]), [1, 0, 1, np.nan])
    one = interval(0.0, draws[:, 0], n_units=1)
    assert (float(one.lower), float(one.upper)) == (-np.inf, np.inf)
    gone = interval(np.inf, np.full(50, np.inf), n_units=9)
    assert (float(gone.lower), float(gone.upper)) == (-np.inf, np.inf)


def test_interval_errors() -> None:
    with pytest.raises(GridError, match="replicates"):
        interval([1.0, 2.0], np.zeros((50, 3)), n_units=5)
    with pytest.raises(SamplingError, match="20 replicates"):
        interval(1.0, np.zeros(19), n_units=5)
    with pytest.raises(SamplingError, match="level"):
        interval(1.0, np.zeros(50), n_units=5, level=95)


def telegraph(n_runs: int, n_walkers: int, n_frames: int, mean_crossings: float, seed: int) -> np.ndarray:
    """Two states with equal rates from equilibrium, shape (n_runs, n_walkers, n_frames)."""
    rng = np.random.default_rng(seed)
    start = rng.random((n_runs, n_walkers, 1)) < 0.5
    flips = rng.random((n_runs, n_walkers, n_frames)) < mean_crossings / n_frames
    return (start + np.cumsum(flips, axis=2)) % 2 == 1


def region_interval(inside: np.ndarray, blocks: int | None = None, floored: bool = True) -> Interval:
    walker, time = (index.ravel() for index in np.indices(inside.shape))
    units = block_units(np.zeros(inside.size), walker, time, blocks or n_blocks(inside))
    m = units.multiplicities(200, seed=0)
    frames = [
        np.bincount(units.of_frame, weights=part, minlength=units.n_units)
        for part in (inside.ravel(), ~inside.ravel())
    ]
    with np.errstate(divide="ignore"):
        draws = -KT * np.log((m @ frames[0]) / (m @ frames[1]))
    visits = basin_visits(inside.ravel().astype(int), walker, 2)
    return interval(
        delta_f(inside.ravel(), np.ones(inside.size), kt=KT),
        draws,
        n_units=units.n_units,
        floor=crossing_error(*visits.crossings([False, True]), kt=KT) if floored else 0.0,
    )


@pytest.mark.parametrize("mean_crossings", [5, 15, 40])
def test_coverage_on_a_telegraph_process(mean_crossings: int) -> None:
    """Delta F is 0. 200 runs count a coverage of 95 % to 1.5 %: 90 and 99.5 % are 3 of these away."""
    runs = telegraph(200, 4, 800, mean_crossings, seed=mean_crossings)
    found = [region_interval(run) for run in runs]
    assert 0.90 <= np.mean([one.contains(0.0) for one in found]) <= 0.995
    # 4 / (all crossings) is the relative variance; Student's factor and the floor widen it
    ideal = KT * np.sqrt(4 / (4 * mean_crossings))
    assert 0.9 * ideal < np.median([one.standard_error for one in found]) < 1.3 * ideal


def test_many_short_blocks_would_be_too_sure_without_the_floor() -> None:
    """40 blocks of one walker with 5 crossings are no 40 units; the floor knows from the crossings."""
    runs = telegraph(120, 4, 800, 5, seed=1)
    bare = [region_interval(run, blocks=40, floored=False) for run in runs]
    assert np.mean([one.contains(0.0) for one in bare]) < 0.75
    found = [region_interval(run, blocks=40) for run in runs]
    assert 0.90 <= np.mean([one.contains(0.0) for one in found]) <= 0.995


@pytest.mark.parametrize("n_walkers", [4, 16])
def test_a_single_crossing_tells_nothing(n_walkers: int) -> None:
    """Half of the walkers start on each side, one crosses: the start made the populations."""
    inside = np.repeat(np.arange(n_walkers)[:, None] % 2 == 1, 200, axis=1)
    inside[0, 100:] = True
    found = region_interval(inside, blocks=5)
    assert np.isfinite(float(found.estimate))
    assert (float(found.lower), float(found.upper)) == (-np.inf, np.inf)
    inside[0, 150:] = False  # and back: one round trip, so kT 2^(1/2) at the very least
    assert float(region_interval(inside, blocks=5).standard_error) >= KT * np.sqrt(2)


def test_crossing_error_by_hand() -> None:
    assert crossing_error(4000, 4000, kt=2.0) == pytest.approx(2.0 * np.sqrt(2 / 4000), rel=1e-3)
    # one stay on each side: the ratio of two exponential lengths is below x with probability x / (1 + x)
    assert crossing_error(1, 1, kt=2.0) == pytest.approx(2.0 * np.log(0.975 / 0.025) / 1.959964, rel=1e-6)
    assert crossing_error(0, 7, kt=2.0) == np.inf


def test_crossing_error_of_a_profile_is_the_derivative() -> None:
    """Two overlapping regions on five bins; the odds of one change by d kT."""
    inside, outside = np.array([0.0, 0.0, 0.02, 0.1, 0.2]), np.array([0.3, 0.3, 0.05, 0.03, 0.0])
    d = 1e-5
    before = -KT * np.log(inside + outside)
    after = aligned(-KT * np.log(inside * np.exp(d) + outside), before, kt=KT)
    p = inside.sum() / (inside + outside).sum()
    expected = profile_crossing_error(d * KT, inside / (inside + outside), p)
    np.testing.assert_allclose(np.abs(after - before), expected, rtol=1e-4)
    np.testing.assert_array_equal(profile_crossing_error(np.inf, [0.25, 1.0], 0.25), [0.0, np.inf])


def test_aligned_profiles_have_one_partition_function() -> None:
    reference = np.array([0.0, 1.0, np.nan, 4.0])
    profiles = np.array([[7.0, 8.0, 1.0, 11.0], [np.nan, 3.0, np.nan, 9.0], [np.inf, np.nan, 2.0, np.nan]])
    found = aligned(profiles, reference, kt=KT)
    np.testing.assert_allclose(found[0], [0.0, 1.0, -6.0, 4.0])
    both = [1, 3]
    assert np.exp(-found[1][both] / KT).sum() == pytest.approx(np.exp(-reference[both] / KT).sum())
    assert found[1][3] - found[1][1] == pytest.approx(6.0)
    assert np.isnan(found[2]).all()
    plane = aligned(profiles.reshape(3, 2, 2), reference.reshape(2, 2), kt=KT)
    np.testing.assert_allclose(plane.reshape(3, 4), found)
    with pytest.raises(GridError, match="profiles"):
        aligned(np.zeros((3, 5)), reference, kt=KT)


def test_the_zero_is_not_the_noise_of_one_bin() -> None:
    """Bins of equal F and independent errors e: to one of them it is 2^(1/2) e, to all (1 - 1/n)^(1/2) e."""
    rng = np.random.default_rng(3)
    truth, e = np.zeros(20), 0.05
    noisy = truth + rng.normal(0, e, (4000, 20))
    robust = aligned(noisy, truth, kt=KT).std(axis=0)
    np.testing.assert_allclose(robust, e * np.sqrt(1 - 1 / 20), rtol=0.05)
    first = (noisy - noisy[:, :1]).std(axis=0)
    np.testing.assert_allclose(first[1:], e * np.sqrt(2), rtol=0.05)
    # a wild bin far up does not move the zero
    steep = np.where(np.arange(20) == 0, 40.0, 0.0)
    wild = steep.copy()
    wild[0] += 10.0
    np.testing.assert_allclose(aligned(wild, steep, kt=KT)[1:], 0.0, atol=1e-6)
