"""A new system's folder: files copied, the rest guessed, and validated before it is put in place."""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app, unit

from aecv.ground.errors import MolecularSystemError, StoreError
from aecv.ground.files import new_folder, write_text
from aecv.ground.grid import FloatArray
from aecv.ground.molecule_settings import STRUCTURES, TITLES, TOPOLOGIES, suffix
from aecv.ground.names import NAME
from aecv.ground.shown import Shown
from aecv.models.gromacs_text import gromacs_text
from aecv.models.observables import ObservableSet, select_atoms
from aecv.models.spec import load_system, shipped_systems
from aecv.models.system_files import FILE_NAME
from aecv.sampling import findings
from aecv.sampling.molecule import Molecule, read_molecule
from aecv.sampling.preparation import Preparation, prepare_structure
from aecv.sampling.structure import read_coordinates
from aecv.workflow import guesses
from aecv.workflow.guesses import Contents, Guess
from aecv.workflow.system_toml import Proposal, pair, render

_INCLUDED = "include"
"""Folder for what a Gromacs topology includes from elsewhere."""
_RIGHT_HANDED = (0.0, 2.2)
"""phi of the region that a residue visits seldom, the other side of its highest barrier [rad]."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files of a molecule, wherever they lie; texts are taken as paths.

    Attributes:
        structure: coordinates.
        topology: of Amber, Gromacs, CHARMM, or an OpenMM System; None for force-field files.
        forcefield: names of OpenMM's own files, or paths; empty: guessed.
        parameters: of CHARMM.
        include: folder where a Gromacs topology's included files are.
        preparation: what to do to the structure.
    """

    structure: Path
    topology: Path | None = None
    forcefield: tuple[str, ...] = ()
    parameters: tuple[Path, ...] = ()
    include: Path | None = None
    preparation: Preparation = field(default_factory=Preparation)

    def __post_init__(self) -> None:
        for name in ("structure", "topology", "include"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(given))
        object.__setattr__(self, "parameters", tuple(Path(path) for path in self.parameters))
        object.__setattr__(self, "forcefield", tuple(str(name) for name in self.forcefield))

    @property
    def format(self) -> str:
        return "forcefield" if self.topology is None else TOPOLOGIES[suffix(self.topology.name)]


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


def initialise(folder: Path | str, sources: Sources | Path | str) -> Initialised:
    """Write a system's folder: its files and a system.toml with everything guessed and explained.

    Args:
        folder: a new one; its name becomes the system's.
        sources: the files that describe the molecule, or a structure alone; they are copied into the folder.

    Raises:
        MolecularSystemError: when a file is missing, of an unknown kind, or cannot be read.
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
    _check_sources(sources)
    with new_folder(folder) as place:
        place = place.resolve()
        files, done = _copy(sources, place)
        proposal, said = _propose(folder.resolve().name, files, sources, place)
        write_text(place / FILE_NAME, render(proposal))
        _validate(place)
    return Initialised(folder=folder, notes=(*done, *_notes(proposal)), findings=tuple(said))


def _check_name(folder: Path) -> None:
    name = folder.resolve().name
    if not re.match(NAME, name):
        raise MolecularSystemError(
            f"'{name}': a system's name needs to begin with a letter and to have letters, digits, _, -"
        )
    if name in shipped_systems():
        raise MolecularSystemError(f"'{name}' is the name of a system that comes with aecv; choose another")
    if folder.exists():
        raise StoreError(
            f"{folder}: exists already, and nothing is overwritten; choose another name, or delete it"
        )


def _check_sources(sources: Sources) -> None:
    """Every file is there, and of a kind that belongs to the others."""
    for path in (sources.structure, sources.topology, *sources.parameters):
        if path is not None and not path.is_file():
            raise MolecularSystemError(
                f"{path}: needs a file, found {'a folder' if path.is_dir() else 'none'}"
            )
    if sources.topology is not None and suffix(sources.topology.name) not in TOPOLOGIES:
        raise MolecularSystemError(
            f"{sources.topology}: needs a topology ending in {', '.join(TOPOLOGIES)}; a .tpr holds none that "
            "can be read, give the .top that it was made from"
        )
    endings = STRUCTURES[sources.format]
    if suffix(sources.structure.name) not in endings:
        hint = next((t for t, e in STRUCTURES.items() if suffix(sources.structure.name) in e), None)
        needs = (
            f"; it needs {TITLES[hint]} beside it (--topology)" if hint and sources.topology is None else ""
        )
        raise MolecularSystemError(
            f"{sources.structure}: with {TITLES[sources.format]} the coordinates need to end in "
            f"{', '.join(endings)}{needs}"
        )
    if sources.format == "charmm" and not sources.parameters:
        raise MolecularSystemError(
            f"{sources.topology}: a PSF holds no force constants; give its .rtf, .prm and .str files, each "
            "with --parameters"
        )
    if sources.format != "forcefield" and sources.preparation:
        raise MolecularSystemError(
            f"{sources.topology}: its atoms are fixed; --add-hydrogens, --drop-solvent and --solvate are for "
            "a structure with force-field files"
        )
    if sources.format != "forcefield" and sources.forcefield:
        raise MolecularSystemError(f"{sources.topology}: brings its own forces; leave --forcefield out")
    if sources.include is not None and sources.format != "gromacs":
        raise MolecularSystemError("--include: is for a Gromacs topology; leave it out")
    if sources.include is not None and not sources.include.is_dir():
        raise MolecularSystemError(f"{sources.include}: needs a folder, for --include")


def _copy(sources: Sources, place: Path) -> tuple[dict[str, str | tuple[str, ...]], list[tuple[str, str]]]:
    """Copy every file, prepared where asked; the keys of [system] that name them, and what was done."""
    files: dict[str, str | tuple[str, ...]] = {}
    done: list[tuple[str, str]] = []
    if sources.preparation:
        target = place / sources.structure.name
        said = prepare_structure(
            sources.structure,
            target,
            sources.preparation,
            forcefield=sources.forcefield or guesses.SOLVATED,
        )
        files["structure"] = target.name
        done.append(("structure", ", ".join(said)))
    else:
        files["structure"] = _copied(sources.structure, place)
    if sources.topology is not None:
        files["topology"] = _copied(sources.topology, place)
    if sources.parameters:
        files["parameters"] = tuple(_copied(path, place) for path in sources.parameters)
    if sources.format == "gromacs" and _copy_includes(sources, place):
        files["include"] = _INCLUDED
    return files, done


def _copied(path: Path, place: Path) -> str:
    if (place / path.name).exists():
        raise MolecularSystemError(f"{path}: another file is also called {path.name}; rename one of them")
    shutil.copyfile(path, place / path.name)
    return path.name


def _copy_includes(sources: Sources, place: Path) -> bool:
    """Copy what a Gromacs topology includes; whether anything came from the folder of --include."""
    assert sources.topology is not None
    beside = sources.topology.resolve().parent
    elsewhere = None if sources.include is None else sources.include.resolve()
    try:
        folders = () if elsewhere is None else (elsewhere,)
        included = gromacs_text(beside / sources.topology.name, folders).included
    except MolecularSystemError as error:
        raise MolecularSystemError(
            f"{error}; or say where it is: --include FOLDER, of an installed Gromacs often "
            "/usr/share/gromacs/top"
        ) from error
    from_elsewhere = False
    for path in dict.fromkeys(Path(os.path.normpath(path)) for path in included):
        if elsewhere is not None and path.is_relative_to(elsewhere):
            target = place / _INCLUDED / path.relative_to(elsewhere)
            from_elsewhere = True
        elif path.is_relative_to(beside):
            target = place / path.relative_to(beside)
        else:
            raise MolecularSystemError(
                f"{path}: is included from outside the folder of {sources.topology.name}; copy it there"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return from_elsewhere


def _propose(
    name: str, files: dict[str, str | tuple[str, ...]], sources: Sources, place: Path
) -> tuple[Proposal, list[str]]:
    """All guesses, and what looks wrong."""
    said: list[str] = []
    forcefield = None
    if sources.format == "forcefield":
        forcefield = _forcefield(sources, place)
    molecule = _read(name, files, forcefield, place)
    if isinstance(molecule, Molecule):
        topology, positions, system = molecule.topology, molecule.positions, molecule.system
    else:
        coordinates = read_coordinates(place / str(files["structure"]))
        if coordinates.topology is None or sources.format != "forcefield":
            raise molecule
        topology, positions, system = coordinates.topology, coordinates.positions, None
        said.append(str(molecule).replace(str(place) + os.sep, ""))
    contents = _contents(topology, positions)
    said += findings.missing_hydrogens(topology)
    said += _solvent_left(contents)
    constraints = guesses.guess_constraints(contents, system, sources.format)
    cv_atoms = guesses.guess_cv_atoms(contents)
    observables = tuple(guesses.guess_observables(contents, str(cv_atoms.value)))
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
            names.append(_copied(Path(name), place) if is_file else name)
        return Guess(value=tuple(names), why="As given with --forcefield.")
    coordinates = read_coordinates(place / sources.structure.name)
    assert coordinates.topology is not None
    contents = _contents(coordinates.topology, coordinates.positions)
    return guesses.guess_forcefield(coordinates.topology, is_solvated=contents.is_solvated)


def _read(
    name: str, files: dict[str, str | tuple[str, ...]], forcefield: Guess | None, place: Path
) -> Molecule | MolecularSystemError:
    """The molecule by the files alone; the error where force field and structure do not fit."""
    keys = {"name": name, **files} | ({} if forcefield is None else {"forcefield": forcefield.value})
    lines = [pair(key, value) for key, value in keys.items()]
    write_text(place / FILE_NAME, "\n".join(["[system]", *lines, "[cv]", 'atoms = "all"', ""]))
    try:
        return read_molecule(load_system(place))
    except MolecularSystemError as error:
        return error


def _contents(topology: app.Topology, positions: FloatArray) -> Contents:
    vectors = topology.getPeriodicBoxVectors()
    box = None if vectors is None else np.array(vectors.value_in_unit(unit.nanometer), dtype=float)
    return Contents(topology=mdtraj.Topology.from_openmm(topology), positions=positions, box=box)


def _solvent_left(contents: Contents) -> Iterator[str]:
    if contents.n_water and not contents.is_solvated:
        yield (
            f"{contents.n_water} waters do not fill a box and would evaporate; leave them out with "
            "--drop-solvent, or put the molecule into a box of water first"
        )


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


def _validate(place: Path) -> None:
    """The text can be loaded, and its selections select; before it is put in place."""
    spec = load_system(place)
    coordinates = read_coordinates(spec.structure_path)
    if coordinates.topology is None:
        molecule = read_molecule(spec)
        topology, positions = molecule.topology, molecule.positions
    else:
        topology, positions = coordinates.topology, coordinates.positions
    known = mdtraj.Topology.from_openmm(topology)
    select_atoms(known, spec.settings.cv.atoms)
    ObservableSet.prepare(known, spec.settings.observables, positions=positions)


def _notes(proposal: Proposal) -> Iterator[tuple[str, str]]:
    if proposal.forcefield is not None:
        yield "force field", f"{', '.join(proposal.forcefield.value)}. {proposal.forcefield.why}"  # type: ignore[arg-type]
    if proposal.nonbonded is not None:
        yield "long range", f"{proposal.nonbonded.value}. {proposal.nonbonded.why}"
    yield "time step", f"{proposal.timestep.value} ps. {proposal.timestep.why}"
    yield "CV atoms", f"{proposal.cv_atoms.value}. {proposal.cv_atoms.why}"
    yield "observables", ", ".join(observable.name for observable in proposal.observables)
    yield "starts", f"{proposal.starts.value}. {proposal.starts.why}"
