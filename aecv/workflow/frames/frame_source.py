"""Frames of a system out of files of any program: atoms in the system's order, whole, and its own."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import SamplingError
from aecv.molecules.subject import Subject
from aecv.numerics.statistics.timeline import frame_marks
from aecv.workflow.frames.atom_order import names_agree, order_by_names
from aecv.workflow.frames.frame_fit import FrameFit, Misfit, some_of, unlike
from aecv.workflow.frames.frame_reading import (
    OWN_TOPOLOGY,
    Piece,
    Source,
    ending,
    last_frame,
    name_of,
    read_pieces,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """Frames of the system that follow each other in a file.

    Attributes:
        place: what messages call the file.
        first: number of the first one in it.
        positions: whole molecules, atoms in the system's order, shape (n, N, 3) [nm].
        times_ps: shape (n,) [ps]; NaN where they are not known.
        marks: distances by which frames are known again, see `numerics.timeline`, shape (n, n_marks) [nm].
    """

    place: str
    first: int
    positions: NDArray[np.float32]
    times_ps: FloatArray
    marks: NDArray[np.floating]


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSource:
    """One file, or frames in memory, of a system.

    Attributes:
        source: the file, or the frames.
        topology: its own one, where that was named; None for the system's.
        fit: what its frames are held against.
        marked: atoms between which the distances are that mark a frame, shape (n_marked,).
    """

    source: Source
    topology: mdtraj.Topology | None
    fit: FrameFit
    marked: IntArray

    @property
    def place(self) -> str:
        return name_of(self.source)

    @property
    def system(self) -> Subject:
        return self.fit.system

    @property
    def has_names(self) -> bool:
        """Whether atoms of this source have names of their own."""
        is_file = isinstance(self.source, Path)
        return not is_file or self.topology is not None or ending(self.source) in OWN_TOPOLOGY

    def pieces(self, *, notes: list[str] | None = None) -> Iterator[Fitted]:
        """Its frames, piece by piece.

        Args:
            notes: takes a sentence where atoms were put in order.

        Raises:
            SamplingError: for what `read_pieces` refuses, other atoms than the system's, and bonds that do
                not fit: another order, another unit, or molecules that are cut.
        """
        topology = self.topology or self._assumed_topology()
        order: IntArray | None = None
        torn: list[tuple[int, str, bool]] = []
        n_seen = n_torn = 0
        for piece in read_pieces(self.source, topology, is_own=self.topology is not None):
            if piece.first == 0:
                order = self._order(piece, notes)
            frames = self._whole(piece, order)
            marks = frame_marks(frames[:, self.marked])
            if torn or not self._is_whole(piece, frames, marks):
                bad = self.fit.torn(frames)
                if not torn:
                    at = int(np.argmax(bad))
                    torn.append((piece.first + at, *self.fit.tear(frames[at])))
                n_torn += int(bad.sum())
            n_seen += len(frames)
            if not torn:
                yield self._fitted(piece, frames, marks)
        if torn:
            raise self._cut(n_torn, n_seen, *torn[0], has_box=_box_of(piece) is not None)

    def ends(self) -> Iterator[Fitted]:
        """Its first piece, and its last frame where its format allows to jump there; raises as `pieces`."""
        yield from islice(self.pieces(), 1)
        if isinstance(self.source, Path):
            topology = self.topology or self._assumed_topology()
            piece = last_frame(self.source, topology, is_own=self.topology is not None)
            if piece is not None:
                yield self._looked_at(piece)

    def _looked_at(self, piece: Piece) -> Fitted:
        """A frame that was read by itself."""
        frames = self._whole(piece, self._order(piece, None))
        if (misfit := self.fit.misfit(frames)) is not None:
            raise self._unfit(misfit, piece)
        if self.fit.torn(frames)[0]:
            raise self._cut(1, 1, piece.first, *self.fit.tear(frames[0]), has_box=_box_of(piece) is not None)
        return self._fitted(piece, frames, frame_marks(frames[:, self.marked]))

    def _fitted(self, piece: Piece, frames: NDArray[np.float32], marks: NDArray[np.floating]) -> Fitted:
        return Fitted(
            place=self.place, first=piece.first, positions=frames, times_ps=piece.times_ps, marks=marks
        )

    def _is_whole(self, piece: Piece, frames: NDArray[np.float32], marks: NDArray[np.floating]) -> bool:
        """Whether no frame is torn among a spread of them and those that are unlike all of the spread.

        Raises:
            SamplingError: when they are of another unit, order or molecule.
        """
        rows = some_of(len(frames))
        if not self.fit.is_usual(frames, rows):
            if (misfit := self.fit.misfit(frames[rows])) is not None:
                raise self._unfit(misfit, piece)
            if self.fit.torn(frames[rows]).any():
                return False
        odd = unlike(marks, rows)
        return not len(odd) or self.fit.is_usual(frames, odd) or not self.fit.torn(frames[odd]).any()

    def _unfit(self, misfit: Misfit, piece: Piece) -> SamplingError:
        if self.topology is not None:
            advice = "the names of --top tell no order that fits: give the topology that it was made with"
        elif self.has_names:
            advice = "its names tell no order that fits: write it from the topology that it was made with"
        else:
            advice = "name its own topology with --top, whose names tell the order, or write it in this one"
        return SamplingError(
            f"{self.place}: {misfit.words} (from frame {piece.first} on); {misfit.advice or advice}"
        )

    def _assumed_topology(self) -> mdtraj.Topology:
        """All atoms, or those that frames of aecv hold where the file has as many."""
        system = self.system
        if system.n_frame_atoms < system.n_atoms and not self.has_names:
            leading = system.frame_topology
            try:
                next(read_pieces(self.source, leading, is_own=False), None)
            except SamplingError:
                return system.mdtraj_topology
            return leading
        return system.mdtraj_topology

    def _order(self, piece: Piece, notes: list[str] | None) -> IntArray | None:
        """Number in the file of each atom of the system; None where they are in its order.

        Where names tell another order, bonds decide whether they are to be believed: programs name the atoms
        of a ligand as they like.
        """
        found, own = piece.trajectory.topology, self.system.mdtraj_topology
        self._check_number(found)
        other = next(
            (pair for pair in zip(found.atoms, own.atoms, strict=False) if not names_agree(*pair)), None
        )
        if not self.has_names:
            return None
        by_names = order_by_names(found, own, piece.trajectory.xyz[0])
        if by_names is not None and np.array_equal(by_names, np.arange(found.n_atoms)):
            return None
        if by_names is not None and (other is not None or self._fits(piece, by_names)):
            if notes is not None:
                moved = np.flatnonzero(by_names != np.arange(len(by_names)))
                notes.append(
                    f"{self.place}: {len(moved)} atoms were put in the order of the system, by their names "
                    f"(the first, {own.atom(int(moved[0]))}, is atom {int(by_names[moved[0]])} of the file)"
                )
            return by_names
        if other is not None:
            theirs, ours = other
            raise SamplingError(
                f"{self.place}: needs the atoms of '{self.system.spec.name}' in its order, has {theirs} "
                f"({theirs.element.symbol}) as atom {ours.index}, where {ours} ({ours.element.symbol}) "
                "belongs; reorder them"
            )
        return None

    def _fits(self, piece: Piece, order: IntArray) -> bool:
        frames = self._whole(piece, order)[some_of(len(piece.trajectory))]
        return not self.fit.torn(frames).any() and self.fit.misfit(frames) is None

    def _whole(self, piece: Piece, order: IntArray | None) -> NDArray[np.float32]:
        """Positions in the system's order with whole molecules where there is a box, shape (n, N, 3) [nm]."""
        positions = piece.trajectory.xyz if order is None else piece.trajectory.xyz[:, order]
        boxes = _box_of(piece)
        if boxes is None:
            return np.asarray(positions)
        try:
            return np.asarray(self.system.images.whole(positions, boxes))
        except SamplingError as error:
            raise SamplingError(
                f"{self.place}: {error}; write it anew without a box, with whole molecules"
            ) from error

    def _check_number(self, found: mdtraj.Topology) -> None:
        own, name = self.system.mdtraj_topology, self.system.spec.name
        if found.n_atoms not in (own.n_atoms, self.system.n_frame_atoms):
            few = self.system.n_frame_atoms
            or_those = "" if few == own.n_atoms else f" or the first {few}"
            advice = (
                "give the topology that names its atoms (--top)"
                if self.system.is_divisible
                else "describe the system that it is of"
            )
            raise SamplingError(
                f"{self.place}: needs the {own.n_atoms} atoms of '{name}'{or_those}, has {found.n_atoms}; "
                f"write the trajectory with these atoms alone, or {advice}"
            )

    def _cut(
        self, n_torn: int, n_frames: int, first: int, bond: str, is_long: bool, *, has_box: bool
    ) -> SamplingError:
        if not is_long:
            what, advice = "shorter than any motion makes them", "leave these frames out"
        elif has_box:
            what, advice = (
                "longer than any motion makes them, box or not",
                "write it anew with whole molecules",
            )
        else:
            what = "longer than any motion makes them"
            advice = (
                "to be made whole they need their box: write it anew with the box, or with whole molecules"
            )
        return SamplingError(
            f"{self.place}: needs whole molecules: bonds of {n_torn} of {n_frames} frames are {what}, the "
            f"first {bond} in frame {first}; {advice}"
        )


def _box_of(piece: Piece) -> FloatArray | None:
    """Box vectors, shape (n, 3, 3) [nm]; None where there is none, or an empty one."""
    boxes = piece.trajectory.unitcell_vectors
    return None if boxes is None or not np.any(boxes) else np.asarray(boxes)
