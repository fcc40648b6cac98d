"""The files that describe a molecule, wherever they lie: held against each other, copied into one folder."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from aecv.ground.errors import MolecularSystemError
from aecv.ground.settings import STRUCTURES, TITLES, TOPOLOGIES, suffix
from aecv.molecules.gromacs_text import gromacs_text
from aecv.sampling.preparing.preparation import Preparation, prepare_structure
from aecv.workflow.new_system import guesses

_INCLUDED = "include"
"""Folder for what a Gromacs topology includes from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The files that describe a molecule: coordinates, topology, force field; texts are taken as paths.

    Attributes:
        structure: coordinates.
        topology: of Amber, Gromacs, CHARMM, or an OpenMM System; None for force-field files.
        forcefield: names of OpenMM's own files, or paths; empty: guessed.
        parameters: of CHARMM.
        include: folder where a Gromacs topology's included files are.
        preparation: what to do to the structure.

    Example:
        >>> import aecv
        >>> sources = aecv.Sources(structure="complex.inpcrd", topology="complex.prmtop")
        >>> sources.format
        'amber'
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


def check_sources(sources: Sources) -> None:
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
            f"{sources.topology}: its atoms are fixed; --add-hydrogens, --drop-solvent, --drop and "
            "--solvate are for a structure with force-field files"
        )
    if sources.format != "forcefield" and sources.forcefield:
        raise MolecularSystemError(f"{sources.topology}: brings its own forces; leave --forcefield out")
    if sources.include is not None and sources.format != "gromacs":
        raise MolecularSystemError("--include: is for a Gromacs topology; leave it out")
    if sources.include is not None and not sources.include.is_dir():
        raise MolecularSystemError(f"{sources.include}: needs a folder, for --include")


def copy_files(
    sources: Sources, wanted: Preparation, draft: Path
) -> tuple[dict[str, str | tuple[str, ...]], list[tuple[str, str]]]:
    """Copy every file, prepared where asked; the keys of [system] that name them, and what was done."""
    files: dict[str, str | tuple[str, ...]] = {}
    done: list[tuple[str, str]] = []
    if wanted:
        target = draft / sources.structure.name
        said = prepare_structure(
            sources.structure, target, wanted, forcefield=sources.forcefield or guesses.SOLVATED
        )
        files["structure"] = target.name
        if said:
            done.append(("structure", f"{', '.join(said)}{_unasked(sources.preparation, wanted)}"))
    else:
        files["structure"] = copied(sources.structure, draft)
    if sources.topology is not None:
        files["topology"] = copied(sources.topology, draft)
    if sources.parameters:
        files["parameters"] = tuple(copied(path, draft) for path in sources.parameters)
    if sources.format == "gromacs" and _copy_includes(sources, draft):
        files["include"] = _INCLUDED
    return files, done


def _unasked(asked: Preparation, wanted: Preparation) -> str:
    """Why something was done that nobody asked for."""
    if asked == wanted:
        return ""
    waters = (
        "; few waters would evaporate, --solvate 1.0 keeps them and adds more" if wanted.drop_water else ""
    )
    return f": no force field knows the structure as it is{waters}"


def copied(path: Path, draft: Path) -> str:
    if (draft / path.name).exists():
        raise MolecularSystemError(f"{path}: another file is also called {path.name}; rename one of them")
    shutil.copyfile(path, draft / path.name)
    return path.name


def _copy_includes(sources: Sources, draft: Path) -> bool:
    """Copy what a Gromacs topology includes; whether anything came from the folder of --include."""
    assert sources.topology is not None
    beside = sources.topology.resolve().parent
    elsewhere = None if sources.include is None else sources.include.resolve()
    try:
        folders = () if elsewhere is None else (elsewhere,)
        included = gromacs_text(beside / sources.topology.name, folders).included
    except MolecularSystemError as error:
        # there is no folder yet that the file could be copied into
        cause = str(error).partition("; copy it")[0]
        raise MolecularSystemError(
            f"{cause}; copy it (with its folder) beside the topology, or say where it is: --include FOLDER, "
            "of an installed Gromacs often /usr/share/gromacs/top"
        ) from error
    from_elsewhere = False
    for path in dict.fromkeys(Path(os.path.normpath(path)) for path in included):
        if elsewhere is not None and path.is_relative_to(elsewhere):
            target = draft / _INCLUDED / path.relative_to(elsewhere)
            from_elsewhere = True
        elif path.is_relative_to(beside):
            target = draft / path.relative_to(beside)
        else:
            raise MolecularSystemError(
                f"{path}: is included from outside the folder of {sources.topology.name}; copy it there"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return from_elsewhere
