"""What is guessed about a molecule: force field, box, CV atoms, observables, time step; and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
import openmm
from mdtraj.geometry.dihedral import indices_phi, indices_psi
from openmm import app

from aecv.ground.grid import FloatArray, IntArray
from aecv.models.solvent import SOLVENT, WATER
from aecv.sampling.force_field import read_force_field

PROTEIN = "amber14-all.xml"
SOLVATED = (PROTEIN, "amber14/tip3pfb.xml")
IMPLICIT = ("amber99sbildn.xml", "amber99_obc.xml")
"""The model of implicit/obc2.xml too, which consists of OpenMM's custom forces, however: 4 to 10 times as
slow on a CPU (62 and 166 atoms, one thread)."""
_CANDIDATES = {
    True: (SOLVATED, ("charmm36.xml", "charmm36/water.xml")),
    False: (IMPLICIT, (PROTEIN, "implicit/obc2.xml"), ("charmm36.xml", "implicit/obc2.xml")),
}
"""Force fields that are tried in turn, for molecules in water and without."""
_OTHER = {
    True: '["amber19-all.xml", "amber19/opc.xml"], ["charmm36.xml", "charmm36/water.xml"]',
    False: '["amber14-all.xml", "implicit/obc2.xml"] (newer; on a CPU several times slower)',
}
_NM3_PER_WATER = 0.03
_FILLED = 0.3
"""Share of a box that its water takes up from which it counts as filled; a crystal's few waters are less."""
TINY = 50
"""Atoms up to which constraints save too little to be worth a thought."""
_SMALL_PEPTIDE = 3
_MOST_BACKBONE = 150
"""Atoms of the CV; more make training and every step slow, and CA alone then says as much."""
_HANDFUL = 5
_LONG = 10
"""Residues from which a chain has a shape worth a number."""
_UNFOLDS = 30
"""Residues from which a hot run unfolds a protein for good."""
_CAPS = ("ACE", "NME", "NMA", "NH2")


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """What is in the files.

    Attributes:
        topology: for mdtraj.
        positions: shape (N, 3) [nm].
        box: shape (3, 3) [nm]; None without.
    """

    topology: mdtraj.Topology
    positions: FloatArray
    box: FloatArray | None

    @property
    def n_water(self) -> int:
        return sum(residue.name in WATER for residue in self.topology.residues)

    @property
    def is_solvated(self) -> bool:
        """Whether water fills the box: crystals have a box and a few waters, NMR structures one of 0.1 nm."""
        if self.box is None:
            return False
        return self.n_water * _NM3_PER_WATER > _FILLED * abs(float(np.linalg.det(self.box)))

    @property
    def protein_residues(self) -> list[mdtraj.core.topology.Residue]:
        """Amino acids, without caps."""
        return [r for r in self.topology.residues if r.is_protein and r.name not in _CAPS]


def guess_forcefield(topology: app.Topology, *, is_solvated: bool) -> Guess:
    """The first of a few force fields that knows every residue; else the first."""
    files, fits = _CANDIDATES[is_solvated][0], False
    for candidate in _CANDIDATES[is_solvated]:
        if not read_force_field(candidate).getUnmatchedResidues(topology):
            files, fits = candidate, True
            break
    water = (
        "The second file is the model of water and ions."
        if is_solvated
        else "There is no water around it: implicit solvent (OBC2), or, without the second file, vacuum."
    )
    known = "They know every residue." if fits else "They do NOT know every residue: see `aecv check`."
    return Guess(
        value=files,
        why=f"{known} {water}",
        other=f"{_OTHER[is_solvated]}, or a file in this folder",
    )


def guess_nonbonded(contents: Contents) -> Guess:
    """Particle-mesh Ewald in a box of water, all pairs without one."""
    if contents.is_solvated:
        return Guess(value="PME", why=f"{contents.n_water} waters fill a periodic box.")
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
    """Backbone atoms of a protein; heavy atoms of the largest molecule of anything else."""
    residues = contents.protein_residues
    if not residues:
        return _largest_molecule(contents)
    if len(residues) <= _SMALL_PEPTIDE:
        atoms, what = "protein and name N CA C CB CH3", "the backbone, CB and the methyls of caps"
    else:
        atoms, what = "protein and name N CA C", "the backbone without its oxygens"
    n_atoms = len(contents.topology.select(atoms))
    if n_atoms > _MOST_BACKBONE:
        what = f"one atom a residue (the backbone's {n_atoms} atoms would be slow)"
        atoms = "protein and name CA"
        n_atoms = len(contents.topology.select(atoms))
    return Guess(
        value=atoms,
        why=f"{n_atoms} atoms, 3 x {n_atoms} inputs to the autoencoder: {what}. Hydrogens and the carbonyl "
        "oxygens follow from these.",
        other='"backbone", "mass > 2" (all heavy atoms), "name CA and resid 3 to 9" (part of it)',
    )


def _largest_molecule(contents: Contents) -> Guess:
    top = contents.topology
    molecules = [sorted(atom.index for atom in molecule) for molecule in top.find_molecules()]
    solute = [m for m in molecules if top.atom(m[0]).residue.name not in SOLVENT] or molecules
    # without bonds in the file every atom is a molecule of its own: then its residue
    largest = max(solute, key=len)
    resids = sorted({top.atom(i).residue.index for i in largest})
    span = f"resid {resids[0]}" if len(resids) == 1 else f"resid {resids[0]} to {resids[-1]}"
    atoms = f"{span} and mass > 2"
    if len(top.select(atoms)) < 3:
        atoms = span
    n_atoms = len(top.select(atoms))
    return Guess(
        value=atoms,
        why=f"{n_atoms} atoms, 3 x {n_atoms} inputs to the autoencoder: all but hydrogens of the largest "
        "molecule that is neither water nor an ion.",
        other="fewer: those that move against each other",
    )


def guess_observables(contents: Contents, cv_atoms: str) -> list[ObservableGuess]:
    """Backbone dihedrals of a handful of residues, end-to-end distance, and the RMSD of the CV's atoms.

    Of a longer chain the radius of gyration and the helicity too.
    """
    found = _dihedrals(contents) + _end_to_end(contents, cv_atoms) + _overall(contents)
    found.append(
        ObservableGuess(
            name="rmsd",
            kind="rmsd",
            atoms=(cv_atoms,),
            words="How far the CV's atoms are from the structure, superposed [nm]",
        )
    )
    return found


def _overall(contents: Contents) -> list[ObservableGuess]:
    if len(contents.protein_residues) < _LONG:
        return []
    return [
        ObservableGuess(
            name="rg",
            kind="radius_of_gyration",
            atoms=("protein and name CA",),
            words="Radius of gyration of the alpha carbons [nm]",
        ),
        ObservableGuess(
            name="helicity",
            kind="helicity",
            atoms=("protein",),
            words="Share of the residues that are in runs of at least three alpha-helical ones",
        ),
    ]


def _dihedrals(contents: Contents) -> list[ObservableGuess]:
    top = contents.topology
    phi = {top.atom(row[1]).residue.index: row for row in _connected(contents, indices_phi(top))}
    psi = {top.atom(row[1]).residue.index: row for row in _connected(contents, indices_psi(top))}
    both = sorted(phi.keys() & psi.keys()) or sorted(phi.keys() | psi.keys())
    chosen = _spread(both, _HANDFUL)
    labels = [str(top.residue(k).resSeq) for k in chosen]
    if len(set(labels)) < len(labels) or any(not label.isdigit() for label in labels):
        labels = [str(k) for k in chosen]  # several chains may count from 1
    found = []
    for index, label in zip(chosen, labels, strict=True):
        for kind, rows in (("phi", phi), ("psi", psi)):
            if index in rows:
                found.append(
                    ObservableGuess(
                        name=kind if len(chosen) == 1 else f"{kind}_{label}",
                        kind="dihedral",
                        atoms=tuple(_selection(top, i) for i in rows[index]),
                        words=f"Backbone dihedral {kind} of {_title(top.residue(index))} [rad]",
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
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, n_most)]


def _end_to_end(contents: Contents, cv_atoms: str) -> list[ObservableGuess]:
    """First and last CA of the longest chain; of other molecules the two CV atoms that are farthest apart."""
    top = contents.topology
    chains = [
        [a.index for a in chain.atoms if a.name == "CA" and a.residue.is_protein] for chain in top.chains
    ]
    ends = max(chains, key=len, default=[])
    if len(ends) >= 3:
        first, last = ends[0], ends[-1]
        words = f"CA of {_title(top.atom(first).residue)} to CA of {_title(top.atom(last).residue)} [nm]"
    elif contents.protein_residues:
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
    n = len(contents.protein_residues)
    if contents.is_solvated:
        return Guess(
            value="one",
            why="The structure alone: a run at 1000 K would blow up a box of water.",
            other='"given" with system.starts = ["other.pdb"], further structures with the same atoms',
        )
    if n > _UNFOLDS:
        return Guess(
            value="one",
            why=f"The structure alone: a hot run would unfold {n} residues for good.",
            other='"auto" (conformers of a hot run), "given" with system.starts = ["other.pdb"]',
        )
    return Guess(
        value="auto",
        why="Conformers of a short hot run, so that several basins are known from the start.",
        other='"one" (the structure alone), "given" with system.starts = ["other.pdb"]',
    )


def _selection(top: mdtraj.Topology, index: int) -> str:
    """A selection of one atom; by residue and name where that is enough."""
    atom = top.atom(int(index))
    namesakes = [a for a in atom.residue.atoms if a.name == atom.name]
    if len(namesakes) > 1 or not atom.name.isalnum():
        return f"index {atom.index}"
    return f"resid {atom.residue.index} and name {atom.name}"


def _title(residue: mdtraj.core.topology.Residue) -> str:
    return f"{residue.name} {residue.resSeq}"
