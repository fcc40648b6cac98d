"""The order of a trajectory's atoms, where its names tell which atom of the system each of them is."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import TypeAlias

import mdtraj
import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import IntArray

Atom: TypeAlias = mdtraj.core.topology.Atom


def order_by_names(
    found: mdtraj.Topology, own: mdtraj.Topology, positions: NDArray[np.floating]
) -> IntArray | None:
    """Number in the file of each atom of the system, shape (n_atoms,); None where names leave a choice.

    Heavy atoms are matched by their names within a residue. Programs number hydrogens in ways of their own:
    where their names differ they are matched through the heavy atom that they are bound to.

    Args:
        found: atoms of the file, as many as are looked for.
        own: the system's; its first atoms where the file has fewer.
        positions: of a frame of the file, by which hydrogens find the atom they are bound to, shape (n, 3)
            [nm].
    """
    atoms = list(own.atoms)[: found.n_atoms]
    ours = _residues(atoms)
    theirs = _matching_residues(list(found.atoms), ours)
    if theirs is None:
        return None
    bonded = _carriers(own)
    order = np.full(len(atoms), -1, dtype=np.int64)
    for own_residue, residue in zip(ours, theirs, strict=True):
        if not (
            _match_all(own_residue, residue, order)
            or _match_heavy(own_residue, residue, bonded, positions, order)
        ):
            return None
    return order if np.array_equal(np.sort(order), np.arange(len(atoms))) else None


def names_agree(theirs: Atom, ours: Atom) -> bool:
    """Whether two atoms may be the same by element; one that was guessed from a name, by the name."""
    if theirs.element == ours.element:
        return True
    guessed = "VS" in (theirs.element.symbol, ours.element.symbol)
    return _plain(theirs) == _plain(ours) or (guessed and _letters(theirs) == _letters(ours))


def _plain(atom: Atom) -> str:
    return str(atom.name).upper().replace("*", "'")


def _letters(atom: Atom) -> str:
    return "".join(letter for letter in _plain(atom) if letter.isalpha())


def _is_hydrogen(atom: Atom) -> bool:
    return atom.element.symbol == "H"


def _residues(atoms: Sequence[Atom]) -> list[list[Atom]]:
    return [list(group) for _, group in groupby(atoms, key=lambda atom: atom.residue.index)]


def _matching_residues(atoms: Sequence[Atom], ours: Sequence[Sequence[Atom]]) -> list[list[Atom]] | None:
    """The file's residues in the order of the system's; those that are in pieces, as with hydrogens at the
    end, are put together by their numbers."""
    together: dict[tuple[int, int], list[Atom]] = {}
    for atom in atoms:
        together.setdefault((atom.residue.chain.index, atom.residue.resSeq), []).append(atom)
    for residues in (_residues(atoms), list(together.values())):
        if len(residues) == len(ours) and all(map(_same_elements, residues, ours)):
            return residues
    return None


def _same_elements(one: Sequence[Atom], other: Sequence[Atom]) -> bool:
    return Counter(a.element.symbol for a in one) == Counter(a.element.symbol for a in other)


def _match_all(ours: Sequence[Atom], theirs: Sequence[Atom], order: IntArray) -> bool:
    """Match atoms whose names are the same set, each name once."""
    named = {_plain(atom): atom for atom in theirs}
    if len(named) < len(theirs) or any(
        _plain(atom) not in named or named[_plain(atom)].element != atom.element for atom in ours
    ):
        return False
    for atom in ours:
        order[atom.index] = named[_plain(atom)].index
    return True


def _match_heavy(
    ours: Sequence[Atom],
    theirs: Sequence[Atom],
    bonded: dict[int, int],
    positions: NDArray[np.floating],
    order: IntArray,
) -> bool:
    """Match heavy atoms by name, or the only ones left of their element, and hydrogens by what carries
    them."""
    heavy = [atom for atom in theirs if not _is_hydrogen(atom)]
    if not heavy:
        return False
    named = {_plain(atom): atom for atom in heavy}
    left = []
    for atom in ours:
        if not _is_hydrogen(atom):
            match = named.get(_plain(atom))
            if match is not None and match.element == atom.element:
                order[atom.index] = match.index
                del named[_plain(atom)]
            else:
                left.append(atom)
    for atom in left:
        rest = [other for other in named.values() if other.element == atom.element]
        if len(rest) != 1 or sum(a.element == atom.element for a in left) != 1:
            return False
        order[atom.index] = rest[0].index
    carried: dict[int, list[Atom]] = {}
    places = np.array([atom.index for atom in heavy])
    for atom in filter(_is_hydrogen, theirs):
        distances = np.linalg.norm(positions[places] - positions[atom.index], axis=1)
        carried.setdefault(int(places[np.argmin(distances)]), []).append(atom)
    for atom in ours:
        if not _is_hydrogen(atom):
            mine = [other for other in ours if bonded.get(other.index) == atom.index]
            found = sorted(carried.pop(int(order[atom.index]), []), key=_plain)
            if len(mine) != len(found):
                return False
            for own, other in zip(mine, found, strict=True):
                order[own.index] = other.index
    return not carried


def _carriers(topology: mdtraj.Topology) -> dict[int, int]:
    """The heavy atom that each hydrogen is bound to."""
    carriers = {}
    for first, second in topology.bonds:
        for one, other in ((first, second), (second, first)):
            if _is_hydrogen(one) and not _is_hydrogen(other):
                carriers[one.index] = other.index
    return carriers
