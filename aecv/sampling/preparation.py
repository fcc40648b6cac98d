"""A structure as it comes from the Protein Data Bank, made ready for a force field."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from openmm import app, unit

from aecv.ground.errors import MolecularSystemError, first_line
from aecv.ground.files import is_file
from aecv.models.solvent import SOLVENT
from aecv.sampling.force_field import read_force_field
from aecv.sampling.solvation import edge_for, n_waters, solvate
from aecv.sampling.structure import nm, read_coordinates

PH = 7.0
"""At which side chains get their hydrogens."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is to be done to a structure.

    Attributes:
        add_hydrogens: those that it lacks, at pH 7.
        drop_solvent: leave water and ions out.
        padding_nm: water to put around it, in a rhombic dodecahedron; None for none.
    """

    add_hydrogens: bool = False
    drop_solvent: bool = False
    padding_nm: float | None = None

    def __bool__(self) -> bool:
        return self.add_hydrogens or self.drop_solvent or self.padding_nm is not None


def prepare_structure(
    source: Path, target: Path, wanted: Preparation, *, forcefield: Sequence[str]
) -> tuple[str, ...]:
    """Write a structure without water and ions, with the hydrogens that it lacks, or in a box of water.

    Hydrogens are placed by OpenMM's Modeller and relaxed by the force field, heavy atoms at rest.

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
    modeller, done = app.Modeller(coordinates.topology, coordinates.positions * unit.nanometer), []
    if wanted.drop_solvent:
        dropped = [residue for residue in modeller.topology.residues() if residue.name in SOLVENT]
        modeller.delete(dropped)
        done.append(f"{len(dropped)} residues of solvent dropped")
    if modeller.topology.getNumAtoms() == 0:
        raise MolecularSystemError(f"{source}: has nothing but water and ions; leave --drop-solvent out")
    if wanted.add_hydrogens:
        before = modeller.topology.getNumAtoms()
        _add_hydrogens(modeller, source, forcefield)
        done.append(f"{modeller.topology.getNumAtoms() - before} hydrogens added")
    topology, positions = modeller.topology, nm(modeller.positions)
    if wanted.padding_nm is not None:
        edge = edge_for([positions], wanted.padding_nm)
        topology, (positions,) = solvate(
            topology, [positions], read_force_field(_found(forcefield)), edge_nm=edge
        )
        done.append(f"{n_waters(topology)} waters around it, images {edge:.2f} nm apart")
    writer = app.PDBFile if target.suffix.lower() == ".pdb" else app.PDBxFile
    with target.open("w", encoding="utf-8") as handle:
        # thousands of waters have numbers of their own
        writer.writeFile(topology, positions * unit.nanometer, handle, keepIds=wanted.padding_nm is None)
    return tuple(done)


def _found(forcefield: Sequence[str]) -> list[str]:
    """Names as `read_force_field` takes them: what is a file here is the user's."""
    return [str(Path(name).resolve()) if is_file(Path(name)) else name for name in forcefield]


def _add_hydrogens(modeller: app.Modeller, source: Path, forcefield: Sequence[str]) -> None:
    try:
        modeller.addHydrogens(read_force_field(_found(forcefield)), pH=PH)
    except Exception as error:  # OpenMM raises ValueError and others
        raise MolecularSystemError(
            f"{source}: cannot add hydrogens, since {', '.join(forcefield)} needs to know every residue "
            f"and all heavy atoms need to be there, got: {first_line(error)}; look at --drop-solvent and "
            "--forcefield, or complete the structure (PDBFixer)"
        ) from error
