"""Diagnostics of coverage against hand-made series with known answers."""

import numpy as np
import pytest

from aecv.ground.errors import GridError, SamplingError
from aecv.numerics.statistics.diagnostics import basin_visits, core_labels, r_hat, range_growth


def test_r_hat_of_independent_walkers_is_one() -> None:
    x = np.random.default_rng(0).standard_normal((4, 5000))
    # 8 chains of 2500: R^2 - 1 ~ (chi^2_7 / 7 - 1) / 2500, twice (folded), so below 1.001 with certainty
    assert r_hat(x) == pytest.approx(1.0, abs=0.001)


def test_r_hat_of_two_walkers_that_never_meet() -> None:
    """Their scores are the two halves of a normal: means -+m, m^2 = 2/pi; B/n = 4/3 m^2, W = 1 - m^2."""
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (2, 20_000)) + np.array([[0.0], [7.0]])
    m2 = 2 / np.pi
    assert r_hat(x) == pytest.approx(np.sqrt(1 + 4 / 3 * m2 / (1 - m2)), rel=0.01)


def test_r_hat_sees_unequal_spread_and_drift() -> None:
    rng = np.random.default_rng(2)
    assert r_hat(rng.standard_normal((2, 4000)) * [[1.0], [3.0]]) > 1.1
    drifting = rng.standard_normal((1, 4000)) + np.linspace(0, 3, 4000)
    assert r_hat(drifting) > 1.2  # one walker: its halves differ


def test_r_hat_of_ranks_ignores_units_and_outliers() -> None:
    x = np.random.default_rng(3).standard_normal((3, 1000))
    assert r_hat(5.0 - 3.0 * x) == pytest.approx(r_hat(x), rel=1e-12)
    wild = x.copy()
    wild[0, 5] = 1e12
    assert r_hat(wild) == pytest.approx(r_hat(x), abs=0.002)


def test_r_hat_without_motion() -> None:
    assert np.isnan(r_hat(np.ones((3, 100))))
    assert r_hat(np.repeat([[0.0], [1.0]], 100, axis=1)) == np.inf
    with pytest.raises(GridError, match="4 frames"):
        r_hat(np.zeros((2, 3)))
    with pytest.raises(SamplingError, match="finite"):
        r_hat(np.full((2, 8), np.nan))


def test_core_labels_need_a_clear_winner() -> None:
    distances = [[0.1, 0.9, 0.9], [0.5, 0.6, 0.9], [0.9, 0.8, 0.4], [0.41, 0.8, 0.9], [np.nan, 0.1, 0.9]]
    np.testing.assert_array_equal(core_labels(distances), [0, -1, 2, -1, -1])
    np.testing.assert_array_equal(core_labels(distances, ratio=1.0)[:4], [0, 0, 2, 0])
    np.testing.assert_array_equal(core_labels([[0.3], [0.5]]), [0, 0])
    with pytest.raises(GridError, match="ratio"):
        core_labels(distances, ratio=1.5)


def test_visits_of_one_walker_by_hand() -> None:
    """Visits 0 1 0 2 1 0: recrossing at the barrier and staying are no transitions."""
    labels = [-1, 0, 0, -1, 0, -1, 1, 1, -1, 0, 2, -1, -1, 2, 1, 0, 0]
    visits = basin_visits(labels, np.zeros(len(labels)), 4)
    expected = np.zeros((4, 4), dtype=int)
    expected[0, 1] = expected[0, 2] = expected[2, 1] = 1
    expected[1, 0] = 2
    np.testing.assert_array_equal(visits.transitions, expected)
    np.testing.assert_array_equal(visits.visited_by, [1, 1, 1, 0])
    np.testing.assert_array_equal(visits.entered_by, [1, 1, 1, 0])
    # of 0 and 1 alone it is 0 1 0 1 0; of 0 and 2: 0 2 0; of 1 and 2: 1 2 1
    trips = np.zeros((4, 4), dtype=int)
    trips[0, 1], trips[1, 0], trips[0, 2], trips[1, 2] = 2, 1, 1, 1
    np.testing.assert_array_equal(visits.round_trips, trips)
    assert visits.crossings([True, False, False, False]) == (2, 2)
    assert visits.crossings([False, True, True, False]) == (2, 2)


def test_visits_do_not_run_from_walker_to_walker() -> None:
    """Walker 0 stays in 0, walker 1 starts in 1 and goes to 0 once, walker 2 never is in a core."""
    visits = basin_visits([0, 0, 1, -1, 0, -1], [0, 0, 1, 1, 1, 2], 2)
    np.testing.assert_array_equal(visits.transitions, [[0, 0], [1, 0]])
    np.testing.assert_array_equal(visits.visited_by, [2, 1])
    np.testing.assert_array_equal(visits.entered_by, [1, 0])
    assert not visits.round_trips.any()
    assert visits.crossings([False, True]) == (0, 1)
    with pytest.raises(GridError, match="labels"):
        basin_visits([0, 2], [0, 0], 2)


def test_range_growth_of_a_range_that_opens_step_by_step() -> None:
    share = np.linspace(0, 1, 30_000)
    x = np.random.default_rng(4).uniform(0, 1, 30_000) * np.where(
        share < 1 / 3, 0.5, np.where(share < 2 / 3, 0.9, 1)
    )
    # 40 bins: half of them in the first third, up to 0.9 in the second, the rest in the last
    np.testing.assert_allclose(range_growth(x, share, periodic=False), [0.5, 0.4, 0.1], atol=0.026)
    np.testing.assert_allclose(range_growth(x, share[::-1], periodic=False), [1, 0, 0])


def test_range_growth_ignores_wild_frames_and_knows_angles() -> None:
    rng = np.random.default_rng(5)
    share = np.linspace(0, 1, 20_000)
    x = rng.uniform(0, 1, 20_000)
    x[-4:] = 1e6
    np.testing.assert_allclose(range_growth(x, share, periodic=False), [1, 0, 0])
    # a quarter of the circle across the jump at pi, then its neighbour: 10 of 40 bins each
    angle = rng.uniform(0, np.pi / 2, 20_000) + np.where(share < 0.5, 0.75 * np.pi, 0.25 * np.pi)
    wrapped = np.mod(angle + np.pi, 2 * np.pi) - np.pi
    np.testing.assert_allclose(range_growth(wrapped, share, periodic=True), [0.5, 0.5, 0], atol=0.03)
    np.testing.assert_allclose(
        range_growth(angle, share, periodic=True), range_growth(wrapped, share, periodic=True)
    )
    np.testing.assert_allclose(range_growth(np.ones(100), np.linspace(0, 1, 100), periodic=False), [1, 0, 0])


def test_range_growth_errors() -> None:
    with pytest.raises(GridError, match="one shape"):
        range_growth(np.zeros(10), np.zeros(9), periodic=False)
    with pytest.raises(SamplingError, match="frames"):
        range_growth(np.zeros(9), np.zeros(9), periodic=False)
    with pytest.raises(SamplingError, match="needs a bin"):
        range_growth(np.linspace(0, 1, 40), np.linspace(0, 1, 40), periodic=False)
