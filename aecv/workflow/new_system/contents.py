"""What is in a molecule's files, and which of the molecules the CV is of."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import mdtraj
import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.molecules.solvent import SOLVENT, WATER
from aecv.numerics.geometry.spanning_tree import molecules_of

_NM3_PER_WATER = 0.03
_NM3_PER_DA = 0.03 / 18.0
"""Of other molecules that fill a box, by the density of water."""
_FILLED = 0.3
"""Share of a box that its water takes up from which it counts as filled; a crystal's few waters are less."""
_SMALLEST_BOX_NM = 1.0
"""Width of a box that holds the cutoff of a force field; a smaller one stands for none."""
_BULK = 20
"""Molecules alike from which they are what a box is filled with."""
_CAPS = ("ACE", "NME", "NMA", "NH2", "NHE")
PROTEIN, BEADS, NUCLEIC, OTHER = "protein", "beads", "nucleic", "other"


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What is in the files.

    Attributes:
        topology: for mdtraj.
        positions: shape (N, 3) [nm].
        box: shape (3, 3) [nm]; None without.
        numbers: of the residues, with insertion codes, which mdtraj has not; empty: without.
    """

    topology: mdtraj.Topology
    positions: FloatArray
    box: FloatArray | None
    numbers: tuple[str, ...] = ()

    @property
    def n_water(self) -> int:
        return sum(residue.name.upper() in WATER for residue in self.topology.residues)

    @cached_property
    def is_solvated(self) -> bool:
        """Whether water or other small molecules fill the box: a crystal has a box and a few waters, an NMR
        structure one of 0.1 nm."""
        if self.box is None or float(np.diag(self.box).min()) < _SMALLEST_BOX_NM:
            return False
        mass = sum(_mass(self.topology.residue(k)) for k in self._bulk)
        filled = self.n_water * _NM3_PER_WATER + mass * _NM3_PER_DA
        return filled > _FILLED * abs(float(np.linalg.det(self.box)))

    @property
    def bulk_words(self) -> str:
        """What fills the box."""
        counts = Counter(self.topology.residue(k).name for k in self._bulk)
        parts = [f"{self.n_water} waters"] if self.n_water else []
        return ", ".join([*parts, *(f"{count} {name}" for name, count in counts.items())])

    @cached_property
    def _bulk(self) -> list[int]:
        """Residues without neighbours, neither water nor ions, that there are many of."""
        alone = [part[0] for part in self.parts if len(part) == 1]
        counts = Counter(self.topology.residue(k).name for k in alone)
        return [k for k in alone if counts[self.topology.residue(k).name] >= _BULK]

    @property
    def protein_residues(self) -> list[mdtraj.core.topology.Residue]:
        """Amino acids, without caps."""
        return [r for r in self.topology.residues if _is_amino_acid(r)]

    @cached_property
    def parts(self) -> list[list[int]]:
        """Residues of each molecule that is neither water nor an ion, by bonds; beads by their chain."""
        solute = [r for r in self.topology.residues if r.name.upper() not in SOLVENT]
        if not solute:
            return []
        row_of = {residue.index: row for row, residue in enumerate(solute)}
        bonds = ((first.residue.index, second.residue.index) for first, second in self.topology.bonds)
        links = [(row_of[a], row_of[b]) for a, b in bonds if a in row_of and b in row_of]
        links += [
            (row, row + 1)
            for row, (before, after) in enumerate(pairwise(solute))
            if before.chain is after.chain and _is_bead(before) and _is_bead(after)
        ]
        part = molecules_of(np.array(links, dtype=np.int64), len(solute))
        return [[solute[row].index for row in np.flatnonzero(part == k)] for k in range(part.max() + 1)]

    @cached_property
    def subject(self) -> "Subject | None":
        """What the CV is of; None where there is nothing but water and ions."""
        return _find_subject(self)

    def title(self, residue: mdtraj.core.topology.Residue) -> str:
        """`THR 5A`."""
        return f"{residue.name} {self.number(residue)}"

    def number(self, residue: mdtraj.core.topology.Residue) -> str:
        """`5A`."""
        return self.numbers[residue.index] if self.numbers else str(residue.resSeq)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What the CV is of.

    Attributes:
        kind: PROTEIN, BEADS, NUCLEIC or OTHER.
        residues: their indices.
        scope: an mdtraj selection of them.
        n_molecules: of which these are, water and ions aside.
        n_taken: of these molecules.
        words: which ones of how many; empty where there is one.
    """

    kind: str
    residues: tuple[int, ...]
    scope: str
    n_molecules: int
    n_taken: int
    words: str


def _find_subject(contents: Contents) -> Subject | None:
    """The molecule with the most heavy atoms, of equal ones the first; of nucleic acids all strands.

    Strands of a nucleic acid hold each other, and its conformation is that of both. None where there is
    nothing but water and ions.
    """
    parts, top = contents.parts, contents.topology
    if not parts:
        return None
    sizes = [_n_heavy(top.residue(k) for k in part) for part in parts]
    best = sizes.index(max(sizes))
    kind = _kind(contents, parts[best])
    taken = [parts[best]]
    if kind == NUCLEIC:
        taken = [part for part in parts if _kind(contents, part) == NUCLEIC]
    residues = sorted(k for part in taken for k in part)
    return Subject(
        kind=kind,
        residues=tuple(residues),
        scope=_scope(top, kind, residues),
        n_molecules=len(parts),
        n_taken=len(taken),
        words=_which(contents, taken, sizes, best),
    )


def _which(contents: Contents, taken: list[list[int]], sizes: list[int], best: int) -> str:
    count, top = len(contents.parts), contents.topology
    if count == 1:
        return ""
    if len(taken) > 1:
        rest = f"; {count - len(taken)} other molecules are left out" if count > len(taken) else ""
        return f"of all {len(taken)} strands, which hold each other{rest}"
    first, last = (contents.title(top.residue(k)) for k in (taken[0][0], taken[0][-1]))
    names = first if first == last else f"{first} to {last}"
    alike = sizes.count(sizes[best])
    largest = f"the first of {alike} largest" if alike > 1 else "the largest"
    return f"of {largest} of {count} molecules, {names}; the others are left out"


def _kind(contents: Contents, part: list[int]) -> str:
    residues = [contents.topology.residue(k) for k in part]
    amino = [residue for residue in residues if _is_amino_acid(residue)]
    if amino:
        return BEADS if all(_is_bead(residue) for residue in amino) else PROTEIN
    sugars = [residue for residue in residues if residue.is_nucleic and _names(residue) & {"C1'", "P"}]
    return NUCLEIC if sugars else OTHER


def _scope(top: mdtraj.Topology, kind: str, residues: list[int]) -> str:
    """A selection of the residues, by a word where it says the same."""
    if kind in (PROTEIN, BEADS) and all(r.index in residues for r in top.residues if r.is_protein):
        return "protein"
    if kind == NUCLEIC and all(r.index in residues for r in top.residues if r.is_nucleic):
        return "nucleic"
    spans: list[list[int]] = []
    for k in residues:
        if spans and k == spans[-1][1] + 1:
            spans[-1][1] = k
        else:
            spans.append([k, k])
    texts = [f"resid {first}" if first == last else f"resid {first} to {last}" for first, last in spans]
    return texts[0] if len(texts) == 1 else f"({' or '.join(texts)})"


def _is_amino_acid(residue: mdtraj.core.topology.Residue) -> bool:
    """By name and by what it has: many names of three letters are an amino acid's somewhere."""
    if not residue.is_protein or residue.name in _CAPS:
        return False
    return _is_bead(residue) or _names(residue) >= {"N", "CA", "C"}


def _is_bead(residue: mdtraj.core.topology.Residue) -> bool:
    names = _names(residue)
    return residue.is_protein and "CA" in names and not names & {"N", "C"}


def _names(residue: mdtraj.core.topology.Residue) -> set[str]:
    return {atom.name for atom in residue.atoms}


def _n_heavy(residues: Iterable[mdtraj.core.topology.Residue]) -> int:
    return sum(a.element.symbol not in ("H", "VS") for residue in residues for a in residue.atoms)


def _mass(residue: mdtraj.core.topology.Residue) -> float:
    return float(sum(atom.element.mass for atom in residue.atoms))
