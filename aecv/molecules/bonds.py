"""Bonds of a molecule and their lengths, and the trees of bonds along which frames are made whole."""

from collections.abc import Mapping
from dataclasses import dataclass

import mdtraj
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.numerics.geometry.spanning_tree import SpanningTree, molecules_of, tree_of_all, tree_of_some
from aecv.numerics.geometry.whole import make_whole

_NONMETALS = frozenset(("H", "D", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I", "VS"))
"""Elements, and beads, that keep the bonds that a topology lists; metals exchange theirs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BondLengths:
    """Bonds and their lengths.

    Attributes:
        pairs: of atoms, shape (n_bonds, 2).
        lengths: shape (n_bonds,) [nm].
    """

    pairs: IntArray
    lengths: FloatArray

    @classmethod
    def of(cls, lengths: Mapping[tuple[int, int], float], n_atoms: int) -> "BondLengths":
        """Those of the first n_atoms atoms, in order."""
        kept = sorted((pair, length) for pair, length in lengths.items() if pair[1] < n_atoms and length > 0)
        return cls(
            pairs=np.array([pair for pair, _ in kept], dtype=np.int64).reshape(-1, 2),
            lengths=np.array([length for _, length in kept], dtype=float),
        )


def listed_lengths(topology: mdtraj.Topology, positions: FloatArray) -> dict[tuple[int, int], float]:
    """Lengths in a structure of the bonds that a topology lists [nm], by pairs, lower index first."""
    found: dict[tuple[int, int], float] = {}
    for first, second in topology.bonds:
        if {first.element.symbol, second.element.symbol} <= _NONMETALS:
            pair = (min(first.index, second.index), max(first.index, second.index))
            found[pair] = float(np.linalg.norm(positions[pair[0]] - positions[pair[1]]))
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Trees along which frames and a CV are made whole; both give the CV's atoms the same images.

    Attributes:
        cv_tree: of the places in the CV's list of atoms.
        tree: of all atoms, with the links of the CV's; molecules of the solvent stay where they are.
        n_molecules: of which the CV has atoms.
    """

    cv_tree: SpanningTree
    tree: SpanningTree
    n_molecules: int

    @classmethod
    def along(
        cls, bonds: IntArray, positions: FloatArray, box: FloatArray, *, cv_atoms: IntArray, linked: IntArray
    ) -> "Images":
        """The trees for a CV of some atoms.

        Args:
            bonds: pairs of bonded atoms, shape (n_bonds, 2).
            positions: of a reference structure, whose molecules may be cut, shape (N, 3) [nm].
            box: its vectors, shape (3, 3) [nm]; zeros for none.
            cv_atoms: shape (n_cv_atoms,).
            linked: atoms whose molecules are kept near the CV's.
        """
        cv_tree = tree_of_some(cv_atoms, bonds, positions, box)
        return cls(
            cv_tree=cv_tree.among(cv_atoms),
            tree=tree_of_all(cv_tree, bonds, linked, positions, box),
            n_molecules=len(np.unique(molecules_of(bonds, len(positions))[cv_atoms])),
        )

    def whole(self, positions: ArrayLike, box: ArrayLike) -> NDArray[np.floating]:
        """Copies of frames with whole molecules; see `numerics.whole.make_whole`.

        Args:
            positions: of all atoms, or of the first ones up to the solvent, shape (..., n, 3) [nm].
            box: shape (3, 3) or one per frame [nm].
        """
        return make_whole(positions, box, self.tree.leading(np.shape(positions)[-2]))

    def whole_cv(self, positions: ArrayLike, box: ArrayLike) -> NDArray[np.floating]:
        """The same with positions of the CV's atoms alone, shape (..., n_cv_atoms, 3) [nm]."""
        return make_whole(positions, box, self.cv_tree)
