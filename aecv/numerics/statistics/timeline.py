"""One order of time for frames of several files: what a restarted run wrote twice, and parts out of order.

Time stamps alone cannot tell: runs of the same length begin at the same time and are not the same. Frames at
equal times are therefore held against each other by marks, a few distances between their atoms, which no
shift or rotation changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray

SAME_NM = 0.004
"""Marks of one frame differ by less at equal times: formats keep 0.001 nm of a position."""
_EXACT_NM = 2e-5
"""The same where no time says that frames may be one."""
_MARKS = 8
"""Marks of a frame that are enough to know it again."""
_MOST_RUNS = 64
"""Beginnings of time in one file beyond which its frames have no order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeat:
    """A stretch of frames that two parts hold.

    Attributes:
        part, other: numbers of the part whose frames are dropped, and of the one whose frames stay.
        n_frames: that are dropped.
        times_ps: of the first and the last of them; NaN where they are not known.
    """

    part: int
    other: int
    n_frames: int
    times_ps: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Timeline:
    """Which frames count, and in which order.

    Attributes:
        kept: numbers of the frames, over all parts in the order given, shape (n_kept,).
        repeats: what was dropped.
        is_reordered: whether parts were put in the order of time.
        apart: pairs of parts whose times overlap while their frames differ, though they begin at different
            times.
        unordered: parts whose times go back so often that they say nothing.
    """

    kept: IntArray
    repeats: tuple[Repeat, ...]
    is_reordered: bool
    apart: tuple[tuple[int, int], ...]
    unordered: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Run:
    """Frames of one part whose times go forward, or are not known."""

    part: int
    first: int
    times: FloatArray
    marks: NDArray[np.floating]

    @property
    def is_timed(self) -> bool:
        return bool(np.isfinite(self.times).all())

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True)
class _Join:
    """A run that goes on with another from one of its frames, `begin`, where that one's first frame is."""

    before: int
    after: int
    begin: int
    by_time: bool


def frame_marks(positions: NDArray[np.floating]) -> NDArray[np.floating]:
    """Distances between atoms by which a frame is known again, shape (n, at most 8) [nm].

    Args:
        positions: shape (n, n_atoms, 3) [nm]; of one atom alone its coordinates are the marks.
    """
    n_atoms = positions.shape[1]
    if n_atoms == 1:
        return positions[:, 0].copy()
    every = n_atoms * (n_atoms - 1) // 2
    first, second = np.triu_indices(n_atoms, k=1) if every <= _MARKS else _spread(n_atoms)
    return np.asarray(np.linalg.norm(positions[:, first] - positions[:, second], axis=2))


def _spread(n_atoms: int) -> tuple[IntArray, IntArray]:
    first = np.linspace(0, n_atoms - 1, _MARKS).astype(np.int64)
    return first, (first + n_atoms // 2 - np.arange(_MARKS) % 2) % n_atoms


def timeline(times_ps: Sequence[FloatArray], marks: Sequence[NDArray[np.floating]]) -> Timeline:
    """The frames of several parts, each once, in the order of time.

    A part that begins within another, with the same frame at that time, goes on from it: the frames of the
    one that ends earlier are dropped from there on. Parts that begin at the same time are the same only if
    all frames are, else runs of their own. Without times only what is equal to the end of a part counts as
    repeated. Parts are put in order where all of their times then follow each other, else they stay as they
    were given.

    Args:
        times_ps: per part its time stamps, shape (n,) [ps]; NaN where there are none.
        marks: per part numbers that differ between frames, shape (n, n_marks) [nm].
    """
    runs, unordered = _runs(times_ps, marks)
    dropped = [np.zeros(len(run), dtype=bool) for run in runs]
    order = list(range(len(runs)))
    repeats, apart, independent = [], [], False
    for i, j in combinations(range(len(runs)), 2):
        join = _join(runs, i, j)
        if join is None:
            overlaps = _overlaps(runs[i], runs[j])
            independent |= overlaps
            if overlaps and not _same(runs[i].times[0], runs[j].times[0], runs[i]):
                apart.append((runs[i].part, runs[j].part))
            continue
        independent |= not join.by_time
        if order.index(join.before) > order.index(join.after):
            order.remove(join.after)
            order.insert(order.index(join.before) + 1, join.after)
        repeats += _drop(runs, dropped, join)
    if not independent and all(run.is_timed for run in runs):
        order.sort(key=lambda index: runs[index].times[0])
    kept = [runs[index].first + np.flatnonzero(~dropped[index]) for index in order]
    numbers = np.concatenate(kept) if kept else np.zeros(0)
    return Timeline(
        kept=numbers.astype(np.int64),
        repeats=tuple(repeats),
        is_reordered=bool(np.any(np.diff(numbers) < 0)),
        apart=tuple(dict.fromkeys(apart)),
        unordered=tuple(unordered),
    )


def _runs(
    times_ps: Sequence[FloatArray], marks: Sequence[NDArray[np.floating]]
) -> tuple[list[_Run], list[int]]:
    """Parts cut where their time goes back or stands, and the parts where it does so all the time."""
    runs, unordered, first = [], [], 0
    for part, (times, seen) in enumerate(zip(times_ps, marks, strict=True)):
        cuts = np.flatnonzero(np.diff(times) <= 0) + 1
        stands = len(times) > 1 and np.ptp(times) == 0
        if len(cuts) >= _MOST_RUNS and not stands:
            unordered.append(part)
        if len(cuts) >= _MOST_RUNS or stands or not np.isfinite(times).all():
            times, cuts = np.full(len(times), np.nan), cuts[:0]
        for begin, end in zip([0, *cuts], [*cuts, len(times)], strict=True):
            if end > begin:
                runs.append(_Run(part, first + int(begin), times[begin:end], seen[begin:end]))
        first += len(times)
    return runs, unordered


def _join(runs: Sequence[_Run], i: int, j: int) -> _Join | None:
    """How one of two runs goes on with the other; None where it does not."""
    a, b = runs[i], runs[j]
    if a.is_timed and b.is_timed:
        before, after = (i, j) if a.times[0] <= b.times[0] else (j, i)
        begin = _timed_join(runs[before], runs[after])
        if begin is not None:
            return _Join(before, after, begin, by_time=True)
    for before, after in ((i, j), (j, i)):
        begin = _exact_join(runs[before], runs[after])
        if begin is not None:
            return _Join(before, after, begin, by_time=False)
    return None


def _timed_join(before: _Run, after: _Run) -> int | None:
    begin = int(np.argmin(np.abs(before.times - after.times[0])))
    if not _same(before.times[begin], after.times[0], before):
        return None
    # a restart may go another way after its first frame; a few marks may agree by chance
    n = min(len(before) - begin, len(after), -(-_MARKS // after.marks.shape[1]) if begin else len(after))
    if not _same(before.times[begin + n - 1], after.times[n - 1], before):
        return None
    difference = np.abs(before.marks[begin : begin + n] - after.marks[:n])
    return begin if difference.max(initial=0.0) < SAME_NM else None


def _exact_join(before: _Run, after: _Run) -> int | None:
    """The frame from which on all frames of the first run are those of the other, to the end of either."""
    equal = np.abs(before.marks - after.marks[0]).max(axis=1, initial=0.0) < _EXACT_NM
    for begin in np.flatnonzero(equal)[:8]:
        n = min(len(before) - int(begin), len(after))
        if np.abs(before.marks[begin : begin + n] - after.marks[:n]).max() < _EXACT_NM:
            return int(begin)
    return None


def _drop(runs: Sequence[_Run], dropped: Sequence[NDArray[np.bool_]], join: _Join) -> list[Repeat]:
    """Mark what is repeated: the end of the first run, or the second where that ends no later."""
    before, after, begin = join.before, join.after, join.begin
    a, b = runs[before], runs[after]
    is_within = a.times[-1] >= b.times[-1] if join.by_time else len(a) - begin >= len(b)
    victim, other, part = (after, before, slice(None)) if is_within else (before, after, slice(begin, None))
    fresh = np.zeros(len(runs[victim]), dtype=bool)
    fresh[part] = True
    fresh &= ~dropped[victim]
    if not fresh.any():
        return []
    dropped[victim][fresh] = True
    times = runs[victim].times[fresh]
    return [
        Repeat(
            part=runs[victim].part,
            other=runs[other].part,
            n_frames=int(fresh.sum()),
            times_ps=(float(times[0]), float(times[-1])),
        )
    ]


def _overlaps(a: _Run, b: _Run) -> bool:
    """Whether the times of two runs overlap."""
    return a.is_timed and b.is_timed and a.times[0] < b.times[-1] and b.times[0] < a.times[-1]


def _same(one: float, other: float, run: _Run) -> bool:
    """Whether two time stamps are one, in a run whose frames lie a certain time apart; float32 rounds
    them."""
    spacing = float(run.times[-1] - run.times[0]) / max(1, len(run) - 1)
    return bool(abs(one - other) <= 1e-3 * spacing + 2e-7 * max(abs(one), abs(other)))
