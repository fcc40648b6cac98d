"""From the files of a molecule to its topology, positions and OpenMM System, one function per format.

All formats end in the same three things, with the same treatment of long-range forces, constraints and masses
where the format leaves that open: only an OpenMM System has decided it already.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import MolecularSystemError, first_line
from aecv.ground.settings import TITLES
from aecv.molecules.gromacs_text import gromacs_text
from aecv.molecules.spec import SystemSpec
from aecv.sampling.system.force_field import forcefield_hint, forcefield_of
from aecv.sampling.system.structure import Coordinates, openmm_name, read_coordinates, residue_title
from aecv.sampling.system.system_xml import read_system_xml

_THERMOSTATS = (openmm.AndersenThermostat,)


@dataclass(frozen=True, kw_only=True, eq=False)
class Molecule:
    """What every format ends in.

    Attributes:
        topology: OpenMM's topology.
        positions: shape (N, 3) [nm].
        system: OpenMM's System with the physical forces.
    """

    topology: app.Topology
    positions: FloatArray
    system: openmm.System


def read_molecule(spec: SystemSpec) -> Molecule:
    """The molecule that a spec's files describe.

    Raises:
        MolecularSystemError: when a file cannot be read, files do not belong together, the forces do not know
            every atom, or the settings ask for a box that the files do not have.
    """
    coordinates = read_coordinates(spec.structure_path)
    settings = spec.settings.system
    topology, system = _READERS[settings.format](spec, coordinates)
    n_atoms = topology.getNumAtoms()
    if len(coordinates.positions) != n_atoms or system.getNumParticles() != n_atoms:
        raise MolecularSystemError(
            f"{spec.structure_path}: needs the atoms of {_source(spec)}, got {len(coordinates.positions)} "
            f"positions for {n_atoms} atoms and {system.getNumParticles()} particles; give files that belong "
            "together"
        )
    return Molecule(topology=topology, positions=coordinates.positions, system=system)


def _from_forcefield(spec: SystemSpec, coordinates: Coordinates) -> tuple[app.Topology, openmm.System]:
    topology = coordinates.topology
    assert topology is not None  # the settings take .pdb and .cif alone here
    _require_box(spec, topology)
    try:
        # The centre of mass decouples from everything internal, also under Langevin dynamics. The remover
        # that createSystem adds only keeps molecules from drifting away, where float32 frames lose digits.
        return topology, forcefield_of(spec).createSystem(topology, **_options(spec))
    except MolecularSystemError:
        raise
    except Exception as error:  # OpenMM raises ValueError, KeyError, OSError and plain Exception here
        detail = first_line(error)
        raise MolecularSystemError(
            f"{spec.structure_path}: force field {', '.join(spec.settings.system.forcefield)} needs to know "
            f"every residue and file, got: {detail}{forcefield_hint(spec, detail)}"
        ) from error


def _from_amber(spec: SystemSpec, coordinates: Coordinates) -> tuple[app.Topology, openmm.System]:
    with _reading(spec):
        content = app.AmberPrmtopFile(str(spec.topology_path), periodicBoxVectors=_vectors(coordinates.box))
    _require_box(spec, content.topology)
    with _making_forces(spec):
        return content.topology, content.createSystem(**_options(spec), **_implicit(spec))


def _from_gromacs(spec: SystemSpec, coordinates: Coordinates) -> tuple[app.Topology, openmm.System]:
    include = spec.directory / (spec.settings.system.include or ".")
    with _reading(spec), TemporaryDirectory(prefix="aecv-") as place:
        whole = Path(place) / "whole.top"
        whole.write_text(gromacs_text(spec.topology_path, (include,)).text, errors="replace")
        content = app.GromacsTopFile(
            str(whole),
            periodicBoxVectors=_vectors(coordinates.box),
            includeDir=place,  # left out, OpenMM asks for an installed Gromacs
        )
    _check_order(spec, content.topology, coordinates)
    _require_box(spec, content.topology)
    with _making_forces(spec):
        return content.topology, content.createSystem(**_options(spec))


def _from_charmm(spec: SystemSpec, coordinates: Coordinates) -> tuple[app.Topology, openmm.System]:
    with _reading(spec):
        content = app.CharmmPsfFile(str(spec.topology_path), periodicBoxVectors=_vectors(coordinates.box))
    _check_order(spec, content.topology, coordinates)
    _require_box(spec, content.topology)
    names = ", ".join(spec.settings.system.parameters)
    try:
        parameters = app.CharmmParameterSet(*(str(path) for path in spec.parameter_paths))
    except Exception as error:  # as above
        raise MolecularSystemError(
            f"system.parameters {names}: needs readable CHARMM parameters, the .rtf beside its .prm, got: "
            f"{first_line(error)}"
        ) from error
    with _making_forces(spec):
        return content.topology, content.createSystem(parameters, **_options(spec), **_implicit(spec))


def _from_openmm(spec: SystemSpec, coordinates: Coordinates) -> tuple[app.Topology, openmm.System]:
    topology, path = coordinates.topology, spec.topology_path
    assert topology is not None
    with _reading(spec):
        system = read_system_xml(path)
    if not isinstance(system, openmm.System):
        raise MolecularSystemError(
            f"{path}: needs an OpenMM System, got {type(system).__name__}; write it by "
            "XmlSerializer.serialize(system)"
        )
    for force in system.getForces():
        if isinstance(force, _THERMOSTATS):
            raise MolecularSystemError(
                f"{path}: has an {force.getName()}, and [dynamics] has a thermostat of its own; write the "
                "System without it"
            )
    if system.usesPeriodicBoundaryConditions() and coordinates.box is not None:
        # of the structure, which may be later than the System's
        system.setDefaultPeriodicBoxVectors(*_vectors(coordinates.box))
    return topology, system


_READERS: dict[str, Callable[[SystemSpec, Coordinates], tuple[app.Topology, openmm.System]]] = {
    "forcefield": _from_forcefield,
    "amber": _from_amber,
    "gromacs": _from_gromacs,
    "charmm": _from_charmm,
    "openmm": _from_openmm,
}


def _options(spec: SystemSpec) -> dict[str, Any]:
    """What every createSystem takes of the settings."""
    settings = spec.settings.system
    options: dict[str, Any] = {
        "nonbondedMethod": getattr(app, settings.nonbonded),
        "constraints": None if settings.constraints == "none" else getattr(app, settings.constraints),
    }
    if settings.nonbonded != "NoCutoff":
        options["nonbondedCutoff"] = settings.cutoff_nm * unit.nanometer
    if settings.hydrogen_mass_da is not None:
        options["hydrogenMass"] = settings.hydrogen_mass_da * unit.dalton
    return options


def _implicit(spec: SystemSpec) -> dict[str, Any]:
    """The generalised Born model, and the temperature that its salt would be at."""
    name = spec.settings.system.implicit_solvent
    return {} if name == "none" else {"implicitSolvent": getattr(app, name)}


def _vectors(box: FloatArray | None) -> Any:
    return None if box is None else [openmm.Vec3(*row) for row in box] * unit.nanometer


def _require_box(spec: SystemSpec, topology: app.Topology) -> None:
    settings = spec.settings.system
    if not settings.is_periodic:
        return
    vectors = topology.getPeriodicBoxVectors()
    if vectors is None:
        raise MolecularSystemError(
            f"{spec.structure_path}: system.nonbonded = '{settings.nonbonded}' needs a box, the file has "
            "none; add it (CRYST1 in a .pdb) or choose NoCutoff"
        )
    shortest = float(np.diag(vectors.value_in_unit(unit.nanometer)).min())
    if 2 * settings.cutoff_nm > shortest:
        raise MolecularSystemError(
            f"{spec.structure_path}: its box is {shortest:.3g} nm wide, less than twice system.cutoff_nm "
            f"{settings.cutoff_nm:g}; lower that, make a larger box, or choose NoCutoff"
        )


def _check_order(spec: SystemSpec, topology: app.Topology, coordinates: Coordinates) -> None:
    """Names of atoms agree in both files; a CHARMM .pdb cuts residue names, so that these do not count."""
    if coordinates.names is None or topology.getNumAtoms() != len(coordinates.names):
        return
    for atom, (residue, name) in zip(topology.atoms(), coordinates.names, strict=True):
        # a CHARMM .pdb cuts residue names, by which the other table of names would be taken
        as_named = {
            _plain(name),
            _plain(openmm_name(residue, name)),
            _plain(openmm_name(atom.residue.name, name)),
        }
        if _plain(atom.name) not in as_named:
            raise MolecularSystemError(
                f"{spec.structure_path}: needs the atoms of {_source(spec)} in the same order; atom "
                f"{atom.index + 1} is {name}, there it is {atom.name} of {residue_title(atom.residue)}; give "
                "files that belong together"
            )


def _plain(name: str) -> str:
    """The letters of an atom's name: programs disagree on where its digits stand (1HB, HB1)."""
    return "".join(letter for letter in name if letter.isalpha()).upper()


def _source(spec: SystemSpec) -> str:
    return spec.settings.system.topology or TITLES["forcefield"]


@contextmanager
def _reading(spec: SystemSpec) -> Iterator[None]:
    """Whatever a reader of OpenMM raises becomes an error that names the file."""
    title = TITLES[spec.settings.system.format]
    try:
        with redirect_stdout(StringIO()):  # the one of CHARMM prints what it also raises
            yield
    except MolecularSystemError:
        raise
    except Exception as error:  # OpenMM's readers raise what their parsing happens to hit
        raise MolecularSystemError(
            f"{spec.topology_path}: needs {title} that OpenMM can read, got: {type(error).__name__}: "
            f"{first_line(error)}"
        ) from error


@contextmanager
def _making_forces(spec: SystemSpec) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # as above
        raise MolecularSystemError(
            f"{spec.topology_path}: needs parameters for all of its atoms and terms, and settings that fit "
            f"it, got: {first_line(error)}"
        ) from error
