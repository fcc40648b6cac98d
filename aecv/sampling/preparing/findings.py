"""What looks wrong about a structure, in sentences that say what to do."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openmm
from openmm import app
from scipy.spatial import cKDTree

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import listed
from aecv.molecules.solvent import SOLVENT
from aecv.sampling.system.diagnosis import atom_name
from aecv.sampling.system.images import bond_pairs, system_box
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.sampling.system.structure import residue_title

CLASH_NM = 0.15
"""Heavy atoms without a bond between them are farther apart than this: two bonds are 0.21 nm and more."""
TOUCH_NM = 0.08
"""The same where a hydrogen is one of the two: two bonds are 0.15 nm and more."""
LONG_BOND_NM = 0.3
"""No bond is longer: disulfides and metals reach 0.25 nm."""
_AMINO_ACIDS = "ALA ARG ASN ASP CYS GLN GLU GLY HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL"


def of_structure(system: MolecularSystem) -> Iterator[str]:
    """All that a structure of which a System was made may have: shared numbers, clashes, long bonds."""
    box = system_box(system.system) if system.is_periodic else None
    yield from shared_numbers(system.topology)
    yield from clashes(system.topology, system.system, system.positions)
    yield from long_bonds(system.topology, system.system, system.positions, box)


def missing_hydrogens(topology: app.Topology, path: Path) -> Iterator[str]:
    """Residues with carbon and without hydrogen."""
    bare = []
    residues = [residue for residue in topology.residues() if residue.name.upper() not in SOLVENT]
    for residue in residues:
        symbols = [atom.element.symbol for atom in residue.atoms() if atom.element is not None]
        if "C" in symbols and "H" not in symbols:
            bare.append(residue)
    if bare:
        yield (
            f"missing hydrogens: {len(bare)} of {len(residues)} residues have none "
            f"({listed([residue_title(residue) for residue in bare])}); X-ray structures come without; let "
            f"aecv add them, in a new folder: aecv init NAME --pdb {shlex.quote(str(path))} --add-hydrogens"
        )


def unknown_residues(forcefield: app.ForceField, topology: app.Topology) -> Iterator[str]:
    """Residues that no template of the force field fits, and what may be the matter."""
    try:
        unmatched = forcefield.getUnmatchedResidues(topology)
    except Exception:  # the force field itself is at fault, and the error of building says so
        return
    if not unmatched:
        return
    amino = [r for r in topology.residues() if r.name in _AMINO_ACIDS.split(" ")]
    if amino and not any({"N", "CA", "C"} <= {a.name for a in r.atoms()} for r in amino):
        yield (
            f"beads: the amino acids have no backbone of N, CA and C ({residue_title(amino[0])} is "
            f"{_words({a.name for a in amino[0].atoms()})}), and a force field of atoms knows none; give "
            "their forces, as an OpenMM System (.xml), a Gromacs topology (.top, as SMOG writes it) or a "
            "force-field file of your own"
        )
        return
    lacking = [(residue, atoms) for residue in unmatched if (atoms := _missing_heavy(forcefield, residue))]
    if lacking:
        titles = [f"{residue_title(residue)} lacks {_words(atoms)}" for residue, atoms in lacking]
        yield (
            f"missing atoms: {len(lacking)} of {topology.getNumResidues()} residues lack heavy atoms "
            f"({listed(titles, separator='; ')}); complete the structure, for example with PDBFixer: "
            "pdbfixer FILE --add-atoms=heavy --output NEW"
        )
        return
    reasons: dict[str, list[str]] = {}
    for residue in unmatched:
        reasons.setdefault(_why_unknown(forcefield, residue), []).append(residue_title(residue))
    for reason, titles in reasons.items():
        yield f"not in the force field: {listed(titles)}: {reason}"


def _missing_heavy(forcefield: app.ForceField, residue: app.topology.Residue) -> set[str]:
    """Heavy atoms of the residue's template that it has not; none where its own are called otherwise."""
    template = forcefield._templates.get(residue.name)  # OpenMM has no other way to ask for names
    if template is None or residue.name.upper() in SOLVENT:
        return set()
    heavy = {a.name for a in template.atoms if a.element is not None and a.element.symbol != "H"}
    own = {a.name for a in residue.atoms() if a.element is not None and a.element.symbol != "H"}
    return heavy - own if own - {"OXT"} <= heavy else set()


def _why_unknown(forcefield: app.ForceField, residue: app.topology.Residue) -> str:
    templates = forcefield._templates
    atoms = list(residue.atoms())
    if residue.name not in templates:
        if residue.name.upper() in SOLVENT:
            return "water and ions need a file of their own (amber14/tip3pfb.xml), or are left out"
        return (
            "it knows no residue of that name; a ligand needs parameters of its own, for example as an Amber "
            "topology (aecv init NAME --prmtop FILE --inpcrd FILE)"
        )
    if not any(atom.element is not None and atom.element.symbol == "H" for atom in atoms):
        return "hydrogens are missing"
    names, expected = {a.name for a in atoms}, {a.name for a in templates[residue.name].atoms}
    chain = list(residue.chain.residues())
    if len(chain) == 1 and residue.name in _AMINO_ACIDS.split(" "):
        return "an amino acid alone is none of its residues, which need neighbours or caps (ACE, NME)"
    if residue in (chain[0], chain[-1]):
        return (
            "it ends its chain, and an end needs all of its atoms: H, H2 and H3 at the first residue, OXT at "
            "the last one, or caps (ACE, NME)"
        )
    return (
        f"its atoms are not those of {residue.name} (missing: {_words(expected - names)}; not known there: "
        f"{_words(names - expected)})"
    )


def shared_numbers(topology: app.Topology) -> Iterator[str]:
    """Residues that differ by their insertion code alone, which selections do not know."""
    titles = [
        f"{residue_title(residue)} is resid {residue.index}"
        for residue in topology.residues()
        if residue.insertionCode.strip()
    ]
    if titles:
        yield (
            f"insertion codes: selections by number ('residue 5') take 5 and 5A alike; name one by resid: "
            f"{listed(titles)}"
        )


def clashes(topology: app.Topology, system: openmm.System | None, positions: FloatArray) -> Iterator[str]:
    """Atoms that are too close without a bond between them."""
    bonded = bond_pairs(topology, system)
    is_light = np.array([a.element is None or a.element.symbol == "H" for a in topology.atoms()])
    found = []
    for first, second in sorted(cKDTree(positions).query_pairs(CLASH_NM)):
        distance = float(np.linalg.norm(positions[first] - positions[second]))
        limit = TOUCH_NM if is_light[first] or is_light[second] else CLASH_NM
        if distance < limit and (first, second) not in bonded:
            found.append((distance, first, second))
    if found:
        distance, first, second = min(found)
        more = f", and {len(found) - 1} more pairs" if len(found) > 1 else ""
        names = f"{atom_name(topology, first)} and {atom_name(topology, second)}"
        yield (
            f"clash: {names} are {distance:.3f} nm apart "
            f"without a bond{more}; look for alternative locations or molecules laid over each other"
        )


def long_bonds(
    topology: app.Topology, system: openmm.System | None, positions: FloatArray, box: FloatArray | None
) -> Iterator[str]:
    """Bonds across a gap in a chain; those that a box cuts are measured across it."""
    pairs = np.array(sorted(bond_pairs(topology, system)), dtype=int).reshape(-1, 2)
    if not len(pairs):
        return
    apart = positions[pairs[:, 1]] - positions[pairs[:, 0]]
    if box is not None:
        apart -= np.round(np.linalg.solve(box.T, apart.T)).T @ box
    lengths = np.linalg.norm(apart, axis=1)
    worst = int(lengths.argmax())
    if lengths[worst] <= LONG_BOND_NM:
        return
    names = " and ".join(atom_name(topology, int(index)) for index in pairs[worst])
    count = int(np.count_nonzero(lengths > LONG_BOND_NM))
    more = f", and {count - 1} more" if count > 1 else ""
    yield (
        f"long bond: {names} are {lengths[worst]:.2f} nm apart{more}: residues are missing between them, "
        "or the chain needs an end (TER) there"
    )


def hot_water(system: MolecularSystem) -> Iterator[str]:
    """A hot run of a box of solvent."""
    starts = system.spec.settings.starts
    if starts.mode == "auto" and system.is_solvated:
        yield (
            f"hot solvent: starts.mode 'auto' would run the box at {starts.hot_temperature_k:g} K for "
            f"{starts.hot_ps:g} ps; take 'one', or 'given' with system.starts"
        )


def _words(names: set[str]) -> str:
    return " ".join(sorted(names)[:8]) or "none"
