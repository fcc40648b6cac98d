"""Effective visits of bins, and which bins of an integrated free energy hang together."""

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.numerics.free_energy.integration import integrate_gradient
from aecv.numerics.free_energy.support import Course, supported
from aecv.numerics.free_energy.weights import effective_sample_size


def of_one_walker(n: int) -> Course:
    return Course.of(np.zeros(n), np.zeros(n), np.arange(n))


def test_frames_in_a_row_are_one_visit_and_equal_visits_count_one_each() -> None:
    bins = np.array([0, 0, 0, 1, 0, 1, 1, -1, 0])
    found = of_one_walker(9).effective_visits(bins, np.array([1.0, 1, 1, 2, 3, 1, 1, 9, 3]), 3)
    assert found == pytest.approx([3.0, 2.0, 0.0])  # masses 3, 3, 3 and 2, 2


def test_where_no_frame_stays_it_is_the_effective_number_of_frames() -> None:
    rng = np.random.default_rng(1)
    weights = rng.lognormal(0.0, 2.0, 200)
    bins = np.tile([0, 1], 100)
    found = of_one_walker(200).effective_visits(bins, weights, 2)
    assert found == pytest.approx([effective_sample_size(weights[k::2]) for k in (0, 1)])


def test_a_frame_with_nearly_all_weight_is_one_visit() -> None:
    bins, weights = np.tile([0, -1], 500), np.full(1000, 1e-9)
    weights[400] = 1.0
    assert of_one_walker(1000).effective_visits(bins, weights, 1)[0] == pytest.approx(1.0, abs=1e-6)


def test_another_walker_or_run_is_another_visit_in_any_order_of_the_frames() -> None:
    run, walker = np.repeat([0, 0, 1], 5), np.repeat([0, 1, 1], 5)
    time = np.tile(np.arange(5), 3)
    shuffled = np.random.default_rng(2).permutation(15)
    course = Course.of(run[shuffled], walker[shuffled], time[shuffled])
    assert course.effective_visits(np.zeros(15, dtype=int), np.ones(15), 1)[0] == pytest.approx(3.0)


def test_weights_of_any_scale_and_no_frames() -> None:
    bins = np.array([0, 1, 0])
    assert of_one_walker(3).effective_visits(bins, np.full(3, 1e-300), 2) == pytest.approx([2.0, 1.0])
    assert of_one_walker(0).effective_visits(np.empty(0, dtype=int), np.empty(0), 2).tolist() == [0.0, 0.0]
    with pytest.raises(GridError, match="one shape"):
        Course.of(np.zeros(3), np.zeros(2), np.zeros(3))


def test_a_bridge_of_few_samples_joins_nothing() -> None:
    """F = x^2 on 20 bins, of which two in the middle have few samples: the right part is not known."""
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,), periodic=(False,))
    x = grid.centers(0)
    counts = np.full(20, 1000.0)
    counts[12:14], counts[0] = 3.0, 49.0
    found = integrate_gradient(2.0 * x[:, None], counts, grid)
    values = supported(found, counts, 50)
    assert np.flatnonzero(np.isfinite(values)).tolist() == list(range(1, 12))
    assert np.array_equal(values[1:12], found.values[1:12])  # to the last bit: the lowest bin is among them


def test_the_zero_is_a_bin_that_is_known() -> None:
    grid = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,), periodic=(False,))
    counts = np.where(grid.centers(0) > 0.0, 10.0, 1000.0)
    found = integrate_gradient(np.full((20, 1), -5.0), counts, grid)  # falls to the right
    values = supported(found, counts, 50)
    assert np.nanmin(values) == 0.0
    assert np.nanargmin(values) == 9
    assert np.isnan(supported(found, counts, 1e6)).all()


def test_along_a_circle_the_way_across_the_seam_joins() -> None:
    grid = Grid(lower=(-np.pi,), upper=(np.pi,), n_bins=(12,), periodic=(True,))
    counts = np.full(12, 100.0)
    counts[6] = 1.0
    found = integrate_gradient(np.sin(grid.centers(0))[:, None], counts, grid)
    assert np.isfinite(supported(found, counts, 50)).sum() == 11
