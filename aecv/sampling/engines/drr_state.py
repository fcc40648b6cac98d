"""The state file of PLUMED's DRR (extended ABF), as arrays.

DRR keeps everything that it is between two steps in OUTPUTPREFIX.drrstate, and goes on from such a file. It
is a binary archive of Boost: the values one after the other, with a few bytes on their classes between them
that depend on Boost's version.

    step, lambda (d), its velocity (d), velocity at the last full step (d), its force (d),
    ".abf", axes, sums of forces (n_bins d), counts (n_bins),
    ".czar", axes, sums of forces (n_bins d), counts (n_bins), kT

A vector is its length and its numbers. The places of the vectors are found once in a file that the PLUMED at
hand wrote for the same grid; other files of this grid differ in the numbers alone. DRR sums kappa (xi - lam),
the negative of our sums, and its bins have the first dimension fastest.

Source: PLUMED's src/drr/DynamicReferenceRestraining.cpp (save, load) and src/drr/DRR.h (serialize).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SimulationError
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import Accumulators

_LENGTH = 8
"""Bytes of a length, a count and a number."""
UNREACHABLE = 1 << 40
"""A count that no run reaches: the mean force of a bin that starts with it and no forces stays at zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DRRState:
    """What DRR is between two steps.

    Attributes:
        lam, velocity: extended variable of the coming step [CV] and its velocity [CV/ps], shape (d,).
        samples: of lambda and of xi.
    """

    lam: FloatArray
    velocity: FloatArray
    samples: Accumulators


class DRRArchive:
    """Reads and writes state files of one grid.

    Args:
        template: a state file that PLUMED wrote for this grid.
        grid: the grid.

    Raises:
        SimulationError: when the file is not what this module knows.
    """

    def __init__(self, template: bytes, grid: Grid) -> None:
        self._template = template
        self._grid = grid
        n, d = grid.size, grid.n_dims
        abf, czar = template.find(b".abf"), template.find(b".czar")
        if not 0 <= abf < czar:
            raise SimulationError(
                "engine plumed: DRR's state file needs a grid .abf before a grid .czar, got "
                f"{len(template)} bytes without them; this PLUMED writes another format than 2.5 to 2.10 do"
            )
        self._vectors = self._find(0, abf, (d, d, d, d))
        self._abf = self._find(abf, czar, (n * d, n))
        self._czar = self._find(czar, len(template), (n * d, n))

    def encode(self, state: DRRState) -> bytes:
        """A state file to start from; counts are whole numbers."""
        content = bytearray(self._template)
        lam, velocity, samples = state.lam, state.velocity, state.samples
        vectors = (lam, velocity, velocity, np.zeros_like(lam))
        for start, values in zip(self._vectors, vectors, strict=True):
            _put(content, start, np.asarray(values, dtype="<f8"))
        for place, counts, sums in (
            (self._abf, samples.n_lam, samples.sum_lam),
            (self._czar, samples.n_xi, samples.sum_xi),
        ):
            _put(content, place[0], self._their_order(-sums).astype("<f8"))
            _put(content, place[1], self._their_order(counts).astype("<u8"))
        return bytes(content)

    def decode(self, content: bytes) -> DRRState:
        """The state in a file.

        Raises:
            SimulationError: when it is incomplete, damaged or of another grid.
        """
        if len(content) != len(self._template):
            raise SimulationError(
                f"engine plumed: DRR's state file needs {len(self._template)} bytes for this grid, got "
                f"{len(content)}; the disk may be full"
            )
        n, d = self._grid.size, self._grid.n_dims
        lam, velocity = (_get(content, place, d, "<f8") for place in self._vectors[:2])
        samples = Accumulators.zeros(self._grid)
        for place, counts, sums in (
            (self._abf, samples.n_lam, samples.sum_lam),
            (self._czar, samples.n_xi, samples.sum_xi),
        ):
            counts[...] = self._our_order(_get(content, place[1], n, "<u8"))
            sums[...] = -self._our_order(_get(content, place[0], n * d, "<f8").reshape(n, d))
        if not all(np.isfinite(part).all() for part in (lam, velocity, samples.samples)):
            raise SimulationError(
                "engine plumed: DRR's state file needs finite numbers, it has others; the dynamics of lambda "
                "went wrong or the file is damaged"
            )
        return DRRState(lam=self._grid.wrap(lam), velocity=velocity, samples=samples)

    def _their_order(self, values: FloatArray) -> FloatArray:
        """Flat, last dimension fastest -> flat, first dimension fastest; (size, ...)."""
        return _reversed(values, self._grid.shape)

    def _our_order(self, values: FloatArray) -> FloatArray:
        return _reversed(values, self._grid.shape[::-1])

    def _find(self, start: int, end: int, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Where the numbers of consecutive vectors of these lengths begin, between two places."""
        skips = np.cumsum([0, *((1 + length) * _LENGTH for length in lengths)])
        found = [
            first
            for first in range(start, end - int(skips[-1]) + 1)
            if all(
                int.from_bytes(self._template[first + skip : first + skip + _LENGTH], "little") == length
                for skip, length in zip(skips.tolist(), lengths, strict=False)
            )
        ]
        if len(found) != 1:
            raise SimulationError(
                f"engine plumed: DRR's state file needs vectors of lengths {list(lengths)} in one place, "
                f"found {len(found)}; this PLUMED writes another format than 2.5 to 2.10 do"
            )
        return tuple(found[0] + int(skip) + _LENGTH for skip in skips[:-1])


def starting_samples(
    total: Accumulators, unbiased: NDArray[np.bool_] | None
) -> tuple[FloatArray, FloatArray]:
    """Counts and sums of lambda from which DRR's bias is that of our samples.

    DRR counts in whole numbers; a bin keeps its mean force. A bin where lambda is not to be pushed gets so
    many samples of no force that its mean stays at zero.

    Returns:
        counts, shape (size,), and sums, shape (size, d) [kJ/mol/CV].
    """
    counts = np.rint(total.n_lam)
    sums = counts[:, None] * np.nan_to_num(total.mean_force)
    if unbiased is not None:
        counts = np.where(unbiased, float(UNREACHABLE), counts)
        sums = np.where(unbiased[:, None], 0.0, sums)
    return counts, sums


def read_state(archive: DRRArchive, path: Path) -> DRRState:
    """The state in a file that DRR was to write.

    Raises:
        SimulationError: when there is none.
    """
    try:
        return archive.decode(path.read_bytes())
    except OSError as error:
        raise SimulationError(
            f"engine plumed: DRR did not write its state at the end of the segment ({error.strerror}); it "
            "did not see every step"
        ) from error


def _reversed(values: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Flat values of a grid in C order, shape (size, ...), in that of the grid with its axes reversed."""
    grids = values.reshape(*shape, *values.shape[1:])
    axes = [*range(len(shape))[::-1], *range(len(shape), grids.ndim)]
    return np.ascontiguousarray(grids.transpose(axes)).reshape(values.shape)


def _put(content: bytearray, place: int, values: NDArray[np.generic]) -> None:
    content[place : place + values.nbytes] = values.tobytes()


def _get(content: bytes, place: int, count: int, kind: str) -> FloatArray:
    return np.frombuffer(content, dtype=kind, count=count, offset=place).astype(float)
