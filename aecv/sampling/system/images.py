"""Which atoms of a system are placed next to which, so that molecules and collective variables are whole.

OpenMM keeps a molecule in one piece if it began in one, since forces along bonds know no box; but it lets two
molecules drift apart by a box vector, and its GPU platforms put each one back into the box for itself.
"""

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import app, unit

from aecv.ground.grid import FloatArray, IntArray
from aecv.numerics.geometry.spanning_tree import SpanningTree, molecules_of, tree_of_all, tree_of_some
from aecv.numerics.geometry.whole import make_whole


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


def find_images(
    topology: app.Topology, system: openmm.System, positions: FloatArray, cv_atoms: IntArray, linked: IntArray
) -> Images:
    """The trees for a CV of some atoms.

    Args:
        positions: of a reference structure, whose molecules may be cut, shape (N, 3) [nm].
        cv_atoms: shape (n_cv_atoms,).
        linked: atoms whose molecules are kept near the CV's.
    """
    bonds = np.array(sorted(bond_pairs(topology, system)), dtype=np.int64).reshape(-1, 2)
    box = system_box(system)
    cv_tree = tree_of_some(cv_atoms, bonds, positions, box)
    tree = tree_of_all(cv_tree, bonds, linked, positions, box)
    return Images(
        cv_tree=cv_tree.among(cv_atoms),
        tree=tree,
        n_molecules=len(np.unique(molecules_of(bonds, len(positions))[cv_atoms])),
    )


def bond_pairs(topology: app.Topology, system: openmm.System | None) -> set[tuple[int, int]]:
    """Pairs of bonded atoms, lower index first: of the topology, the harmonic bonds, the constraints, and
    virtual sites with the atoms that carry them.

    Rigid water has its two hydrogens among them.
    """
    pairs = {(bond[0].index, bond[1].index) for bond in topology.bonds()}
    if system is not None:
        pairs |= {tuple(system.getConstraintParameters(i)[:2]) for i in range(system.getNumConstraints())}
        for force in system.getForces():
            if isinstance(force, openmm.HarmonicBondForce):
                pairs |= {tuple(force.getBondParameters(i)[:2]) for i in range(force.getNumBonds())}
        for index in filter(system.isVirtualSite, range(system.getNumParticles())):
            site = system.getVirtualSite(index)
            pairs |= {(index, site.getParticle(k)) for k in range(site.getNumParticles())}
    return {(min(pair), max(pair)) for pair in pairs}


def system_box(system: openmm.System) -> FloatArray:
    """Box vectors that a System begins with, shape (3, 3) [nm]; zeros where it is not periodic."""
    if not system.usesPeriodicBoundaryConditions():
        return np.zeros((3, 3))
    vectors = system.getDefaultPeriodicBoxVectors()
    return np.array([v.value_in_unit(unit.nanometer) for v in vectors], dtype=float)
