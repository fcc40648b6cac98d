"""A structure as it comes from the Protein Data Bank, made ready for a force field."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from openmm import app, unit

from aecv.ground.errors import MolecularSystemError, UnknownResiduesError, first_line, listed
from aecv.ground.files import is_file
from aecv.molecules.solvent import SOLVENT, WATER
from aecv.sampling.preparing import findings
from aecv.sampling.preparing.solvation import edge_for, n_waters, repeatable, solvate
from aecv.sampling.system.force_field import read_force_field
from aecv.sampling.system.structure import nm, read_coordinates, residue_number, residue_title

PH = 7.0
"""At which side chains get their hydrogens."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is to be done to a structure.

    Attributes:
        add_hydrogens: those that it lacks, at pH 7, in place of any that its residues do not have, and the
            second oxygen where a chain ends; selenomethionine becomes methionine.
        drop_solvent: leave water and ions out.
        drop_water: leave water out.
        drop: names of residues to leave out.
        padding_nm: water to put around it, in a rhombic dodecahedron; None for none.
    """

    add_hydrogens: bool = False
    drop_solvent: bool = False
    drop_water: bool = False
    drop: tuple[str, ...] = ()
    padding_nm: float | None = None

    def __bool__(self) -> bool:
        return self != Preparation()


def prepare_structure(
    source: Path, target: Path, wanted: Preparation, *, forcefield: Sequence[str]
) -> tuple[str, ...]:
    """Write a structure without water and ions, with the hydrogens that it lacks, or in a box of water.

    Hydrogens are placed by OpenMM's Modeller and relaxed by the force field, heavy atoms at rest; a terminal
    oxygen lies opposite the other one, O' = C + 2 (d.u) u - d with d from C to O and u from CA to C, |u| = 1.

    Args:
        forcefield: files that know the molecule, and water and ions where these are wanted.

    Returns:
        What was done, in words.

    Raises:
        MolecularSystemError: when the file cannot be read, or the force field does not know a residue.
    """
    coordinates = read_coordinates(source)
    if coordinates.topology is None:
        raise MolecularSystemError(
            f"{source}: needs a .pdb or .cif to add hydrogens or water to, or to drop water from; prepare it "
            "with the program that wrote it"
        )
    modeller = app.Modeller(coordinates.topology, coordinates.positions * unit.nanometer)
    done = _drop(modeller, source, wanted)
    if wanted.add_hydrogens:
        modeller, said = _complete(modeller, source, forcefield)
        done += said
    topology, positions = modeller.topology, nm(modeller.positions)
    if wanted.padding_nm is not None:
        edge = edge_for([positions], wanted.padding_nm)
        known = read_force_field(_found(forcefield))
        if unknown := "; ".join(findings.unknown_residues(known, topology)):
            raise UnknownResiduesError(
                f"{source}: a box of water needs {', '.join(forcefield)} to know every residue; {unknown}"
            )
        topology, (positions,) = solvate(topology, [positions], known, edge_nm=edge)
        done.append(f"{n_waters(topology)} waters around it, images {edge:.2f} nm apart")
    writer = app.PDBFile if target.suffix.lower() == ".pdb" else app.PDBxFile
    with target.open("w", encoding="utf-8") as handle:
        # thousands of waters have numbers of their own
        writer.writeFile(topology, positions * unit.nanometer, handle, keepIds=wanted.padding_nm is None)
    return tuple(done)


def _drop(modeller: app.Modeller, source: Path, wanted: Preparation) -> list[str]:
    """Take residues away, and say which."""
    solvent = SOLVENT if wanted.drop_solvent else WATER if wanted.drop_water else frozenset()
    names = {name.upper() for name in wanted.drop}
    residues = list(modeller.topology.residues())
    if lacking := names - {residue.name.upper() for residue in residues}:
        raise MolecularSystemError(f"{source}: has no residue {', '.join(sorted(lacking))} to leave out")
    named = [residue for residue in residues if residue.name.upper() in names]
    dropped = [residue for residue in residues if residue.name.upper() in solvent - names]
    done = []
    if dropped:
        done.append(f"{len(dropped)} {'residues of solvent' if wanted.drop_solvent else 'waters'} dropped")
    if named:
        counts = Counter(residue.name for residue in named)
        done.append(f"{', '.join(f'{count} {name}' for name, count in counts.items())} dropped")
    if named or dropped:
        modeller.delete(named + dropped)
    if all(residue.name.upper() in SOLVENT for residue in modeller.topology.residues()):
        besides = f" besides {', '.join(sorted(names))}" if names else ""
        raise MolecularSystemError(
            f"{source}: has nothing but water and ions{besides}, and a CV needs a molecule of three atoms or "
            "more"
        )
    return done


def _complete(
    modeller: app.Modeller, source: Path, forcefield: Sequence[str]
) -> tuple[app.Modeller, list[str]]:
    """With all atoms that can be placed, and what was done."""
    done = []
    if renamed := _without_selenium(modeller.topology):
        done.append(f"{len(renamed)} selenomethionines made methionines ({', '.join(renamed)})")
    if strange := _without_strange_hydrogens(modeller):
        done.append(f"hydrogens of unknown names taken away ({strange})")
    modeller, ended = _with_terminal_oxygens(modeller)
    if ended:
        done.append(f"a terminal oxygen (OXT) added to {', '.join(ended)}")
    before = modeller.topology.getNumAtoms()
    _add_hydrogens(modeller, source, forcefield)
    if added := modeller.topology.getNumAtoms() - before:
        done.append(f"{added} hydrogens added at pH {PH:g}")
    return modeller, done


def _without_selenium(topology: app.Topology) -> list[str]:
    """Make selenomethionines methionines, whose atoms lie in the same places; which those are."""
    found = [residue for residue in topology.residues() if residue.name == "MSE"]
    for residue in found:
        residue.name = "MET"
        for atom in residue.atoms():
            if atom.element is app.element.selenium:
                atom.name, atom.element = "SD", app.element.sulfur
    if found:
        topology.createStandardBonds()
    return [f"{residue.chain.id} {residue_number(residue)}" for residue in found]


def _without_strange_hydrogens(modeller: app.Modeller) -> str:
    """Take hydrogens away whose residue, a known one, has none of that name, and name them.

    They come from programs with names of their own, or end a chain that was cut (HXT on C).
    """
    app.Modeller._loadStandardHydrogenDefinitions()
    definitions = app.Modeller._residueHydrogens  # OpenMM has no other way to ask
    strange = [
        atom
        for residue in modeller.topology.residues()
        if residue.name in definitions
        for atom in residue.atoms()
        if atom.element is app.element.hydrogen
        and atom.name not in {hydrogen.name for hydrogen in definitions[residue.name].hydrogens}
    ]
    modeller.delete(strange)
    return listed(f"{atom.name} of {residue_title(atom.residue)}" for atom in strange)


def _with_terminal_oxygens(modeller: app.Modeller) -> tuple[app.Modeller, list[str]]:
    """A copy with OXT at every amino acid whose C is bonded to CA and O alone, and which those are."""
    neighbours: dict[int, list[int]] = {atom.index: [] for atom in modeller.topology.atoms()}
    for first, second in modeller.topology.bonds():
        neighbours[first.index].append(second.index)
        neighbours[second.index].append(first.index)
    topology, places, ended = app.Topology(), [], []
    old = nm(modeller.positions)
    copies = {}
    for chain in modeller.topology.chains():
        new_chain = topology.addChain(chain.id)
        for residue in chain.residues():
            new = topology.addResidue(residue.name, new_chain, residue.id, residue.insertionCode)
            atoms = {atom.name: atom for atom in residue.atoms()}
            for atom in residue.atoms():
                copies[atom] = topology.addAtom(atom.name, atom.element, new)
                places.append(old[atom.index])
            if not atoms.keys() >= {"N", "CA", "C", "O"}:
                continue
            carbon, alpha, oxygen = (atoms[name].index for name in ("C", "CA", "O"))
            if sorted(neighbours[carbon]) != sorted((alpha, oxygen)):
                continue
            along = (old[carbon] - old[alpha]) / np.linalg.norm(old[carbon] - old[alpha])
            apart = old[oxygen] - old[carbon]
            extra = topology.addAtom("OXT", app.element.oxygen, new)
            topology.addBond(copies[atoms["C"]], extra)
            places.append(old[carbon] + 2 * (apart @ along) * along - apart)
            ended.append(residue_title(residue))
    if not ended:
        return modeller, []
    for bond in modeller.topology.bonds():
        topology.addBond(copies[bond[0]], copies[bond[1]], bond.type, bond.order)
    topology.setPeriodicBoxVectors(modeller.topology.getPeriodicBoxVectors())
    return app.Modeller(topology, np.array(places) * unit.nanometer), ended


def _add_hydrogens(modeller: app.Modeller, source: Path, forcefield: Sequence[str]) -> None:
    known = read_force_field(_found(forcefield))
    try:
        with repeatable(seed=0):  # hydrogens start near their atoms by chance
            modeller.addHydrogens(known, pH=PH)
    except Exception as error:  # OpenMM raises ValueError and others
        why = "; ".join(findings.unknown_residues(known, _with_all_hydrogens(modeller)))
        raise MolecularSystemError(
            f"{source}: cannot add hydrogens, since {', '.join(forcefield)} needs to know every residue "
            f"and all heavy atoms need to be there, got: {why or first_line(error)}"
        ) from error


def _with_all_hydrogens(modeller: app.Modeller) -> app.Topology:
    """The topology as it would be, so that what is unknown then is not so for want of hydrogens."""
    whole = app.Modeller(modeller.topology, modeller.positions)
    try:
        whole.addHydrogens(pH=PH)
    except Exception:  # as above
        return modeller.topology
    return whole.topology


def _found(forcefield: Sequence[str]) -> list[str]:
    """Names as `read_force_field` takes them: what is a file here is the user's."""
    return [str(Path(name).resolve()) if is_file(Path(name)) else name for name in forcefield]
