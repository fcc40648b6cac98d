"""A new system's folder: files copied, the rest guessed, and validated before it is put in place."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from openmm import app, unit

from aecv.ground.errors import AecvError, MolecularSystemError, StoreError, WriteError
from aecv.ground.files import new_folder, replaced_folder, write_text
from aecv.ground.grid import FloatArray
from aecv.ground.names import NAME
from aecv.ground.observable_settings import ObservableSettings
from aecv.ground.shown import Shown
from aecv.models.observables import ObservableSet
from aecv.models.spec import load_system, shipped_systems
from aecv.models.system_files import FILE_NAME
from aecv.sampling import findings
from aecv.sampling.diagnosis import HUGE, diagnose
from aecv.sampling.force_field import forcefield_of
from aecv.sampling.images import system_box
from aecv.sampling.molecule import Molecule, read_molecule
from aecv.sampling.preparation import Preparation
from aecv.sampling.structure import read_coordinates, residue_number
from aecv.sampling.system import build
from aecv.workflow import guesses
from aecv.workflow.contents import Contents
from aecv.workflow.guesses import Guess
from aecv.workflow.own_folder import why_not_ours, write_marks
from aecv.workflow.sources import Sources, check_sources, copied, copy_files
from aecv.workflow.system_toml import Proposal, pair, render

_RIGHT_HANDED = (0.0, 2.2)
"""phi of the region that a residue visits seldom, the other side of its highest barrier [rad]."""


class _Unknown(MolecularSystemError):
    """The force field does not know residues of the structure."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Initialised(Shown):
    """A folder that was written.

    Attributes:
        folder: where.
        notes: what was guessed, name and words.
        findings: what looks wrong already.
    """

    folder: Path
    notes: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]


def initialise(folder: Path | str, sources: Sources | Path | str, *, force: bool = False) -> Initialised:
    """Write a system's folder: its files and a system.toml with everything guessed, tried and explained.

    The system is built from the folder, its selections and observables are evaluated and its energy is
    computed before the folder is put in place. A structure that no force field knows as it is gets its
    hydrogens and loses the waters that do not fill its box, as pdb2gmx and tleap complete a structure, and
    `notes` say so.

    Args:
        folder: a new one; its name becomes the system's.
        sources: the files that describe the molecule, or a structure alone; they are copied into the folder.
        force: overwrite a folder that was written here and has not changed since.

    Raises:
        MolecularSystemError: when a file is missing, of an unknown kind, or cannot be read, or no System
            comes of them.
        StoreError: when there is something of that name already, or it cannot be written.
        SettingsError: when the settings that come out are not valid.

    Example:
        >>> import aecv
        >>> made = aecv.initialise("mine", aecv.load_system("ala2").structure_path)
        >>> str(made.folder)
        'mine'
    """
    folder = Path(folder)
    sources = sources if isinstance(sources, Sources) else Sources(structure=Path(sources))
    _check_name(folder)
    check_sources(sources)
    _check_place(folder, force)
    exists = folder.is_dir() and any(folder.iterdir())
    try:
        with (replaced_folder if exists else new_folder)(folder) as place:
            place = place.resolve()
            try:
                made = _first_that_works(folder, sources, place)
            except AecvError as error:
                error.args = _in_the_users_words(error.args, place, sources)
                raise
            write_marks(place)
    except WriteError as error:
        remedy = error.remedy.replace("another --out", "another NAME")
        raise WriteError(folder, error.reason, remedy) from error
    return made


def _first_that_works(folder: Path, sources: Sources, place: Path) -> Initialised:
    """The files as they are; else completed; else an error that says what helps, where something does."""
    try:
        return _make(folder, sources, sources.preparation, place)
    except _Unknown:
        completed = _completed(sources)
        if completed is None:
            raise
    try:
        return _make(folder, sources, completed, place)
    except MolecularSystemError as error:
        bare = replace(completed, drop_solvent=True, drop_water=False)
        if completed.padding_nm is None and completed != bare and _works(folder, sources, bare, place):
            raise MolecularSystemError(f"{error}; without water and ions it works: --drop-solvent") from error
        raise


def _completed(sources: Sources) -> Preparation | None:
    """What a structure mostly lacks, or has too much; None where that was asked for already."""
    if sources.format != "forcefield":
        return None
    coordinates = read_coordinates(sources.structure)
    assert coordinates.topology is not None
    contents = _contents(coordinates.topology, coordinates.positions)
    wanted = sources.preparation
    evaporates = contents.n_water > 0 and not contents.is_solvated and wanted.padding_nm is None
    completed = replace(wanted, add_hydrogens=True, drop_water=evaporates and not wanted.drop_solvent)
    return None if completed == wanted else completed


def _works(folder: Path, sources: Sources, wanted: Preparation, place: Path) -> bool:
    try:
        _make(folder, sources, wanted, place)
    except MolecularSystemError:
        return False
    return True


def _make(folder: Path, sources: Sources, wanted: Preparation, place: Path) -> Initialised:
    """All files in an empty place, tried."""
    for item in place.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()
    files, done = copy_files(sources, wanted, place)
    proposal, said = _propose(folder.resolve().name, files, sources, place)
    write_text(place / FILE_NAME, render(proposal))
    said += _try(place)
    return Initialised(folder=folder, notes=(*done, *_notes(proposal)), findings=tuple(said))


def _in_the_users_words(arguments: tuple[Any, ...], place: Path, sources: Sources) -> tuple[Any, ...]:
    """An error's texts with the files where the user has them: the copies are gone when it is read."""
    given = (sources.structure, sources.topology, *sources.parameters, *map(Path, sources.forcefield))
    originals = {str(place / path.name): str(path) for path in given if path is not None}

    def told(text: str) -> str:
        for copy, original in originals.items():
            text = text.replace(copy, original)
        return text.replace(f"{place}{os.sep}", "").replace(str(place), "the new folder")

    return tuple(told(item) if isinstance(item, str) else item for item in arguments)


def _check_name(folder: Path) -> None:
    name = folder.resolve().name
    if not re.match(NAME, name):
        raise MolecularSystemError(
            f"'{name}': a system's name needs to begin with a letter and to have letters, digits, _, -"
        )
    if name in shipped_systems():
        raise MolecularSystemError(f"'{name}' is the name of a system that comes with aecv; choose another")


def _check_place(folder: Path, force: bool) -> None:
    """Nothing is overwritten but, on request, what was written here and has not changed since."""
    if not folder.exists():
        return
    against = why_not_ours(folder)
    if force and against is not None:
        raise StoreError(
            f"{folder}: --force overwrites what aecv init wrote, and {against}; choose another name, or "
            "delete it"
        )
    if not force:
        may = "" if against else "; or --force, since it is as aecv init wrote it"
        raise StoreError(
            f"{folder}: exists already, and nothing is overwritten; choose another name, or delete it{may}"
        )


def _propose(
    name: str, files: dict[str, str | tuple[str, ...]], sources: Sources, place: Path
) -> tuple[Proposal, list[str]]:
    """All guesses, and what was left out."""
    said = list(read_coordinates(sources.structure).notes)
    forcefield = _forcefield(sources, place) if sources.format == "forcefield" else None
    molecule = _read(name, files, forcefield, place)
    topology, system = molecule.topology, molecule.system
    contents = _contents(topology, molecule.positions)
    if contents.subject is None:
        raise MolecularSystemError(
            f"{sources.structure}: has nothing but water and ions, and a CV needs a molecule of three atoms "
            "or more"
        )
    said += _solvent_left(contents, sources.format)
    constraints = guesses.guess_constraints(contents, system, sources.format)
    cv_atoms = guesses.guess_cv_atoms(contents)
    observables, failed = _that_work(contents, guesses.guess_observables(contents, str(cv_atoms.value)))
    said += failed
    region, example = _regions(contents, observables)
    nonbonded = None if sources.format == "openmm" else guesses.guess_nonbonded(contents)
    is_periodic = nonbonded is not None and nonbonded.value == "PME"
    proposal = Proposal(
        name=name,
        description=f"{topology.getNumAtoms()} atoms in {topology.getNumResidues()} residues, from "
        f"{sources.structure.name}",
        files=files,
        forcefield=forcefield,
        nonbonded=nonbonded,
        cutoff_nm=guesses.guess_cutoff(contents, sources.format) if is_periodic else None,
        constraints=constraints,
        implicit=sources.format in ("amber", "charmm") and not is_periodic,
        timestep=guesses.guess_timestep(constraints, system),
        cv_atoms=cv_atoms,
        observables=observables,
        region=region,
        example=example,
        starts=guesses.guess_starts(contents),
    )
    return proposal, said


def _forcefield(sources: Sources, place: Path) -> Guess:
    """What was given, files of the user copied; else a guess."""
    if sources.forcefield:
        names = []
        for name in sources.forcefield:
            is_file = Path(name).is_file()
            names.append(copied(Path(name), place) if is_file else name)
        return Guess(value=tuple(names), why="As given with --forcefield.")
    coordinates = read_coordinates(place / sources.structure.name)
    assert coordinates.topology is not None
    contents = _contents(coordinates.topology, coordinates.positions)
    return guesses.guess_forcefield(coordinates.topology, is_solvated=contents.is_solvated)


def _read(
    name: str, files: dict[str, str | tuple[str, ...]], forcefield: Guess | None, place: Path
) -> Molecule:
    """The molecule by the files alone.

    Raises:
        _Unknown: with the residues that the force field does not know, and why.
    """
    keys = {"name": name, **files} | ({} if forcefield is None else {"forcefield": forcefield.value})
    lines = [pair(key, value) for key, value in keys.items()]
    write_text(place / FILE_NAME, "\n".join(["[system]", *lines, "[cv]", 'atoms = "all"', ""]))
    spec = load_system(place)
    try:
        return read_molecule(spec)
    except MolecularSystemError as error:
        if forcefield is None:
            raise
        topology = read_coordinates(spec.structure_path).topology
        assert topology is not None
        unknown = "; ".join(findings.unknown_residues(forcefield_of(spec), topology))
        if not unknown:
            raise
        raise _Unknown(
            f"{spec.structure_path}: {', '.join(spec.settings.system.forcefield)} needs to know every "
            f"residue; {unknown}"
        ) from error


def _contents(topology: app.Topology, positions: FloatArray) -> Contents:
    vectors = topology.getPeriodicBoxVectors()
    box = None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer), dtype=float)
    return Contents(
        topology=mdtraj.Topology.from_openmm(topology),
        positions=positions,
        box=box,
        numbers=tuple(residue_number(residue) for residue in topology.residues()),
    )


def _solvent_left(contents: Contents, file_format: str) -> Iterator[str]:
    if contents.n_water and not contents.is_solvated:
        way = (
            "leave them out with --drop-solvent"
            if file_format == "forcefield"
            else "make the files anew without them"
        )
        yield (
            f"{contents.n_water} waters do not fill a box and would evaporate; {way}, or put the molecule "
            "into a box of water first"
        )


def _that_work(
    contents: Contents, proposed: list[guesses.ObservableGuess]
) -> tuple[tuple[guesses.ObservableGuess, ...], list[str]]:
    """Observables that can be computed of the structure, and words on the others."""
    works, failed = [], []
    for observable in proposed:
        settings = {observable.name: ObservableSettings(kind=observable.kind, atoms=observable.atoms)}
        try:
            found = ObservableSet.prepare(contents.topology, settings, positions=contents.positions)
            values = found.compute(contents.positions[None])[observable.name]
        except AecvError as error:
            failed.append(f"left out: {error}")
            continue
        if np.isfinite(values).all():
            works.append(observable)
        else:
            failed.append(f"left out: observables.{observable.name} is {values[0]} of the structure")
    return tuple(works), failed


def _regions(
    contents: Contents, observables: tuple[guesses.ObservableGuess, ...]
) -> tuple[tuple[str, float, float] | None, tuple[str, float, float] | None]:
    """The region of [delta_f] where it is obvious, and one as an example."""
    names = [observable.name for observable in observables]
    if "phi" in names and len(contents.protein_residues) == 1:
        return ("phi", *_RIGHT_HANDED), None
    distances = [observable for observable in observables if observable.kind == "distance"]
    if distances:
        first, last = (int(contents.topology.select(text)[0]) for text in distances[0].atoms)
        length = float(np.linalg.norm(contents.positions[first] - contents.positions[last]))
        return None, (distances[0].name, 0.0, round(1.3 * length, 2))
    dihedrals = [name for name in names if name.startswith("phi")]
    return None, (dihedrals[0], *_RIGHT_HANDED) if dihedrals else None


def _try(place: Path) -> Iterator[str]:
    """Build the system from its folder, evaluate all of it once, and say what looks wrong."""
    system = build(load_system(place))
    structure = system.spec.structure_path
    system.observables.compute(system.positions[None])
    diagnosis = diagnose(system, system.positions)
    if not np.isfinite(diagnosis.energy):
        raise MolecularSystemError(
            f"{structure}: needs a finite energy, got {diagnosis.energy} kJ/mol; {diagnosis}; look for atoms "
            "on top of each other"
        )
    box = system_box(system.system) if system.is_periodic else None
    yield from findings.shared_numbers(system.topology)
    yield from findings.clashes(system.topology, system.system, system.positions)
    yield from findings.long_bonds(system.topology, system.system, system.positions, box)
    if not diagnosis.largest < HUGE:
        yield f"huge force in the structure as it comes: {diagnosis}"


def _notes(proposal: Proposal) -> Iterator[tuple[str, str]]:
    if proposal.forcefield is not None:
        yield "force field", f"{', '.join(proposal.forcefield.value)}. {proposal.forcefield.why}"  # type: ignore[arg-type]
    if proposal.nonbonded is not None:
        yield "long range", f"{proposal.nonbonded.value}. {proposal.nonbonded.why}"
    yield "time step", f"{proposal.timestep.value} ps. {proposal.timestep.why}"
    yield "CV atoms", f"{proposal.cv_atoms.value}. {proposal.cv_atoms.why}"
    yield "observables", ", ".join(observable.name for observable in proposal.observables)
    yield "starts", f"{proposal.starts.value}. {proposal.starts.why}"
