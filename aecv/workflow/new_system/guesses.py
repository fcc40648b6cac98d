"""What is guessed about a molecule: force field, box, CV atoms, observables, time step; and why."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
import openmm
from mdtraj.geometry.dihedral import indices_phi, indices_psi
from openmm import app

from aecv.ground.arrays import IntArray
from aecv.sampling.system.force_field import read_force_field
from aecv.workflow.new_system.contents import BEADS, NUCLEIC, OTHER, PROTEIN, Contents, Subject

_AMBER14 = "amber14-all.xml"
SOLVATED = (_AMBER14, "amber14/tip3pfb.xml")
IMPLICIT = ("amber99sbildn.xml", "amber99_obc.xml")
"""The model of implicit/obc2.xml too, which consists of OpenMM's custom forces, however: 4 to 10 times as
slow on a CPU (62 and 166 atoms, one thread)."""
CANDIDATES = {
    True: (SOLVATED, ("charmm36.xml", "charmm36/water.xml")),
    False: (IMPLICIT, (_AMBER14, "implicit/obc2.xml"), ("charmm36.xml", "implicit/obc2.xml")),
}
"""Force fields that are tried in turn, for molecules in water and without."""
_OTHER = {
    True: '["amber19-all.xml", "amber19/opc.xml"], ["charmm36.xml", "charmm36/water.xml"]',
    False: '["amber14-all.xml", "implicit/obc2.xml"] (newer; on a CPU several times slower)',
}
TINY = 50
"""Atoms up to which constraints save too little to be worth a thought."""
_SMALL_PEPTIDE = 3
_MOST_BACKBONE = 150
"""Atoms of the CV; more make training and every step slow, and CA alone then says as much."""
_HANDFUL = 5
_MELTS = 4
"""Nucleotides from which a chain has a shape worth a number, and a hot run would melt it."""
_LONG = 10
"""Residues from which a chain has a shape worth a number."""
_UNFOLDS = 30
"""Residues from which a hot run unfolds a protein for good."""


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A value of a setting, and why; `other` is what else is possible."""

    value: object
    why: str
    other: str = ""


@dataclass(frozen=True, kw_only=True)
class ObservableGuess:
    """An observable, with what it is in words."""

    name: str
    kind: str
    atoms: tuple[str, ...]
    words: str


def guess_forcefields(topology: app.Topology, *, is_solvated: bool) -> Iterator[Guess]:
    """Force fields that know every residue, the usual one first; that one where none does."""
    candidates = CANDIDATES[is_solvated]
    fitting = (files for files in candidates if not read_force_field(files).getUnmatchedResidues(topology))
    first = next(fitting, None)
    if first is None:
        yield _forcefield(candidates[0], "They do NOT know every residue: see `aecv check`.", is_solvated)
        return
    for files in (first, *fitting):
        yield _forcefield(files, "They know every residue.", is_solvated)


def _forcefield(files: tuple[str, ...], known: str, is_solvated: bool) -> Guess:
    water = (
        "The second file is the model of water and ions."
        if is_solvated
        else "There is no water around it: implicit solvent (OBC2), or, without the second file, vacuum."
    )
    return Guess(
        value=files, why=f"{known} {water}", other=f"{_OTHER[is_solvated]}, or a file in this folder"
    )


def guess_nonbonded(contents: Contents) -> Guess:
    """Particle-mesh Ewald in a box of water, all pairs without one."""
    if contents.is_solvated:
        return Guess(value="PME", why=f"{contents.bulk_words} fill a periodic box.")
    if contents.box is None:
        why = "The files have no periodic box: all pairs interact."
    else:
        water = f"{contents.n_water} waters do not fill it" if contents.n_water else "no water is in it"
        why = f"The file has a box, but {water}: taken as a molecule alone, in which all pairs interact."
    return Guess(value="NoCutoff", why=why, other='"CutoffNonPeriodic" for thousands of atoms')


def guess_cutoff(contents: Contents, file_format: str) -> float:
    """1 nm, 1.2 for CHARMM, less in a small box."""
    assert contents.box is not None
    usual = 1.2 if file_format == "charmm" else 1.0
    return min(usual, np.floor(4.9 * float(np.diag(contents.box).min())) / 10)


def guess_cv_atoms(contents: Contents) -> Guess:
    """Backbone atoms of a protein, phosphates, sugars and bases of a nucleic acid, else heavy atoms."""
    subject = contents.subject
    assert subject is not None  # there is a molecule
    if subject.kind == OTHER:
        return _heavy_atoms(contents, subject)
    names, what = _backbone(contents, subject)
    atoms = f"{subject.scope} and name {names}"
    n_atoms = len(contents.topology.select(atoms))
    which = f", {subject.words}" if subject.words else ""
    follows = " Hydrogens and the carbonyl oxygens follow from these." if subject.kind == PROTEIN else ""
    return Guess(
        value=atoms,
        why=f"{n_atoms} atoms, 3 x {n_atoms} inputs to the autoencoder: {what}{which}.{follows}",
        other='"backbone", "mass > 2" (all heavy atoms), "name CA and resid 3 to 9" (part of it)'
        if subject.kind == PROTEIN
        else "fewer: those that move against each other",
    )


def _backbone(contents: Contents, subject: Subject) -> tuple[str, str]:
    """Names of the atoms that say most of a chain's shape, as many as are still fast; and in words."""
    if subject.kind == BEADS:
        return "CA", "the beads CA"
    top = contents.topology
    detail: tuple[str, ...]
    words: tuple[str, ...]
    if subject.kind == NUCLEIC:
        detail, coarse = ('P "C4\'" "C1\'" C2 C4 C6', 'P "C1\'"'), '"C1\'"'
        words = (
            "phosphorus, two atoms of the sugar and three of the base",
            "phosphorus and C1' of the sugar",
        )
    elif len(_amino_acids(contents, subject)) <= _SMALL_PEPTIDE:
        detail, coarse = ("N CA C CB CH3",), "CA"
        words = ("the backbone, CB and the methyls of caps",)
    else:
        detail, coarse = ("N CA C",), "CA"
        words = ("the backbone without its oxygens",)
    for names, what in zip(detail, words, strict=True):
        n_atoms = len(top.select(f"{subject.scope} and name {names}"))
        if n_atoms <= _MOST_BACKBONE:
            return names, what
    rest = "the backbone's" if subject.kind == PROTEIN else "with phosphorus"
    return coarse, f"one atom a residue ({rest} {n_atoms} atoms would be slow)"


def _heavy_atoms(contents: Contents, subject: Subject) -> Guess:
    top = contents.topology
    atoms = f"{subject.scope} and mass > 2"
    found = top.select(atoms)
    what = "all but hydrogens of the largest molecule that is neither water nor an ion"
    if len(found) < 3:
        atoms, what = subject.scope, "all of the molecule, hydrogens too"
    if len(found) > _MOST_BACKBONE:
        step = -(-len(found) // _MOST_BACKBONE)
        atoms = f"index {' '.join(str(k) for k in found[::step])}"
        what = f"every {step}th of {len(found)} heavy atoms (all of them would be slow)"
    n_atoms = len(top.select(atoms))
    which = f", {subject.words}" if subject.words else ""
    return Guess(
        value=atoms,
        why=f"{n_atoms} atoms, 3 x {n_atoms} inputs to the autoencoder: {what}{which}.",
        other="fewer: those that move against each other",
    )


def guess_observables(contents: Contents, cv_atoms: str) -> list[ObservableGuess]:
    """Backbone dihedrals of a handful of residues, end-to-end distance, and the RMSD of the CV's atoms.

    Of a longer chain the radius of gyration and the helicity too.
    """
    subject = contents.subject
    assert subject is not None  # there is a molecule
    found = [
        *_dihedrals(contents, subject),
        *_end_to_end(contents, subject, cv_atoms),
        *_overall(contents, subject, cv_atoms),
    ]
    found.append(
        ObservableGuess(
            name="rmsd",
            kind="rmsd",
            atoms=(cv_atoms,),
            words="How far the CV's atoms are from the structure, superposed [nm]",
        )
    )
    return found


def _amino_acids(contents: Contents, subject: Subject) -> list[mdtraj.core.topology.Residue]:
    return [residue for residue in contents.protein_residues if residue.index in subject.residues]


def _overall(contents: Contents, subject: Subject, cv_atoms: str) -> list[ObservableGuess]:
    found = []
    is_chain = len(_amino_acids(contents, subject)) >= _LONG
    if is_chain or (subject.kind == NUCLEIC and len(subject.residues) >= _MELTS):
        found.append(
            ObservableGuess(
                name="rg",
                kind="radius_of_gyration",
                atoms=(f"{subject.scope} and name CA" if is_chain else cv_atoms,),
                words=f"Radius of gyration of the {'alpha carbons' if is_chain else 'atoms of the CV'} [nm]",
            )
        )
    if is_chain and subject.kind == PROTEIN:
        found.append(
            ObservableGuess(
                name="helicity",
                kind="helicity",
                atoms=(subject.scope,),
                words="Share of the residues that are in runs of at least three alpha-helical ones",
            )
        )
    return found


def _dihedrals(contents: Contents, subject: Subject) -> list[ObservableGuess]:
    top = contents.topology
    phi = {top.atom(row[1]).residue.index: row for row in _connected(contents, indices_phi(top))}
    psi = {top.atom(row[1]).residue.index: row for row in _connected(contents, indices_psi(top))}
    phi, psi = ({k: rows[k] for k in rows if k in subject.residues} for rows in (phi, psi))
    both = sorted(phi.keys() & psi.keys()) or sorted(phi.keys() | psi.keys())
    chosen = _spread(both, _HANDFUL)
    labels = [contents.number(top.residue(k)) for k in chosen]
    if len({label.lower() for label in labels}) < len(labels):
        labels = [f"resid{k}" for k in chosen]  # several chains may count from 1
    found = []
    for index, label in zip(chosen, labels, strict=True):
        for kind, rows in (("phi", phi), ("psi", psi)):
            if index in rows:
                found.append(
                    ObservableGuess(
                        name=kind if len(chosen) == 1 else f"{kind}_{label}",
                        kind="dihedral",
                        atoms=tuple(_selection(top, i) for i in rows[index]),
                        words=f"Backbone dihedral {kind} of {contents.title(top.residue(index))} [rad]",
                    )
                )
    return found


def _connected(contents: Contents, rows: IntArray | Sequence) -> IntArray:
    """Rows of atoms whose neighbours are close enough for bonds: a chain may have a gap."""
    rows = np.asarray(rows, dtype=int).reshape(-1, 4)
    steps = np.linalg.norm(np.diff(contents.positions[rows], axis=1), axis=2)
    return rows[(steps < 0.2).all(axis=1)]


def _spread(items: Sequence[int], n_most: int) -> list[int]:
    """At most n of them, evenly over all."""
    if len(items) <= n_most:
        return list(items)
    return [items[round(at)] for at in np.linspace(0, len(items) - 1, n_most)]


def _end_to_end(contents: Contents, subject: Subject, cv_atoms: str) -> list[ObservableGuess]:
    """First and last CA of the longest chain; of other molecules the two CV atoms that are farthest apart."""
    top = contents.topology
    alphas = [a for r in _amino_acids(contents, subject) for a in r.atoms if a.name == "CA"]
    chains: dict[int, list[int]] = {}
    for atom in alphas:
        chains.setdefault(atom.residue.chain.index, []).append(atom.index)
    ends = max(chains.values(), key=len, default=[])
    if len(ends) >= 3:
        first, last = ends[0], ends[-1]
        titles = (contents.title(top.atom(k).residue) for k in (first, last))
        words = "CA of {} to CA of {} [nm]".format(*titles)
    elif alphas:
        return []
    else:
        own = top.select(cv_atoms)
        apart = np.linalg.norm(contents.positions[own, None] - contents.positions[None, own], axis=2)
        row, column = np.unravel_index(int(apart.argmax()), apart.shape)
        first, last = sorted((int(own[row]), int(own[column])))
        words = "Between the two atoms of the CV that are farthest apart in the structure [nm]"
    atoms = (_selection(top, first), _selection(top, last))
    return [ObservableGuess(name="end_to_end", kind="distance", atoms=atoms, words=words)]


def guess_constraints(contents: Contents, system: openmm.System | None, file_format: str) -> Guess:
    """Bonds of hydrogens at fixed length, but for tiny molecules."""
    if file_format == "openmm":
        n = 0 if system is None else system.getNumConstraints()
        return Guess(value=None, why=f"The System has {n} constraints.")
    if contents.topology.n_atoms <= TINY and not contents.is_solvated:
        return Guess(
            value="none",
            why=f"{contents.topology.n_atoms} atoms are fast enough with a short time step.",
            other='"HBonds" with dynamics.timestep_ps = 0.002',
        )
    return Guess(
        value="HBonds",
        why="Bonds of hydrogens at fixed length: they vibrate fastest, and so the time step may be 0.002.",
        other='"none" with dynamics.timestep_ps = 0.001; hydrogen_mass_da = 3 allows up to 0.004',
    )


def guess_timestep(constraints: Guess, system: openmm.System | None) -> Guess:
    """0.002 ps where bonds of hydrogens are fixed, else 0.001 ps."""
    fixed = constraints.value == "HBonds" or (
        constraints.value is None and system is not None and system.getNumConstraints() > 0
    )
    if fixed:
        return Guess(value=0.002, why="Safe with bonds of hydrogens at fixed length.")
    return Guess(value=0.001, why="Bonds of hydrogens vibrate with a period of 0.010 ps.")


def guess_starts(contents: Contents) -> Guess:
    """A hot run for small molecules alone."""
    subject, given = contents.subject, '"given" with system.starts = ["other.pdb"]'
    if contents.is_solvated or subject is None:
        return Guess(
            value="one",
            why="The structure alone: a run at 1000 K would blow up a box of liquid.",
            other=f"{given}, further structures with the same atoms",
        )
    n, spoils = len(_amino_acids(contents, subject)), ""
    if subject.n_molecules > 1:
        spoils = f"part the {subject.n_molecules} molecules"
    elif n > _UNFOLDS:
        spoils = f"unfold {n} residues for good"
    elif subject.kind == NUCLEIC and len(subject.residues) > _MELTS:
        spoils = f"unfold {len(subject.residues)} nucleotides for good"
    if spoils:
        return Guess(
            value="one",
            why=f"The structure alone: a hot run would {spoils}.",
            other=f'"auto" (conformers of a hot run), {given}',
        )
    return Guess(
        value="auto",
        why="Conformers of a short hot run, so that several basins are known from the start.",
        other=f'"one" (the structure alone), {given}',
    )


def _selection(top: mdtraj.Topology, index: int) -> str:
    """A selection of one atom; by residue and name where that is enough."""
    atom = top.atom(int(index))
    namesakes = [a for a in atom.residue.atoms if a.name == atom.name]
    if len(namesakes) > 1 or not atom.name.isalnum():
        return f"index {atom.index}"
    return f"resid {atom.residue.index} and name {atom.name}"
