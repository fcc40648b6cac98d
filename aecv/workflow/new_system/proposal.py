"""What is proposed for a system: all guesses together, held against the files, and the words on them."""

from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import AecvError, MolecularSystemError, UnknownResiduesError
from aecv.ground.files import write_text
from aecv.ground.settings import ObservableSettings
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.molecules.spec import load_system
from aecv.molecules.system_files import FILE_NAME
from aecv.sampling.preparing import findings
from aecv.sampling.system.force_field import forcefield_of
from aecv.sampling.system.molecule import Molecule, read_molecule
from aecv.sampling.system.structure import read_coordinates, residue_number
from aecv.workflow.new_system import guesses
from aecv.workflow.new_system.contents import Contents
from aecv.workflow.new_system.guesses import Guess
from aecv.workflow.new_system.sources import Sources, copied
from aecv.workflow.new_system.system_toml import Proposal, pair

_RIGHT_HANDED = (0.0, 2.2)
"""phi of the region that a residue visits seldom, the other side of its highest barrier [rad]."""


def propose(
    name: str, files: dict[str, str | tuple[str, ...]], sources: Sources, draft: Path
) -> tuple[Proposal, list[str]]:
    """All guesses, and what was left out."""
    said = list(read_coordinates(sources.structure).notes)
    forcefield, molecule = _with_forces(name, files, sources, draft)
    topology, system = molecule.topology, molecule.system
    contents = contents_of(topology, molecule.positions)
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


def _with_forces(
    name: str, files: dict[str, str | tuple[str, ...]], sources: Sources, draft: Path
) -> tuple[Guess | None, Molecule]:
    """The first force field that makes a System of the molecule, and this.

    To know every residue is not enough: models of implicit solvent know fewer elements and nucleic acids.
    """
    if sources.format != "forcefield":
        return None, _read(name, files, None, draft)
    failure: MolecularSystemError | None = None
    for forcefield in _forcefields(sources, draft):
        try:
            return forcefield, _read(name, files, forcefield, draft)
        except MolecularSystemError as error:
            failure = failure or error
    assert failure is not None  # one is proposed at least
    raise failure


def _forcefields(sources: Sources, draft: Path) -> Iterator[Guess]:
    """What was given, files of the user copied; else guesses."""
    if sources.forcefield:
        names = []
        for name in sources.forcefield:
            is_file = Path(name).is_file()
            names.append(copied(Path(name), draft) if is_file else name)
        yield Guess(value=tuple(names), why="As given with --forcefield.")
        return
    coordinates = read_coordinates(draft / sources.structure.name)
    assert coordinates.topology is not None
    contents = contents_of(coordinates.topology, coordinates.positions)
    yield from guesses.guess_forcefields(coordinates.topology, is_solvated=contents.is_solvated)


def _read(
    name: str, files: dict[str, str | tuple[str, ...]], forcefield: Guess | None, draft: Path
) -> Molecule:
    """The molecule by the files alone.

    Raises:
        UnknownResiduesError: with the residues that the force field does not know, and why.
    """
    keys = {"name": name, **files} | ({} if forcefield is None else {"forcefield": forcefield.value})
    lines = [pair(key, value) for key, value in keys.items()]
    write_text(draft / FILE_NAME, "\n".join(["[system]", *lines, "[cv]", 'atoms = "all"', ""]))
    spec = load_system(draft)
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
        raise UnknownResiduesError(
            f"{spec.structure_path}: {', '.join(spec.settings.system.forcefield)} needs to know every "
            f"residue; {unknown}"
        ) from error


def contents_of(topology: app.Topology, positions: FloatArray) -> Contents:
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
