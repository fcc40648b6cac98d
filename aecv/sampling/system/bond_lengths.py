"""Bonds of a system whose lengths are known: what tells frames of it from frames of anything else."""

import mdtraj
import numpy as np
import openmm
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.molecules.bonds import BondLengths, listed_lengths

_STIFF = 0.04
"""Thermal width over length up to which a spring counts as a bond. Of covalent bonds it is at most 0.05 for
the softest with hydrogen, but these are constrained or bonded in the topology; springs between far atoms
(elastic networks, restraints) are softer, and conformations stretch them."""
_RT = 2.494
"""At 300 K [kJ/mol]."""


def bond_lengths(
    topology: mdtraj.Topology, positions: FloatArray, system: openmm.System, n_solute_atoms: int
) -> BondLengths:
    """Bonds of the solute with their lengths at rest.

    Constraints and stiff harmonic bonds have the length that the force field gives them; bonds that the
    topology alone lists, that of the structure.

    Args:
        positions: of the structure with whole molecules, shape (N, 3) [nm].
    """
    rest = listed_lengths(topology, positions)
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                first, second, length, strength = force.getBondParameters(index)
                r0 = length.value_in_unit(unit.nanometer)
                k = strength.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
                pair = (min(first, second), max(first, second))
                if r0 > 0 and k > 0 and (pair in rest or np.sqrt(_RT / k) <= _STIFF * r0):
                    rest[pair] = r0
    for index in range(system.getNumConstraints()):
        first, second, length = system.getConstraintParameters(index)
        rest[min(first, second), max(first, second)] = length.value_in_unit(unit.nanometer)
    return BondLengths.of(rest, min(n_solute_atoms, topology.n_atoms))
