"""Coordinates from files of every format: positions, a box where the file has one, and atoms' names."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import MolecularSystemError
from aecv.ground.settings import suffix
from aecv.sampling.system.locations import tidy_cif, tidy_pdb


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """What a file of coordinates holds.

    Attributes:
        positions: shape (N, 3) [nm].
        box: box vectors in rows, shape (3, 3) [nm]; None where the file has none.
        names: residue and atom name per atom; None for formats without names.
        topology: OpenMM's, where the file holds one: .pdb and .cif.
        notes: what was chosen where the file has several locations, models or frames.
        n_models: models or frames in the file, of which the first is taken.
    """

    positions: FloatArray
    box: FloatArray | None
    names: tuple[tuple[str, str], ...] | None
    topology: app.Topology | None = None
    notes: tuple[str, ...] = ()
    n_models: int = 1


def read_structure(path: Path) -> tuple[app.Topology, FloatArray]:
    """Topology and positions [nm], shape (N, 3), of the first model of a .pdb, .cif or .pdbx file.

    Raises:
        MolecularSystemError: when the file is of another kind, unreadable, empty or without finite positions.
    """
    if suffix(path.name) not in _TOPOLOGIES:
        raise MolecularSystemError(
            f"{path}: needs a structure file ending in {', '.join(_TOPOLOGIES)}; convert it"
        )
    coordinates = read_coordinates(path)
    assert coordinates.topology is not None
    return coordinates.topology, coordinates.positions


def read_coordinates(path: Path) -> Coordinates:
    """Coordinates of the first model or frame of a file, of alternate locations the one most often seen.

    Raises:
        MolecularSystemError: when the file is of another kind, unreadable, empty or without finite positions.
    """
    reader = _READERS.get(suffix(path.name))
    if reader is None:
        raise MolecularSystemError(f"{path}: needs coordinates, ending in {', '.join(_READERS)}; convert it")
    try:
        coordinates = reader(path)
    except Exception as error:  # OpenMM's readers raise what their parsing happens to hit
        what = "has no atoms" if _lacks_atoms(path) else f"needs a readable structure, got: {error}"
        raise MolecularSystemError(f"{path}: {what}") from error
    if len(coordinates.positions) == 0:
        raise MolecularSystemError(f"{path}: has no atoms")
    unknown = np.flatnonzero(~np.isfinite(coordinates.positions).all(axis=1))
    if len(unknown):
        index, more = int(unknown[0]), f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        raise MolecularSystemError(
            f"{path}: needs finite positions, those of {_name_of(coordinates, index)}{more} are not"
        )
    return coordinates


def _name_of(coordinates: Coordinates, index: int) -> str:
    if coordinates.topology is not None:
        atom = list(coordinates.topology.atoms())[index]
        return f"atom {atom.name} of residue {residue_title(atom.residue)} (index {index})"
    return f"atom {index + 1}"


def residue_title(residue: app.topology.Residue) -> str:
    """`THR 5A`: name, number and insertion code."""
    return f"{residue.name} {residue_number(residue)}"


def residue_number(residue: app.topology.Residue) -> str:
    """`5A`: number and insertion code."""
    return f"{residue.id}{residue.insertionCode.strip()}"


def openmm_name(residue: str, atom: str) -> str:
    """What OpenMM's readers of topologies and PDB files call an atom: H1 for HH31 of ACE."""
    app.PDBFile._loadNameReplacementTables()  # OpenMM has no other way to ask
    residue = app.PDBFile._residueNameReplacements.get(residue, residue)
    return str(app.PDBFile._atomNameReplacements.get(residue, {}).get(atom, atom))


def _read_with_topology(path: Path) -> Coordinates:
    text = path.read_text(encoding="utf-8", errors="replace")
    is_pdb = suffix(path.name) == ".pdb"
    tidied = tidy_pdb(text) if is_pdb else tidy_cif(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the notes say in words
        content = (app.PDBFile if is_pdb else app.PDBxFile)(io.StringIO(tidied.text))
    box = _box(content.topology.getPeriodicBoxVectors())
    if box is None:
        content.topology.setPeriodicBoxVectors(None)
    return Coordinates(
        positions=nm(content.getPositions(asNumpy=True)),
        box=box,
        names=tuple((atom.residue.name, atom.name) for atom in content.topology.atoms()),
        topology=content.topology,
        notes=tidied.notes,
        n_models=tidied.n_models,
    )


def _read_gro(path: Path) -> Coordinates:
    content = app.GromacsGroFile(str(path))
    return Coordinates(
        positions=nm(content.getPositions(asNumpy=True)),
        box=_box(content.getPeriodicBoxVectors()),
        names=tuple(zip(content.residueNames, content.atomNames, strict=True)),
    )


def _read_amber(path: Path) -> Coordinates:
    content = app.AmberInpcrdFile(str(path))
    return Coordinates(positions=nm(content.positions), box=_box(content.boxVectors), names=None)


def _read_crd(path: Path) -> Coordinates:
    """CHARMM's and Amber's coordinates share the ending .crd; CHARMM's begin with a title after asterisks."""
    if not path.read_text(encoding="utf-8", errors="replace").lstrip().startswith("*"):
        return _read_amber(path)
    content = app.CharmmCrdFile(str(path))
    names = tuple(zip(content.resname, content.attype, strict=True))
    return Coordinates(positions=nm(content.positions), box=None, names=names)


_READERS: dict[str, Callable[[Path], Coordinates]] = {
    ".pdb": _read_with_topology,
    ".cif": _read_with_topology,
    ".pdbx": _read_with_topology,
    ".gro": _read_gro,
    ".inpcrd": _read_amber,
    ".rst7": _read_amber,
    ".rst": _read_amber,
    ".crd": _read_crd,
}
_TOPOLOGIES = (".pdb", ".cif", ".pdbx")
_NO_CRYSTAL_NM = 0.1


def nm(positions: Any) -> FloatArray:
    """Positions of OpenMM, whatever holds them, shape (N, 3) [nm]."""
    return np.array(positions.value_in_unit(unit.nanometer), dtype=float).reshape(-1, 3)


def _box(vectors: Any) -> FloatArray | None:
    """Box vectors [nm]; None for none, for the empty box that Gromacs writes of a molecule in vacuum, and for
    the cube of 1 angstrom that stands in the Protein Data Bank for no crystal."""
    if vectors is None:
        return None
    if unit.is_quantity(vectors):
        vectors = vectors.value_in_unit(unit.nanometer)
    box = np.array(
        [v.value_in_unit(unit.nanometer) if unit.is_quantity(v) else list(v) for v in vectors], dtype=float
    )
    edges = np.linalg.norm(box, axis=1)
    return box if np.all(np.diag(box) > 0) and not np.allclose(edges, _NO_CRYSTAL_NM) else None


def _lacks_atoms(path: Path) -> bool:
    """Whether a file that can be read holds no record of an atom; .pdb and .cif begin them alike."""
    if suffix(path.name) not in _TOPOLOGIES or not path.is_file():
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return not any(line.startswith(("ATOM", "HETATM")) for line in lines)
