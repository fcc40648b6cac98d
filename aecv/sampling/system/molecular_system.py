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

from aecv.ground.errors import (
    AecvError,
    AlignmentError,
    CVError,
    MolecularSystemError,
    SettingsError,
)
from aecv.ground.grid import FloatArray, IntArray
from aecv.models.cvs.cv import CV
from aecv.molecules.observables import ObservableSet, select_atoms
from aecv.molecules.solvent import n_solute_atoms
from aecv.molecules.spec import SystemSpec, check_unchanged
from aecv.molecules.stereochemistry import StereoReference
from aecv.numerics.kernels.encoder import NO_REFERENCE, align
from aecv.sampling.system.barostats import barostats_of
from aecv.sampling.system.images import Images, find_images, system_box
from aecv.sampling.system.molecule import read_molecule
from aecv.sampling.system.particle import particle_system, particle_topology
from aecv.sampling.system.platforms import PlatformChoice, choose_platform

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class MolecularSystem:
    """A molecular system ready to be simulated. Pickled, it is its spec, from which it is built again.

    Attributes:
        spec: where it comes from, with all settings.
        topology: OpenMM's topology.
        mdtraj_topology: the same atoms for mdtraj.
        positions: positions of the structure file with whole molecules, or the first start of a particle
            [nm], shape (N, 3).
        system: OpenMM's System with the physical forces only.
        cv_atom_indices: the atoms that the collective variable sees, shape (n_cv_atoms,).
        masses: atomic masses [Da], shape (N,).
        observables: the observables of the spec with their atoms.
        stereo: chirality and cis-trans state of the structure.
        n_solute_atoms: atoms up to the last one that is neither water nor an ion.
    """

    spec: SystemSpec
    topology: app.Topology
    mdtraj_topology: mdtraj.Topology
    positions: FloatArray
    system: openmm.System
    cv_atom_indices: IntArray
    masses: FloatArray
    observables: ObservableSet
    stereo: StereoReference
    n_solute_atoms: int

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

    @property
    def cv_reference(self) -> FloatArray:
        """What frames are aligned onto, shape (n_cv_atoms, 3) [nm]; (0, 3) where they are not aligned."""
        return self.positions[self.cv_atom_indices] if self.spec.settings.cv.align else NO_REFERENCE

    @property
    def heavy_atom_indices(self) -> IntArray:
        """Indices of the solute's atoms but hydrogens, shape (n_heavy,)."""
        atoms = list(self.mdtraj_topology.atoms)[: self.n_solute_atoms]
        return np.array([a.index for a in atoms if a.element.symbol not in ("H", "VS")], dtype=np.int64)

    @property
    def is_solvated(self) -> bool:
        """Whether water or ions follow the solute."""
        return self.n_solute_atoms < self.n_atoms

    @property
    def n_frame_atoms(self) -> int:
        """Leading atoms that frames hold: with sampling.frames = "solute" those of the solute, and any
        further ones that the autoencoder or an observable needs."""
        if self.spec.settings.sampling.frames == "all":
            return self.n_atoms
        used = [self.cv_atom_indices, *self.observables.indices.values()]
        return max(self.n_solute_atoms, *(1 + int(atoms.max()) for atoms in used))

    @cached_property
    def images(self) -> Images:
        """How frames are made whole, and the autoencoder's atoms."""
        return self.images_along(self.cv_atom_indices)

    def images_along(self, atoms: IntArray) -> Images:
        """The same around the atoms of another CV."""
        used = [np.arange(self.n_solute_atoms), *(rows.ravel() for rows in self.observables.indices.values())]
        return find_images(self.topology, self.system, self.positions, atoms, np.unique(np.concatenate(used)))

    @property
    def box_images(self) -> Images | None:
        """`images` of a periodic system; None for any other, whose molecules cannot be cut."""
        return self.images if self.is_periodic else None

    @property
    def is_periodic(self) -> bool:
        """Whether it has a box."""
        return bool(self.system.usesPeriodicBoundaryConditions())

    @property
    def frame_topology(self) -> mdtraj.Topology:
        """The atoms that frames hold."""
        n = self.n_frame_atoms
        return self.mdtraj_topology if n == self.n_atoms else self.mdtraj_topology.subset(np.arange(n))


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
        _check_alignable(cv_atoms, positions)
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


def _check_alignable(cv_atoms: IntArray, positions: FloatArray) -> None:
    """Rotations onto a reference are unique only for three atoms or more that are not on a line."""
    if len(cv_atoms) < 3:
        raise MolecularSystemError(
            f"cv.atoms: needs at least 3 atoms to superpose frames on each other, got {len(cv_atoms)}; "
            "widen the selection"
        )
    try:
        align(positions[cv_atoms], positions[None, cv_atoms])
    except AlignmentError as error:
        raise MolecularSystemError(
            "cv.atoms: needs atoms that are not on a line, to superpose frames on each other; widen the "
            "selection"
        ) from error


def check_atoms(system: MolecularSystem, cv: CV) -> None:
    """Refuse a CV of atoms that the system does not have.

    Raises:
        CVError: then.
    """
    if cv.atom_indices.max() >= system.n_atoms:
        raise CVError(
            f"engine: {cv.source} needs atom {cv.atom_indices.max()}, '{system.spec.name}' has "
            f"{system.n_atoms} atoms; it belongs to another system"
        )
    _check_massive(
        system.system, system.mdtraj_topology, cv.atom_indices, place=f"engine: {cv.source}", error=CVError
    )
    if cv.atom_indices.max() >= system.n_frame_atoms:
        raise CVError(
            f"engine: {cv.source} needs atom {cv.atom_indices.max()}, frames hold the first "
            f'{system.n_frame_atoms} atoms, without the solvent; set sampling.frames = "all"'
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
