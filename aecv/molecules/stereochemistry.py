"""The stereochemistry of frames: what a bias must not change."""

from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import BoolArray, IntArray
from aecv.molecules.geometry import checked_frames, dihedrals


@dataclass(frozen=True, kw_only=True)
class StereoReference:
    """Chirality and peptide-bond state of a structure, to compare frames with.

    An inverted alpha carbon or a peptide bond that turned over means that a bias has torn at the molecule:
    at 300 K neither happens on the time scale of a simulation (barriers of about 80 kJ/mol and more).

    Attributes:
        centres: N, CA, C and CB of every residue that has them, shape (n_centres, 4).
        handedness: sign of (N - CA) x (C - CA) . (CB - CA); +1 for L amino acids, shape (n_centres,).
        peptide_bonds: carbon, C, N and carbon of every peptide bond, shape (n_bonds, 4).
        trans: whether |omega| > pi/2, shape (n_bonds,).
    """

    centres: IntArray
    handedness: IntArray
    peptide_bonds: IntArray
    trans: BoolArray

    @classmethod
    def from_structure(cls, topology: mdtraj.Topology, positions: ArrayLike) -> "StereoReference":
        """The reference that a structure gives; positions [nm], shape (N, 3). Bonds need to be known."""
        centres = _alpha_carbons(topology)
        peptide_bonds = _peptide_bonds(topology)
        frames = checked_frames(np.asarray(positions, dtype=float)[None], topology.n_atoms)
        return cls(
            centres=centres,
            handedness=_handedness(frames, centres)[0],
            peptide_bonds=peptide_bonds,
            trans=_is_trans(frames, peptide_bonds)[0],
        )

    def inverted(self, xyz: ArrayLike) -> BoolArray:
        """Whether any centre has the other handedness, per frame; (F, N, 3) -> (F,)."""
        frames = checked_frames(xyz, 1 + int(self.centres.max(initial=-1)))
        return np.asarray(np.any(_handedness(frames, self.centres) != self.handedness, axis=1))

    def turned(self, xyz: ArrayLike) -> BoolArray:
        """Whether any peptide bond is cis instead of trans or the reverse, per frame; (F, N, 3) -> (F,)."""
        frames = checked_frames(xyz, 1 + int(self.peptide_bonds.max(initial=-1)))
        return np.asarray(np.any(_is_trans(frames, self.peptide_bonds) != self.trans, axis=1))

    def count_changes(self, xyz: ArrayLike) -> tuple[int, int]:
        """Number of frames with an inverted centre and number with a turned peptide bond; xyz (F, N, 3)."""
        return int(np.count_nonzero(self.inverted(xyz))), int(np.count_nonzero(self.turned(xyz)))


def _alpha_carbons(topology: mdtraj.Topology) -> IntArray:
    rows = []
    for residue in topology.residues:
        named = {atom.name: atom.index for atom in residue.atoms}
        if {"N", "CA", "C", "CB"} <= named.keys():
            rows.append([named[name] for name in ("N", "CA", "C", "CB")])
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _peptide_bonds(topology: mdtraj.Topology) -> IntArray:
    """Rows of carbon, C, N, carbon around each bond between a carbonyl C and an N that carries a carbon.

    They are found by bonds rather than by names, so that caps (ACE, NME) count as well. Where N carries two
    further carbons (proline), the one named CA is meant.
    """
    neighbours: dict[int, list[mdtraj.core.topology.Atom]] = {atom.index: [] for atom in topology.atoms}
    for first, second in topology.bonds:
        neighbours[first.index].append(second)
        neighbours[second.index].append(first)
    rows = []
    for pair in topology.bonds:
        for carbon, nitrogen in (pair, tuple(pair)[::-1]):
            before = [a for a in neighbours[carbon.index] if a.element.symbol == "C"]
            oxygens = [a for a in neighbours[carbon.index] if a.element.symbol == "O"]
            after = [
                a for a in neighbours[nitrogen.index] if a.element.symbol == "C" and a.index != carbon.index
            ]
            if (carbon.element.symbol, nitrogen.element.symbol) != ("C", "N"):
                continue
            if len(before) == 1 and len(oxygens) == 1 and after:
                rows.append([_preferred(before), carbon.index, nitrogen.index, _preferred(after)])
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _preferred(atoms: Sequence[mdtraj.core.topology.Atom]) -> int:
    return int(min(atoms, key=lambda atom: (atom.name != "CA", atom.index)).index)


def _handedness(frames: NDArray[np.floating], centres: IntArray) -> IntArray:
    nitrogen, alpha, carbon, beta = np.moveaxis(np.asarray(frames[:, centres], dtype=float), 2, 0)
    volume = np.einsum("fci,fci->fc", np.cross(nitrogen - alpha, carbon - alpha), beta - alpha)
    return np.sign(volume).astype(np.int64)


def _is_trans(frames: NDArray[np.floating], peptide_bonds: IntArray) -> BoolArray:
    points = np.asarray(frames[:, peptide_bonds], dtype=float)
    omega = dihedrals(points.reshape(-1, 4, 3)).reshape(points.shape[:2])
    return np.asarray(np.abs(omega) > np.pi / 2)
