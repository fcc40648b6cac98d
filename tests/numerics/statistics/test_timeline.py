"""One order of time: what counts once, what goes in order, and what must be left alone."""

import numpy as np
import pytest

from aecv.numerics.statistics.timeline import frame_marks, timeline


def walk(n: int, seed: int) -> np.ndarray:
    """Marks of a run: no two frames are alike."""
    return np.random.default_rng(seed).uniform(0.2, 1.5, size=(n, 8))


RUN, TIMES = walk(1000, 1), np.arange(1000.0)


def test_a_restart_counts_once_in_whatever_order() -> None:
    """Part 2 begins at 600 of the 0 .. 799 of part 1: 200 frames are in both."""
    one, other = slice(0, 800), slice(600, 1000)
    found = timeline([TIMES[one], TIMES[other]], [RUN[one], RUN[other]])
    np.testing.assert_array_equal(found.kept, [*range(600), *range(800, 1200)])
    assert [(r.part, r.other, r.n_frames, r.times_ps) for r in found.repeats] == [(0, 1, 200, (600.0, 799.0))]
    assert not found.is_reordered
    turned = timeline([TIMES[other], TIMES[one]], [RUN[other], RUN[one]])
    np.testing.assert_array_equal(turned.kept, [*range(400, 1000), *range(400)])
    assert turned.is_reordered


def test_a_restart_that_went_another_way_replaces_what_it_repeats() -> None:
    """The first frame of part 2 is that of part 1 at its time; those after it are not."""
    part = np.concatenate([RUN[600:601], walk(399, 2)])
    found = timeline([TIMES[:800], TIMES[600:]], [RUN[:800], part])
    np.testing.assert_array_equal(found.kept, [*range(600), *range(800, 1200)])


def test_runs_of_the_same_length_stay_two_runs() -> None:
    """Also when both begin in the same structure."""
    other = np.concatenate([RUN[:1], walk(999, 3)])
    for marks in (walk(1000, 4), other):
        found = timeline([TIMES, TIMES], [RUN, marks])
        np.testing.assert_array_equal(found.kept, np.arange(2000))
        assert (found.repeats, found.apart) == ((), ())


def test_two_parts_of_each_of_two_runs_stay_together() -> None:
    """Sorted by time they would alternate: the order given is kept."""
    second = walk(1000, 5)
    halves = (slice(0, 501), slice(500, 1000))
    found = timeline([TIMES[h] for h in halves] * 2, [r[h] for r in (RUN, second) for h in halves])
    kept = [*range(500), *range(501, 1001), *range(1001, 1501), *range(1502, 2002)]
    np.testing.assert_array_equal(found.kept, kept)
    assert [r.n_frames for r in found.repeats] == [1, 1]  # the frame at which each part ends
    assert not found.is_reordered


def test_runs_that_overlap_by_chance_are_told() -> None:
    found = timeline([TIMES, TIMES + 300], [RUN, walk(1000, 6)])
    assert (len(found.kept), found.apart) == (2000, ((0, 1),))


def test_disjoint_parts_are_put_in_order() -> None:
    found = timeline([TIMES[500:], TIMES[:500]], [RUN[500:], RUN[:500]])
    np.testing.assert_array_equal(found.kept, [*range(500, 1000), *range(500)])
    assert found.is_reordered


def test_a_file_that_a_restart_was_appended_to() -> None:
    times = np.concatenate([TIMES[:800], TIMES[600:]])
    found = timeline([times], [np.concatenate([RUN[:800], RUN[600:]])])
    np.testing.assert_array_equal(found.kept, [*range(600), *range(800, 1200)])
    assert (found.repeats[0].part, found.repeats[0].other) == (0, 0)


@pytest.mark.parametrize("made_up", [np.full(1000, np.nan), np.zeros(1000)])
def test_without_times_equal_frames_to_the_end_are_repeated(made_up: np.ndarray) -> None:
    """As DCD files are; also where all times are 0."""
    found = timeline([made_up[:800], made_up[600:]], [RUN[:800], RUN[600:]])
    np.testing.assert_array_equal(found.kept, [*range(600), *range(800, 1200)])
    turned = timeline([made_up[600:], made_up[:800]], [RUN[600:], RUN[:800]])
    np.testing.assert_array_equal(turned.kept, [*range(400, 1000), *range(400)])
    once = timeline([made_up, made_up], [RUN, RUN])
    assert len(once.kept) == 1000


def test_a_run_from_a_frame_of_another_is_a_run_of_its_own() -> None:
    """Swarms start from frames of a first run, at time 0 again; only the first frame is the same."""
    swarm = np.concatenate([RUN[600:601], walk(99, 7)])
    for times in (TIMES, np.full(1000, np.nan)):
        assert len(timeline([times, times[:100]], [RUN, swarm]).kept) == 1100


def test_index_like_times_do_not_hide_what_is_equal() -> None:
    """Programs count frames from 0 in every file that they convert."""
    found = timeline([TIMES[:800], TIMES[:400]], [RUN[:800], RUN[600:]])
    np.testing.assert_array_equal(found.kept, [*range(600), *range(800, 1200)])


def test_shuffled_frames_keep_their_order() -> None:
    mixed = np.random.default_rng(8).permutation(1000)
    found = timeline([TIMES[mixed]], [RUN[mixed]])
    np.testing.assert_array_equal(found.kept, np.arange(1000))
    assert found.unordered == (0,)


def test_times_in_float32_are_equal_up_to_rounding() -> None:
    late = np.float64(1e6) + 500.0 * np.arange(1000)
    found = timeline([late[:800], late[600:] * (1 + 5e-8)], [RUN[:800], RUN[600:]])
    assert len(found.kept) == 1000


def test_formats_round_but_a_restart_from_elsewhere_is_not_the_same() -> None:
    """An .xtc keeps 0.001 nm of a position; a structure minimised anew is some 0.01 nm away."""
    positions = 2.0 * np.random.default_rng(11).random((1000, 10, 3))
    # another origin, so that it rounds otherwise
    again = frame_marks(np.round(positions + np.array([0.0123, 0.0371, 0.0519]) / 7, 3))
    marks = frame_marks(np.round(positions, 3))
    differ = np.abs(marks - again).max(axis=1)
    begin = 300 + int(np.argmax(differ[300:700]))  # the frame by which the restart is known
    assert 0.0015 < differ[begin] < 0.0035  # 2 sqrt(3) 0.001 nm at most
    one, other = slice(0, 800), slice(begin, 1000)
    found = timeline([TIMES[one], TIMES[other]], [marks[one], again[other]])
    np.testing.assert_array_equal(found.kept, [*range(begin), *range(800, 1800 - begin)])
    elsewhere = timeline([TIMES[one], TIMES[other]], [marks[one], marks[other] + 0.01])
    assert (len(elsewhere.kept), elsewhere.repeats, elsewhere.apart) == (1800 - begin, (), ((0, 1),))


@pytest.mark.parametrize("n_atoms", [1, 2, 3, 4, 5, 9, 50])
def test_marks_stay_under_rotation_and_tell_frames_apart(n_atoms: int) -> None:
    frames = np.random.default_rng(9).standard_normal((20, n_atoms, 3))
    marks = frame_marks(frames)
    assert 1 <= marks.shape[1] <= 8
    turn = np.linalg.qr(np.random.default_rng(10).standard_normal((3, 3)))[0]
    if n_atoms > 1:
        assert marks.min() > 0  # no atom with itself
        np.testing.assert_allclose(frame_marks(frames @ turn + 5.0), marks, atol=1e-12)
    assert len(np.unique(marks.round(6), axis=0)) == 20
