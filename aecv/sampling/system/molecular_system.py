"""From a system's description to OpenMM objects, and the platform that runs them fastest."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import mdtraj
import numpy as np
import openmm
from openmm import app, unit

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import (
    AecvError,
    CVError,
    MolecularSystemError,
    SettingsError,
)
from aecv.molecules.bonds import BondLengths, Images
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.molecules.selection import select_atoms
from aecv.molecules.solvent import n_solute_atoms
from aecv.molecules.spec import SystemSpec, check_unchanged
from aecv.molecules.stereochemistry import StereoReference
from aecv.molecules.subject import Subject, check_alignable
from aecv.sampling.system.barostats import barostats_of
from aecv.sampling.system.bond_lengths import bond_lengths
from aecv.sampling.system.images import find_images, system_box
from aecv.sampling.system.molecule import read_molecule
from aecv.sampling.system.particle import particle_system, particle_topology
from aecv.sampling.system.platforms import PlatformChoice, choose_platform

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MolecularSystem(Subject):
    """A molecular system ready to be simulated. Pickled, it is its spec, from which it is built again.

    Its `positions` are those of the structure file with whole molecules, or the first start of a particle.

    Attributes:
        topology: OpenMM's topology.
        system: OpenMM's System with the physical forces only.
        masses: atomic masses [Da], shape (N,).
    """

    topology: app.Topology
    system: openmm.System
    masses: FloatArray

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.spec,)

    @property
    def n_atoms(self) -> int:
        return len(self.masses)

    @property
    def start_positions(self) -> FloatArray:
        """What the search for starts begins with: the structure, or a particle's starts [nm], (n, N, 3)."""
        particle = self.spec.settings.particle
        if particle is None:
            return self.positions[None]
        return np.array([[[x, y, 0.0]] for x, y in particle.starts_nm])

    @cached_property
    def bonds(self) -> BondLengths:
        """Bonds of the solute with the lengths that the force field gives them."""
        return bond_lengths(self.mdtraj_topology, self.positions, self.system, self.n_solute_atoms)

    @cached_property
    def images(self) -> Images:
        """How frames are made whole, and the autoencoder's atoms; bonds are also those of the forces."""
        return self.images_along(self.cv_atom_indices)

    def images_along(self, atoms: IntArray) -> Images:
        """The same around the atoms of another CV."""
        return find_images(self.topology, self.system, self.positions, atoms, self.linked_atoms)

    @property
    def box_images(self) -> Images | None:
        """`images` of a periodic system; None for any other, whose molecules cannot be cut."""
        return self.images if self.is_periodic else None

    @property
    def is_periodic(self) -> bool:
        """Whether it has a box."""
        return bool(self.system.usesPeriodicBoundaryConditions())

    def check_atoms(self, atoms: IntArray, *, place: str) -> None:
        """Refuse atoms that frames do not hold, and those that do not move by themselves.

        Raises:
            CVError: then.
        """
        if atoms.max() < self.n_atoms:
            _check_massive(self.system, self.mdtraj_topology, atoms, place=place, error=CVError)
        super().check_atoms(atoms, place=place)


def build(spec: SystemSpec) -> MolecularSystem:
    """Read the structure, apply the force field and find the atoms of the CV and the observables.

    Raises:
        MolecularSystemError: when a file cannot be read, the force field is not known or does not fit the
            structure, a selection fails, or the domain of a particle does not hold its potential.
    """
    if (particle := spec.settings.particle) is None:
        molecule = read_molecule(spec)
        topology, positions, system = molecule.topology, molecule.positions, molecule.system
    else:
        topology, positions = particle_topology(), np.array([[*particle.starts_nm[0], 0.0]])
        system = particle_system(spec)
    _check_barostat(spec, system)
    mdtraj_topology = mdtraj.Topology.from_openmm(topology)
    cv_atoms = select_atoms(mdtraj_topology, spec.settings.cv.atoms, place="cv.atoms")
    _check_massive(system, mdtraj_topology, cv_atoms, place="cv.atoms", error=MolecularSystemError)
    n_solute = n_solute_atoms(mdtraj_topology)
    if system.usesPeriodicBoundaryConditions():
        images = find_images(topology, system, positions, cv_atoms, np.arange(n_solute))
        positions = np.asarray(images.whole(positions, system_box(system)), dtype=float)
    if spec.settings.cv.align:
        check_alignable(cv_atoms, positions)
    masses = [system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())]
    return MolecularSystem(
        spec=spec,
        topology=topology,
        mdtraj_topology=mdtraj_topology,
        positions=positions,
        system=system,
        cv_atom_indices=cv_atoms,
        masses=np.array(masses),
        observables=ObservableSet.prepare(mdtraj_topology, spec.settings.observables, positions=positions),
        stereo=StereoReference.from_structure(mdtraj_topology, positions),
        n_solute_atoms=n_solute,
    )


def _rebuilt(spec: SystemSpec) -> MolecularSystem:
    """The system of a spec that was sent to another process; its files are still what they were."""
    check_unchanged(spec)
    return build(spec)


def _check_barostat(spec: SystemSpec, system: openmm.System) -> None:
    """Refuse a pressure where there is no box, or a second barostat."""
    if spec.settings.barostat.pressure_bar is None:
        return
    if not system.usesPeriodicBoundaryConditions():
        raise MolecularSystemError(
            f"barostat.pressure_bar needs a periodic box, the System of '{spec.name}' has none; take it out"
        )
    for own in barostats_of(system):
        raise MolecularSystemError(
            f"barostat.pressure_bar: the System of '{spec.name}' has a {type(own).__name__} already; take "
            "that out of its file, or barostat.pressure_bar out of the settings"
        )


def _check_massive(
    system: openmm.System, topology: mdtraj.Topology, atoms: IntArray, *, place: str, error: type[AecvError]
) -> None:
    """Refuse virtual sites, which follow other atoms, and atoms that are held by a mass of 0."""
    for index in map(int, atoms):
        if system.isVirtualSite(index) or system.getParticleMass(index).value_in_unit(unit.dalton) == 0:
            what = "a virtual site" if system.isVirtualSite(index) else "held in place by a mass of 0"
            raise error(
                f"{place}: needs atoms that move by themselves, {topology.atom(index)} (index {index}) is "
                f"{what}; leave it out"
            )


def make_context(
    molecular_system: MolecularSystem,
    *,
    platform: PlatformChoice | str | None = None,
    extra_forces: Sequence[openmm.Force] = (),
    seed: int,
    temperature: float | None = None,
    timestep: float | None = None,
    constant_pressure: bool | None = None,
) -> tuple[openmm.Context, openmm.LangevinMiddleIntegrator]:
    """A Context at the structure's positions without velocities, and its integrator.

    The random generator of the Reference platform belongs to the process: creating or reinitialising any
    Context seeds it anew. A run repeats only when no other Context is created or run between this call and
    its end. The Contexts of one process are therefore used one after the other.

    Args:
        molecular_system: what is simulated.
        platform: a choice, a name, or None for the settings' dynamics.platform.
        extra_forces: added to a copy of the System, which takes them over; a force serves one call.
        seed: of the thermostat, 1 .. 2^31-1, from `ground.seeds.seed_31bit`.
        temperature: [K]; None for the settings' dynamics.temperature_k.
        timestep: [ps]; None for the settings' dynamics.timestep_ps.
        constant_pressure: whether to add a barostat; None for the settings' barostat.always.

    Raises:
        SettingsError: when the platform is not there or cannot simulate the system.
    """
    dynamics = molecular_system.spec.settings.dynamics
    if not isinstance(platform, PlatformChoice):
        platform = choose_platform(molecular_system.system, platform or dynamics.platform)
    system = molecular_system.system
    barostat = molecular_system.spec.settings.barostat
    if constant_pressure is None:
        constant_pressure = barostat.always
    forces = list(extra_forces)
    if constant_pressure and barostat.pressure_bar is not None:
        kelvin = dynamics.temperature_k if temperature is None else temperature
        forces.append(openmm.MonteCarloBarostat(barostat.pressure_bar, kelvin, barostat.interval_steps))
    if forces:
        system = copy.deepcopy(system)
        for force in forces:
            system.addForce(force)
    integrator = openmm.LangevinMiddleIntegrator(
        dynamics.temperature_k if temperature is None else temperature,
        dynamics.friction_per_ps,
        dynamics.timestep_ps if timestep is None else timestep,
    )
    integrator.setRandomNumberSeed(seed)
    try:
        context = openmm.Context(system, integrator, platform.platform, dict(platform.properties))
    except openmm.OpenMMException as error:
        raise SettingsError(
            f"dynamics.platform: {platform.platform.getName()} cannot simulate "
            f"'{molecular_system.spec.name}' ({error}); choose another with --platform"
        ) from error
    context.setPositions(molecular_system.positions)
    return context, integrator
