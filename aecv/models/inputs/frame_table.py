"""Frames that train: positions, weights, and what is known of where each one comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray

GAP = 1.5
"""Median spacings of a series above which two frames that follow each other have a gap between them."""
TOLERANCE = 0.01
"""Of the median spacing, to which the times of a pair agree with the lag: those of files are rounded."""


@dataclass(frozen=True, eq=False)
class FrameTable:
    """N frames, and the F of them that are chosen, all unless said otherwise; choosing copies no positions.

    Args:
        positions: of the atoms that the model sees, shape (N, n_atoms, 3) [nm]; may be a memory map.
        weights: of the chosen frames, not negative, any normalisation, shape (F,).
        series: number of the unbroken trajectory that a frame is from, shape (N,); None where it is unknown.
        time_ps: shape (N,) [ps]; None for frames of no natural dynamics, such as biased ones.
        columns: name -> numbers of each frame, labels or CVs, shape (N, q) or (N,), NaN where unknown.
        rows: which frames are chosen, shape (F,); None for all.
    """

    positions: NDArray[np.floating]
    weights: FloatArray
    series: IntArray | None = None
    time_ps: FloatArray | None = None
    columns: Mapping[str, FloatArray] = field(default_factory=dict)
    rows: IntArray | None = None

    @cached_property
    def index(self) -> IntArray:
        """Rows of the chosen frames, shape (F,)."""
        return np.arange(len(self.positions)) if self.rows is None else self.rows

    @property
    def chosen(self) -> NDArray[np.floating]:
        """Positions of the chosen frames, shape (F, n_atoms, 3) [nm]; a copy unless they are all."""
        return self.positions if self.rows is None else self.positions[self.rows]

    def at(self, which: Any) -> "FrameTable":
        """Some of the chosen frames, by index, slice or mask."""
        return replace(self, rows=self.index[which], weights=self.weights[which])

    def weighted(self, weights: FloatArray) -> "FrameTable":
        """The same frames with other weights, shape (F,)."""
        return replace(self, weights=weights)

    def thinned(self, most: int) -> "FrameTable":
        """At most so many of the chosen frames with weight, evenly spread."""
        kept = np.flatnonzero(self.weights > 0)
        return self.at(kept[:: max(1, -(-len(kept) // most))])

    def with_more(self, positions: NDArray[np.floating], weights: FloatArray) -> "FrameTable":
        """Further frames at the end, of which nothing else is known, chosen like the others."""
        n, more = len(self.positions), len(positions)
        unknown = {name: np.full((more, *own.shape[1:]), np.nan) for name, own in self.columns.items()}
        return FrameTable(
            positions=np.concatenate([self.positions, positions]),
            weights=np.concatenate([self.weights, weights]),
            series=None if self.series is None else np.concatenate([self.series, np.full(more, -1)]),
            time_ps=None if self.time_ps is None else np.concatenate([self.time_ps, np.full(more, np.nan)]),
            columns={name: np.concatenate([own, unknown[name]]) for name, own in self.columns.items()},
            rows=None if self.rows is None else np.concatenate([self.rows, n + np.arange(more)]),
        )

    def compact(self, lag_ps: float = 0.0) -> "FrameTable":
        """The chosen frames alone, with their later ones where a lag is given; for another process."""
        later = self.lagged(lag_ps) if lag_ps else self.index
        kept = np.union1d(self.index, later[later >= 0])
        if len(kept) == len(self.positions):
            return self
        return FrameTable(
            positions=self.positions[kept],
            weights=self.weights,
            series=None if self.series is None else self.series[kept],
            time_ps=None if self.time_ps is None else self.time_ps[kept],
            columns={name: own[kept] for name, own in self.columns.items()},
            rows=np.searchsorted(kept, self.index),
        )

    def lagged(self, lag_ps: float) -> IntArray:
        """Row of the frame a time later on the same series, of every chosen frame, shape (F,).

        -1 where there is none: at the end of a series, across a gap, and where a time comes twice in one.
        The later frame need not be a chosen one.

        Args:
            lag_ps: the time [ps].
        """
        later = np.full(len(self.positions), -1)
        if self.series is not None and self.time_ps is not None:
            rows = np.flatnonzero(np.isfinite(self.time_ps))
            rows = rows[np.lexsort((self.time_ps[rows], self.series[rows]))]
            for own in np.split(rows, np.flatnonzero(np.diff(self.series[rows])) + 1):
                partner = _later(self.time_ps[own], lag_ps)
                later[own] = np.where(partner >= 0, own[partner], -1)
        return later[self.index]

    @property
    def spacing_ps(self) -> float:
        """Median time between frames that follow each other on a series [ps]; NaN where times are unknown."""
        if self.series is None or self.time_ps is None:
            return float("nan")
        order = np.lexsort((self.time_ps, self.series))
        steps = np.diff(self.time_ps[order])[np.diff(self.series[order]) == 0]
        return float(np.median(steps[steps > 0])) if np.any(steps > 0) else float("nan")


def _later(times: FloatArray, lag: float) -> IntArray:
    """Index of the time a lag later in rising times, -1 where there is none, shape (n,)."""
    steps = np.diff(times)
    if not np.any(steps > 0):
        return np.full(len(times), -1)
    spacing = float(np.median(steps[steps > 0]))
    off = TOLERANCE * spacing
    stretch = np.concatenate([[0], np.cumsum(steps > GAP * spacing)])
    is_alone = np.concatenate([[True], steps > off]) & np.concatenate([steps > off, [True]])
    found = np.searchsorted(times, times + lag - off)
    near = np.minimum(found, len(times) - 1)
    fits = (found < len(times)) & (np.abs(times[near] - times - lag) <= off)
    return np.where(fits & (stretch[near] == stretch) & is_alone & is_alone[near], near, -1)
