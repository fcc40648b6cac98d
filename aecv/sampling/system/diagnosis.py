"""Where forces are largest, and which term they come from: of odd structures and of runs that explode."""

import copy
from dataclasses import dataclass

import numpy as np
import openmm
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SimulationError, first_line
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.sampling.system.platforms import choose_platform
from aecv.sampling.system.structure import residue_title

HUGE = 1e5
"""A force that no sound structure has [kJ/mol/nm]: a bond stretched by 0.3 nm, or atoms on top of each other;
at 300 K the largest ones are some 1e4."""
_WORDS = {
    "HarmonicBondForce": "bonds",
    "HarmonicAngleForce": "angles",
    "PeriodicTorsionForce": "torsions",
    "RBTorsionForce": "torsions",
    "CustomTorsionForce": "impropers",
    "CMAPTorsionForce": "CMAP corrections",
    "NonbondedForce": "electrostatics and van der Waals",
    "CustomNonbondedForce": "van der Waals",
    "CustomBondForce": "1-4 pairs",
    "GBSAOBCForce": "implicit solvent",
    "CustomGBForce": "implicit solvent",
}
_N_GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class Term:
    """One force of a System at given positions.

    Attributes:
        name: in words.
        energy: [kJ/mol]
        largest: largest force on an atom [kJ/mol/nm].
        atom: the atom that has it.
    """

    name: str
    energy: float
    largest: float
    atom: int


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The physical forces at given positions.

    Attributes:
        energy: potential energy [kJ/mol].
        largest: largest force on an atom, all terms together [kJ/mol/nm].
        atom: that atom.
        atom_name: as a person calls it.
        term: the term with the largest force on that atom.
        terms: all terms.
    """

    energy: float
    largest: float
    atom: int
    atom_name: str
    term: str
    terms: tuple[Term, ...]

    def __str__(self) -> str:
        force = f"{self.largest:.1e} kJ/mol/nm"
        return f"the largest force, {force}, is on {self.atom_name}, mostly from {self.term}"


def diagnose(system: MolecularSystem, positions: FloatArray, box: FloatArray | None = None) -> Diagnosis:
    """Energies and largest forces, term by term, without any bias.

    Args:
        positions: shape (N, 3) [nm].
        box: box vectors in rows, shape (3, 3) [nm]; None or zeros for the System's own.

    Raises:
        SimulationError: for positions or forces that are not finite.
    """
    if not np.isfinite(positions).all():
        raise SimulationError("diagnosis: needs finite positions, got NaN or infinity")
    separate = copy.deepcopy(system.system)
    names: dict[int, list[str]] = {}
    for index, force in enumerate(separate.getForces()):
        group = min(index, _N_GROUPS - 1)
        force.setForceGroup(group)
        names.setdefault(group, []).append(_WORDS.get(type(force).__name__, force.getName()))
    choice = choose_platform(system.system)
    try:
        context = openmm.Context(
            separate, openmm.VerletIntegrator(0.001), choice.platform, dict(choice.properties)
        )
        if box is not None and np.any(box):
            context.setPeriodicBoxVectors(*box)
        context.setPositions(positions)
        found = {group: _energy_and_forces(context, 1 << group) for group in names}
    except openmm.OpenMMException as error:
        raise SimulationError(f"diagnosis: OpenMM cannot compute the forces: {first_line(error)}") from error
    sizes = {group: np.linalg.norm(forces, axis=1) for group, (_, forces) in found.items()}
    total = np.linalg.norm(sum(forces for _, forces in found.values()), axis=1)
    atom = int(np.argmax(np.nan_to_num(total, nan=np.inf)))
    worst = max(sizes, key=lambda group: float(np.nan_to_num(sizes[group][atom], nan=np.inf)))
    return Diagnosis(
        energy=sum(energy for energy, _ in found.values()),
        largest=float(total[atom]),
        atom=atom,
        atom_name=atom_name(system.topology, atom),
        term=" and ".join(dict.fromkeys(names[worst])),
        terms=tuple(
            Term(
                name=" and ".join(dict.fromkeys(names[group])),
                energy=energy,
                largest=float(sizes[group].max()),
                atom=int(sizes[group].argmax()),
            )
            for group, (energy, _) in found.items()
        ),
    )


def atom_name(topology: app.Topology, index: int) -> str:
    """`CA of ALA 2 (atom 9)`, counted from 1 as in the file."""
    atom = next(atom for atom in topology.atoms() if atom.index == index)
    return f"{atom.name} of {residue_title(atom.residue)} (atom {index + 1})"


def _energy_and_forces(context: openmm.Context, groups: int) -> tuple[float, FloatArray]:
    state = context.getState(energy=True, forces=True, groups=groups)
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return float(energy), np.asarray(forces, dtype=float)
