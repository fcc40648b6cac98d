"""Bonds of a system whose lengths are known: what tells frames of it from frames of anything else."""

from dataclasses import dataclass

import numpy as np
import openmm
from openmm import unit

from aecv.ground.grid import FloatArray, IntArray
from aecv.sampling.system.molecular_system import MolecularSystem

_STIFF = 0.04
"""Thermal width over length up to which a spring counts as a bond. Of covalent bonds it is at most 0.05 for
the softest with hydrogen, but these are constrained or bonded in the topology; springs between far atoms
(elastic networks, restraints) are softer, and conformations stretch them."""
_RT = 2.494
"""At 300 K [kJ/mol]."""
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


def bond_lengths(system: MolecularSystem) -> BondLengths:
    """Bonds of the solute with their lengths at rest.

    Constraints and stiff harmonic bonds have the length that the force field gives them; bonds that the
    topology alone lists, that of the structure.
    """
    rest: dict[tuple[int, int], float] = {}
    atoms = list(system.mdtraj_topology.atoms)
    for first, second in system.mdtraj_topology.bonds:
        if {first.element.symbol, second.element.symbol} <= _NONMETALS:
            pair = (min(first.index, second.index), max(first.index, second.index))
            rest[pair] = float(np.linalg.norm(system.positions[pair[0]] - system.positions[pair[1]]))
    for force in system.system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                first, second, length, strength = force.getBondParameters(index)
                r0 = length.value_in_unit(unit.nanometer)
                k = strength.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2)
                pair = (min(first, second), max(first, second))
                if r0 > 0 and k > 0 and (pair in rest or np.sqrt(_RT / k) <= _STIFF * r0):
                    rest[pair] = r0
    for index in range(system.system.getNumConstraints()):
        first, second, length = system.system.getConstraintParameters(index)
        rest[min(first, second), max(first, second)] = length.value_in_unit(unit.nanometer)
    last = min(system.n_solute_atoms, len(atoms))
    kept = sorted((pair, length) for pair, length in rest.items() if pair[1] < last and length > 0)
    return BondLengths(
        pairs=np.array([pair for pair, _ in kept], dtype=np.int64).reshape(-1, 2),
        lengths=np.array([length for _, length in kept], dtype=float),
    )
