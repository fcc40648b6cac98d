"""Which atoms of a system are placed next to which, so that molecules and collective variables are whole.

OpenMM keeps a molecule in one piece if it began in one, since forces along bonds know no box; but it lets two
molecules drift apart by a box vector, and its GPU platforms put each one back into the box for itself.
"""

import numpy as np
import openmm
from openmm import app, unit

from aecv.ground.arrays import FloatArray, IntArray
from aecv.molecules.bonds import Images


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
    return Images.along(bonds, positions, system_box(system), cv_atoms=cv_atoms, linked=linked)


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
