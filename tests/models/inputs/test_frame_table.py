"""Frames with their origin: pairs a lag apart, and choice by index."""

import numpy as np
import pytest

from aecv.models.inputs.frame_table import FrameTable


def table(time_ps, series, **more) -> FrameTable:
    n = len(time_ps)
    positions = np.arange(3.0 * n, dtype=np.float32).reshape(n, 1, 3)
    return FrameTable(
        positions, np.ones(n), series=np.array(series), time_ps=np.array(time_ps, dtype=float), **more
    )


def test_pairs_never_cross_a_walker():
    frames = table([0, 1, 2, 3, 0, 1, 2, 3], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(frames.lagged(2.0), [2, 3, -1, -1, 6, 7, -1, -1])
    np.testing.assert_array_equal(frames.lagged(4.0), np.full(8, -1))


def test_pairs_never_cross_a_gap():
    """Frame 2 has one 3 ps later, behind a gap of 2 ps: what happened in between is not there."""
    frames = table([0, 1, 2, 4, 5, 6, 7], [0] * 7)
    np.testing.assert_array_equal(frames.lagged(1.0), [1, 2, -1, 4, 5, 6, -1])
    np.testing.assert_array_equal(frames.lagged(3.0), [-1, -1, -1, 6, -1, -1, -1])


def test_time_counts_and_not_the_order_of_rows():
    rng = np.random.default_rng(1)
    time, series = np.tile(np.arange(50.0), 3) * 0.2, np.repeat([4, 0, 9], 50)
    order = rng.permutation(150)
    plain, mixed = table(time, series).lagged(1.0), table(time[order], series[order]).lagged(1.0)
    expected = np.where(plain[order] >= 0, np.argsort(order)[plain[order]], -1)
    np.testing.assert_array_equal(mixed, expected)
    assert (plain >= 0).sum() == 3 * 45


def test_times_of_files_are_rounded():
    """0.333 ps apart, written with two digits: the lag of three frames is found, half a frame is not."""
    frames = table(np.round(0.3333 * np.arange(10), 3), [0] * 10)
    np.testing.assert_array_equal(frames.lagged(1.0)[:7], np.arange(3, 10))
    assert np.all(frames.lagged(0.1667) == -1)
    assert frames.spacing_ps == pytest.approx(0.333, abs=1e-3)


def test_a_time_that_comes_twice_has_no_partner():
    """Two trajectories written into one: which frame follows which is unknown."""
    frames = table([0, 1, 2, 3, 1, 2], [0] * 6)
    np.testing.assert_array_equal(frames.lagged(1.0), np.full(6, -1))
    np.testing.assert_array_equal(frames.lagged(3.0), [3, -1, -1, -1, -1, -1])


def test_unknown_times_or_series_have_none():
    frames = table([0, 1, np.nan, 3], [0, 0, 0, 0])
    np.testing.assert_array_equal(frames.lagged(1.0), [1, -1, -1, -1])
    assert np.all(FrameTable(frames.positions, frames.weights).lagged(1.0) == -1)


def test_choosing_copies_no_positions_and_keeps_the_later_frame():
    """Every second frame is chosen; its later frame is the one between, which stays in the table."""
    frames = table(np.arange(8), [0] * 8, columns={"label": np.arange(8.0)})
    some = frames.at(slice(None, None, 2)).at(np.array([2, 0]))
    assert some.positions is frames.positions
    np.testing.assert_array_equal(some.index, [4, 0])
    np.testing.assert_array_equal(some.lagged(1.0), [5, 1])
    np.testing.assert_array_equal(some.chosen, frames.positions[[4, 0]])
    small = some.compact(1.0)
    np.testing.assert_array_equal(small.positions, frames.positions[[0, 1, 4, 5]])
    np.testing.assert_array_equal(small.chosen, some.chosen)
    np.testing.assert_array_equal(small.positions[small.lagged(1.0)], frames.positions[[5, 1]])
    np.testing.assert_array_equal(small.columns["label"], [0, 1, 4, 5])


def test_more_frames_belong_to_nothing():
    frames = table(np.arange(4), [0] * 4, columns={"label": np.ones((4, 2))}).at([0, 1])
    more = frames.with_more(np.zeros((3, 1, 3), dtype=np.float32), np.full(3, 0.5))
    np.testing.assert_array_equal(more.index, [0, 1, 4, 5, 6])
    np.testing.assert_array_equal(more.lagged(1.0), [1, 2, -1, -1, -1])
    assert np.isnan(more.columns["label"][4:]).all()
    assert more.chosen.shape == (5, 1, 3)


def test_memory_maps_stay_on_disk(tmp_path):
    stored = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (10, 2, 3))
    frames = FrameTable(stored, np.ones(10)).at(np.arange(3))
    assert frames.positions is stored
