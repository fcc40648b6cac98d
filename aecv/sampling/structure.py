"""Coordinates from files of every format: positions, a box where the file has one, and atoms' names."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from openmm import app, unit

from aecv.ground.errors import MolecularSystemError
from aecv.ground.grid import FloatArray
from aecv.ground.molecule_settings import suffix


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """What a file of coordinates holds.

    Attributes:
        positions: shape (N, 3) [nm].
        box: box vectors in rows, shape (3, 3) [nm]; None where the file has none.
        names: residue and atom name per atom; None for formats without names.
        topology: OpenMM's, where the file holds one: .pdb and .cif.
    """

    positions: FloatArray
    box: FloatArray | None
    names: tuple[tuple[str, str], ...] | None
    topology: app.Topology | None = None


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
    """Coordinates of the first model or frame of a file.

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
        return f"atom {atom.name} of residue {atom.residue.name} {atom.residue.id} (index {index})"
    return f"atom {index + 1}"


def _read_with_topology(path: Path) -> Coordinates:
    reader = app.PDBFile if suffix(path.name) == ".pdb" else app.PDBxFile
    content = reader(str(path))
    box = content.topology.getPeriodicBoxVectors()
    return Coordinates(
        positions=nm(content.getPositions(asNumpy=True)),
        box=_box(box),
        names=tuple((atom.residue.name, atom.name) for atom in content.topology.atoms()),
        topology=content.topology,
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


def nm(positions: Any) -> FloatArray:
    """Positions of OpenMM, whatever holds them, shape (N, 3) [nm]."""
    return np.array(positions.value_in_unit(unit.nanometer), dtype=float).reshape(-1, 3)


def _box(vectors: Any) -> FloatArray | None:
    """Box vectors [nm]; None for none, and for the empty box that Gromacs writes of a molecule in vacuum."""
    if vectors is None:
        return None
    if unit.is_quantity(vectors):
        vectors = vectors.value_in_unit(unit.nanometer)
    box = np.array(
        [v.value_in_unit(unit.nanometer) if unit.is_quantity(v) else list(v) for v in vectors], dtype=float
    )
    return box if np.all(np.diag(box) > 0) else None


def _lacks_atoms(path: Path) -> bool:
    """Whether a file that can be read holds no record of an atom; .pdb and .cif begin them alike."""
    if suffix(path.name) not in _TOPOLOGIES or not path.is_file():
        return False
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return not any(line.startswith(("ATOM", "HETATM")) for line in lines)
