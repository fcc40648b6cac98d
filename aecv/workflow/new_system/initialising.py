"""A new system's folder: written beside its place, completed where that helps, tried, then put there."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.errors import (
    AecvError,
    MolecularSystemError,
    StoreError,
    UnknownResiduesError,
    WriteError,
)
from aecv.ground.files import new_folder, replaced_folder, write_text
from aecv.ground.names import check_folder_name
from aecv.ground.shown import Shown
from aecv.molecules.solvent import SOLVENT, WATER
from aecv.molecules.spec import load_system, shipped_systems
from aecv.molecules.system_files import FILE_NAME
from aecv.sampling.preparing import findings
from aecv.sampling.preparing.preparation import Preparation
from aecv.sampling.system.diagnosis import HUGE, diagnose
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.structure import read_coordinates
from aecv.workflow.new_system.contents import Contents
from aecv.workflow.new_system.own_folder import why_not_ours, write_marks
from aecv.workflow.new_system.proposal import contents_of, propose
from aecv.workflow.new_system.sources import Sources, check_sources, copy_files
from aecv.workflow.new_system.system_toml import Proposal, render


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
    """A new system's folder: its files, and a system.toml with everything guessed, tried and explained.

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
        with (replaced_folder if exists else new_folder)(folder) as draft:
            draft = draft.resolve()
            try:
                made = _first_that_works(folder, sources, draft)
            except AecvError as error:
                error.args = _in_the_users_words(error.args, draft, sources)
                raise
            write_marks(draft)
    except WriteError as error:
        remedy = error.remedy.replace("another --out", "another NAME")
        raise WriteError(folder, error.reason, remedy) from error
    return made


def _first_that_works(folder: Path, sources: Sources, draft: Path) -> Initialised:
    """The files as they are; else completed; else an error that says what helps, where something does."""
    wanted = sources.preparation
    try:
        try:
            return _make(folder, sources, wanted, draft)
        except UnknownResiduesError:
            wanted = _completed(sources)
            if wanted == sources.preparation:
                raise
        return _make(folder, sources, wanted, draft)
    except MolecularSystemError as error:
        if options := _what_helps(folder, sources, wanted, draft):
            raise MolecularSystemError(f"{error}; it works with {options}") from error
        raise


def _completed(sources: Sources) -> Preparation:
    """What a structure mostly lacks, or has too much."""
    contents = _contents(sources)
    wanted = sources.preparation
    evaporates = contents.n_water > 0 and not contents.is_solvated and wanted.padding_nm is None
    return replace(wanted, add_hydrogens=True, drop_water=evaporates and not wanted.drop_solvent)


def _what_helps(folder: Path, sources: Sources, wanted: Preparation, draft: Path) -> str:
    """Options that leave something out, tried; empty where there are none or they do not help."""
    if sources.format != "forcefield" or wanted.padding_nm is not None:
        return ""
    try:
        smaller, options = _without_strangers(_contents(sources), wanted)
        if options:
            _make(folder, sources, smaller, draft)
    except MolecularSystemError:
        return ""
    return options


def _without_strangers(contents: Contents, wanted: Preparation) -> tuple[Preparation, str]:
    """Without ions, and without residues that are no part of a chain; and the options that say so.

    The largest molecule is what the user has come for, and stays.
    """
    subject = contents.subject
    if subject is None:
        return wanted, ""
    others = [r for r in contents.topology.residues if r.index not in subject.residues]
    strangers = [residue.name for residue in others if not residue.is_protein and not residue.is_nucleic]
    names = {name.upper() for name in strangers} - {name.upper() for name in wanted.drop}
    without_ions = bool(names & (SOLVENT - WATER)) and not wanted.drop_solvent
    dropped = tuple(sorted(names - SOLVENT))
    smaller = replace(wanted, drop=(*wanted.drop, *dropped))
    if without_ions:
        smaller = replace(smaller, drop_solvent=True, drop_water=False)
    return smaller, " ".join([*["--drop-solvent"] * without_ions, *(f"--drop {name}" for name in dropped)])


def _contents(sources: Sources) -> Contents:
    coordinates = read_coordinates(sources.structure)
    assert coordinates.topology is not None  # of force-field files, which need one
    return contents_of(coordinates.topology, coordinates.positions)


def _make(folder: Path, sources: Sources, wanted: Preparation, draft: Path) -> Initialised:
    """All files in an empty folder, tried."""
    for item in draft.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()
    files, done = copy_files(sources, wanted, draft)
    proposal, said = propose(folder.resolve().name, files, sources, draft)
    write_text(draft / FILE_NAME, render(proposal))
    said += _try(draft)
    return Initialised(folder=folder, notes=(*done, *_notes(proposal)), findings=tuple(said))


def _in_the_users_words(arguments: tuple[Any, ...], draft: Path, sources: Sources) -> tuple[Any, ...]:
    """An error's texts with the files where the user has them: the copies are gone when it is read."""
    given = (sources.structure, sources.topology, *sources.parameters, *map(Path, sources.forcefield))
    originals = {str(draft / path.name): str(path) for path in given if path is not None}

    def told(text: str) -> str:
        for copy, original in originals.items():
            text = text.replace(copy, original)
        return text.replace(f"{draft}{os.sep}", "").replace(str(draft), "the new folder")

    return tuple(told(item) if isinstance(item, str) else item for item in arguments)


def _check_name(folder: Path) -> None:
    name = folder.resolve().name
    try:
        check_folder_name(name)
    except ValueError as error:
        raise MolecularSystemError(f"'{name}': a system's name {error}") from error
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


def _try(draft: Path) -> Iterator[str]:
    """Build the system from its folder, evaluate all of it once, and say what looks wrong."""
    system = build(load_system(draft))
    structure = system.spec.structure_path
    system.observables.compute(system.positions[None])
    diagnosis = diagnose(system, system.positions)
    if not np.isfinite(diagnosis.energy):
        raise MolecularSystemError(
            f"{structure}: needs a finite energy, got {diagnosis.energy} kJ/mol; {diagnosis}; look for atoms "
            "on top of each other"
        )
    yield from findings.of_structure(system)
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
