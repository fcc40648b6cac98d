"""Frames held against the molecule: lengths of bonds, and the handedness of atoms with four neighbours.

No thermal motion doubles the length of a bond, or keeps one that long in most frames; another order of atoms,
another unit of length and a molecule that a box cut do. No motion exchanges two of four neighbours; a
reflection, another isomer and exchanged names do.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import SamplingError
from aecv.molecules.subject import Subject
from aecv.numerics.geometry.frame_fit import outside, ratio_bounds, volume_signs

Frames = NDArray[np.floating]

USUAL = (0.65, 1.4)
"""Length of a bond over the one it should have, within which its median over frames lies: the softest bonds
of hydrogen reach these bounds at seven times their thermal width at 1000 K; atoms next but one are 1.6
apart."""
TORN = (0.35, 2.0)
"""Bounds that no frame may cross."""
_CUT_NM = 0.8
"""Bonds longer than this are cut by a box rather than taken between other atoms nearby."""
_EVERY = 64
"""One frame in so many is looked at, besides the first and the last of each piece."""
_UNLIKE_NM = 0.5
"""Marks of a frame that leave the range of the looked-at ones by more have it looked at, too: a box that cuts
a molecule moves its parts by the length of an edge."""
_FLAT = 0.2
"""Volume of three unit vectors to neighbours below which an atom has no handedness."""


class Misfit(NamedTuple):
    """Why frames are not those of a system, and what mends it; None where that hangs on the names of
    atoms."""

    words: str
    advice: str | None = None


@lru_cache(maxsize=8)
def some_of(n_frames: int) -> IntArray:
    """Numbers of the frames that are looked at of a piece: the first, the last, and a spread in between."""
    return np.unique(np.append(np.arange(0, n_frames, _EVERY), n_frames - 1)).astype(np.int64)


def unlike(marks: Frames, rows: IntArray) -> IntArray:
    """Numbers of the frames with a mark far outside the range that it has in some of them.

    Args:
        marks: see `numerics.timeline.frame_marks`, shape (n_frames, n_marks) [nm].
        rows: the frames that span the range, shape (n_rows,).
    """
    return np.flatnonzero(outside(marks, rows, _UNLIKE_NM))


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameFit:
    """What frames of a system are held against.

    Attributes:
        system: whose they shall be.
    """

    system: Subject

    @cached_property
    def centres(self) -> IntArray:
        """Atoms with four neighbours of which three are heavy, and these three, shape (n_centres, 4)."""
        topology = self.system.mdtraj_topology
        neighbours: dict[int, list[int]] = {}
        for first, second in topology.bonds:
            neighbours.setdefault(first.index, []).append(second.index)
            neighbours.setdefault(second.index, []).append(first.index)
        rows = []
        for centre, around in neighbours.items():
            heavy = [i for i in sorted(around) if topology.atom(i).element.symbol not in ("H", "VS")]
            if len(around) == 4 and len(heavy) >= 3 and centre < self.system.n_solute_atoms:
                rows.append([centre, *heavy[:3]])
        found = np.array(rows, dtype=np.int64).reshape(-1, 4)
        return found[np.abs(_volumes(self.system.positions[None], found)[0]) > _FLAT]

    def ratios(self, frames: Frames) -> FloatArray:
        """Lengths of bonds over those that they should have, shape (n_frames, n_bonds)."""
        pairs, lengths = self._within(frames)
        return _distances(frames, pairs) / lengths

    def misfit(self, frames: Frames) -> Misfit | None:
        """Why frames are of another unit, order or molecule; None where their bonds are the usual ones.

        Args:
            frames: of a piece, shape (n_frames, n_atoms, 3) [nm].
        """
        pairs, lengths = self._within(frames)
        if not len(pairs) or not len(frames):
            return None
        distances = _distances(frames, pairs)
        usual = np.median(distances / lengths, axis=0)
        wrong = np.flatnonzero((usual < USUAL[0]) | (usual > USUAL[1]))
        if not len(wrong):
            return None
        name = self.system.spec.name
        factor = float(np.median(usual))
        if not USUAL[0] < factor < USUAL[1] and np.mean(np.abs(usual / factor - 1) < 0.3) > 0.8:
            unit = {True: "Angstrom taken for nm", False: "nm taken for Angstrom"}[factor > 1]
            is_known = 7 < max(factor, 1 / factor) < 14
            return Misfit(
                f"needs lengths in the unit of its format, all bonds are {factor:.2g} times as long as those "
                f"of '{name}'{f' ({unit})' if is_known else ''}",
                advice="scale its positions and write it anew",
            )
        if np.min(distances[:, wrong]) > _CUT_NM:
            return None  # `torn` says what they are
        first = "; ".join(
            self._told(pairs[i], float(np.median(distances[:, i])), lengths[i]) for i in wrong[:3]
        )
        return Misfit(
            f"needs the atoms of '{name}' in its order, {len(wrong)} of {len(pairs)} bonds do not fit, the "
            f"first {first}"
        )

    def torn(self, frames: Frames) -> NDArray[np.bool_]:
        """Whether a frame has a bond that no motion makes, shape (n_frames,)."""
        ratios = self.ratios(frames)
        return np.asarray(((ratios < TORN[0]) | (ratios > TORN[1])).any(axis=1))

    def tear(self, frame: Frames) -> tuple[str, bool]:
        """The first bond of a torn frame that does not fit, in words, and whether it is too long; (n_atoms,
        3)."""
        pairs, lengths = self._within(frame[None])
        distances = _distances(frame[None], pairs)[0]
        ratios = distances / lengths
        worst = int(np.argmax(np.maximum(ratios, 1.0 / np.maximum(ratios, 1e-6))))
        return self._told(pairs[worst], float(distances[worst]), lengths[worst]), bool(ratios[worst] > 1)

    def is_usual(self, frames: Frames, rows: IntArray) -> bool:
        """Whether all bonds of some frames are within the usual bounds: nothing more need be asked then."""
        pairs, lengths = self._within(frames)
        low, high = ratio_bounds(frames, rows, pairs, lengths)
        return not len(pairs) or (USUAL[0] <= low and high <= USUAL[1])

    def mirrored(self, frames: Frames, rows: IntArray) -> NDArray[np.bool_]:
        """Whether a centre has the other handedness than in the structure, shape (n_rows, n_centres).

        Args:
            frames: shape (n_frames, n_atoms, 3) [nm].
            rows: of which these are looked at, shape (n_rows,).
        """
        return np.asarray(volume_signs(frames, rows, self.centres) == -self._own_signs)

    @cached_property
    def _own_signs(self) -> IntArray:
        return volume_signs(self.system.positions[None], np.zeros(1, dtype=np.int64), self.centres)

    def check_handedness(self, place: str, n_mirrored: IntArray, n_frames: int) -> None:
        """Refuse frames of which most have a centre of the other handedness.

        Args:
            n_mirrored: per centre in how many frames that is so, shape (n_centres,).
            n_frames: of how many.

        Raises:
            SamplingError: then.
        """
        most = np.flatnonzero(n_mirrored > 0.5 * n_frames)
        if not len(most):
            return
        if len(most) == len(self.centres) and len(most) > 1:
            raise SamplingError(
                f"{place}: needs frames of '{self.system.spec.name}', has its mirror image: all of its "
                f"{len(most)} centres have the other handedness in most frames; reflect them, or describe "
                "the system with a structure of this hand"
            )
        names = [self.system.mdtraj_topology.atom(int(i)) for i in self.centres[most[0]]]
        more = f" and {len(most) - 1} more" if len(most) > 1 else ""
        raise SamplingError(
            f"{place}: needs frames of '{self.system.spec.name}', has another isomer, or exchanged atoms: "
            f"around {names[0]}{more} {', '.join(a.name for a in names[1:])} have the other handedness "
            f"than in the structure, in {int(n_mirrored[most[0]])} of {n_frames} frames; give frames of the "
            "same isomer with the same names"
        )

    def told_handedness(self, place: str, n_mirrored: IntArray, n_frames: int) -> str | None:
        """A sentence on centres of the other handedness in some of the frames that were looked at; None
        without any. Alpha carbons are counted in every frame, and told, by `StereoReference`."""
        is_counted = np.isin(self.centres[:, 0], self.system.stereo.centres[:, 1])
        some = np.flatnonzero((n_mirrored > 0) & ~is_counted)
        if not len(some):
            return None
        worst = some[np.argmax(n_mirrored[some])]
        names = [self.system.mdtraj_topology.atom(int(i)) for i in self.centres[worst]]
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        return (
            f"{place}: around {names[0]}{more} {', '.join(a.name for a in names[1:])} have another handedness"
            f" than in the structure, in {int(n_mirrored[worst])} of {n_frames} frames that were looked at"
        )

    def _within(self, frames: Frames) -> tuple[IntArray, FloatArray]:
        """Bonds between the atoms that frames hold."""
        pairs, lengths = self.system.bonds.pairs, self.system.bonds.lengths
        if not len(pairs) or frames.shape[1] > self._last_bonded:
            return pairs, lengths
        kept = pairs.max(axis=1) < frames.shape[1]
        return pairs[kept], lengths[kept]

    @cached_property
    def _last_bonded(self) -> int:
        return int(self.system.bonds.pairs.max(initial=-1))

    def _told(self, pair: IntArray, distance: float, length: float) -> str:
        one, other = (self.system.mdtraj_topology.atom(int(index)) for index in pair)
        return f"{one} - {other} ({distance:.3g} nm, should be {length:.3g})"


def _distances(frames: Frames, pairs: IntArray) -> FloatArray:
    return np.asarray(np.linalg.norm(frames[:, pairs[:, 0]] - frames[:, pairs[:, 1]], axis=2), dtype=float)


def _volumes(frames: Frames, centres: IntArray) -> FloatArray:
    """Volume of the unit vectors from each centre to three neighbours, shape (n_frames, n_centres)."""
    points = np.asarray(frames[:, centres], dtype=float)
    arms = points[:, :, 1:] - points[:, :, :1]
    arms /= np.maximum(np.linalg.norm(arms, axis=3, keepdims=True), 1e-9)
    return np.einsum("fci,fci->fc", np.cross(arms[:, :, 0], arms[:, :, 1]), arms[:, :, 2])
