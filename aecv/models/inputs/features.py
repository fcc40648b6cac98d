"""Input features of a model: internal coordinates and positions of named atoms, as a TOML or JSON list.

[[features]]
kind = "distance"                                   # distance, angle, dihedral, sin_dihedral, cos_dihedral
atoms = ["name CA and resid 1", 18]                 # mdtraj selections of one atom, or 0-based indices

[[features]]
kind = "distances"                                  # all pairs i < j of one selection, in its order
atoms = ["mass > 2"]

[[features]]
kind = "positions"                                  # x, y, z of every atom of one selection
atoms = ["mass > 2"]
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch
from torch import Tensor

from aecv.ground.arrays import IntArray
from aecv.ground.errors import CVError, StoreError, suggestion
from aecv.ground.files import read_json
from aecv.ground.layers import load_toml
from aecv.models.inputs.internal_module import FORMULAS
from aecv.molecules.selection import select_atoms

_N_ATOMS = {"distance": 2, "angle": 3, "dihedral": 4, "sin_dihedral": 4, "cos_dihedral": 4}
_LISTS = ("distances", "positions")
KINDS = (*_N_ATOMS, *_LISTS)
LENGTHS = ("distance", "position")
"""Columns that are lengths; the others have no unit of length."""
MOST_FEATURES = 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSet:
    """Columns of a model's input.

    Attributes:
        kinds: per column "distance", "angle", "dihedral", "sin_dihedral", "cos_dihedral" or "position".
        atoms: per column its atoms as indices into `atom_indices`; of a position the atom and 0, 1 or 2 for
            x, y or z.
        atom_indices: all atoms that it needs, in the whole system, ascending, shape (n_atoms,).
    """

    kinds: tuple[str, ...]
    atoms: tuple[tuple[int, ...], ...]
    atom_indices: IntArray

    def __len__(self) -> int:
        return len(self.kinds)


def read_features(path: Path, topology: mdtraj.Topology) -> FeatureSet:
    """Features from a file that ends in .toml or .json, in the file's order.

    Raises:
        CVError: when the file has another form, or names a kind or atoms that are not there.
        SettingsError: when a TOML file cannot be read. MolecularSystemError: for a selection that fails.
    """
    kinds: list[str] = []
    rows: list[tuple[int, ...]] = []
    for number, item in enumerate(_items(path)):
        place = f"{path}: features[{number}]"
        if not isinstance(item, Mapping) or set(item) != {"kind", "atoms"}:
            raise CVError(f"{place}: needs a kind and atoms, and nothing else, got {item}")
        kind, atoms = str(item["kind"]), item["atoms"]
        if kind not in KINDS:
            raise CVError(
                f"{place}: needs one of the kinds {', '.join(KINDS)}, got '{kind}'{suggestion(kind, KINDS)}"
            )
        if not isinstance(atoms, Sequence) or isinstance(atoms, str):
            raise CVError(f"{place}: atoms need to be a list of selections or 0-based indices, got {atoms!r}")
        for column_kind, row in _columns(kind, atoms, topology, place):
            kinds.append(column_kind)
            rows.append(row)
        if len(rows) > MOST_FEATURES:
            raise CVError(f"{place}: more than {MOST_FEATURES} columns; choose fewer atoms")
    used = np.unique([atom for kind, row in zip(kinds, rows, strict=True) for atom in _own(kind, row)])
    local = {int(atom): place for place, atom in enumerate(used)}
    return FeatureSet(
        kinds=tuple(kinds),
        atoms=tuple(
            (*(local[atom] for atom in _own(kind, row)), *row[len(_own(kind, row)) :])
            for kind, row in zip(kinds, rows, strict=True)
        ),
        atom_indices=used.astype(np.int64),
    )


class FeatureModule(torch.nn.Module):
    """Positions [nm], shape (F, n_atoms, 3), to features, shape (F, m); lengths times `length_scale`.

    Columns of one kind are computed together.
    """

    def __init__(self, features: FeatureSet, *, length_scale: float = 1.0) -> None:
        super().__init__()
        self._length_scale = length_scale
        self._groups: list[tuple[str, Tensor]] = []
        order: list[int] = []
        for kind in dict.fromkeys(features.kinds):
            columns = [column for column, other in enumerate(features.kinds) if other == kind]
            self._groups.append((kind, torch.tensor([features.atoms[column] for column in columns])))
            order += columns
        self._back = torch.tensor(np.argsort(order))

    def forward(self, positions: Tensor) -> Tensor:
        parts = [self._group(kind, atoms, positions) for kind, atoms in self._groups]
        return torch.cat(parts, dim=1)[:, self._back]

    def _group(self, kind: str, atoms: Tensor, positions: Tensor) -> Tensor:
        if kind == "position":
            return self._length_scale * positions[:, atoms[:, 0], atoms[:, 1]]
        points = [positions[:, column] for column in atoms.T]
        function, _, formula = kind.rpartition("_")
        values = FORMULAS[formula](*points)
        if function:
            values = torch.sin(values) if function == "sin" else torch.cos(values)
        return self._length_scale * values if kind in LENGTHS else values


def _items(path: Path) -> Sequence[Any]:
    if path.suffix == ".toml":
        content: Any = load_toml(path)
    elif path.suffix == ".json":
        try:
            content = read_json(path)
        except StoreError as error:
            raise CVError(str(error)) from error
    else:
        raise CVError(f"{path}: needs a list of features in a file that ends in .toml or .json")
    items = content.get("features") if isinstance(content, Mapping) else content
    if not isinstance(items, list) or not items:
        raise CVError(f"{path}: needs a list 'features' of at least one table with kind and atoms")
    return items


def _columns(
    kind: str, atoms: Sequence[Any], topology: mdtraj.Topology, place: str
) -> list[tuple[str, tuple[int, ...]]]:
    """Kind and atoms of the columns that one entry of the file gives."""
    found = [_found(entry, topology, f"{place}.atoms[{k}]") for k, entry in enumerate(atoms)]
    every = [atom for some in found for atom in some]
    if len(set(every)) != len(every):
        raise CVError(f"{place}: needs different atoms, got {every}")
    if kind == "distances":
        if len(every) < 2:
            raise CVError(f"{place}: needs at least 2 atoms for distances, got {len(every)}")
        return [("distance", pair) for pair in itertools.combinations(every, 2)]
    if kind == "positions":
        return [("position", (atom, axis)) for atom in every for axis in range(3)]
    needed = _N_ATOMS[kind]
    if len(found) != needed or any(len(some) != 1 for some in found):
        counts = ", ".join(str(len(some)) for some in found)
        raise CVError(
            f"{place}: kind '{kind}' needs {needed} entries of one atom each, got {counts or 'none'}"
        )
    return [(kind, tuple(every))]


def _found(entry: Any, topology: mdtraj.Topology, place: str) -> list[int]:
    if isinstance(entry, str):
        return [int(atom) for atom in select_atoms(topology, entry, place=place)]
    if not isinstance(entry, int) or isinstance(entry, bool) or not 0 <= entry < topology.n_atoms:
        raise CVError(
            f"{place}: needs a selection or an index 0 .. {topology.n_atoms - 1} (0-based), got {entry!r}"
        )
    return [entry]


def _own(kind: str, row: tuple[int, ...]) -> tuple[int, ...]:
    """The atoms of a row; the row of a position ends in its axis."""
    return row[:1] if kind == "position" else row
