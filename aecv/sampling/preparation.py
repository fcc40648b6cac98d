"""A structure as it comes from the Protein Data Bank, made ready for a force field."""

from collections.abc import Sequence
from pathlib import Path

from openmm import app, unit

from aecv.ground.errors import MolecularSystemError, first_line
from aecv.models.solvent import SOLVENT
from aecv.sampling.structure import read_coordinates

PH = 7.0
"""At which side chains get their hydrogens."""


def prepare_structure(
    source: Path, target: Path, *, forcefield: Sequence[str], add_hydrogens: bool, drop_solvent: bool
) -> tuple[int, int]:
    """Write a structure without water and ions, or with the hydrogens that it lacks.

    Hydrogens are placed by OpenMM's Modeller at pH 7 and relaxed by the force field, heavy atoms at rest.

    Args:
        forcefield: files for the relaxation.

    Returns:
        Residues that were dropped, and hydrogens that were added.

    Raises:
        MolecularSystemError: when the file cannot be read, or the force field does not know a residue.
    """
    coordinates = read_coordinates(source)
    if coordinates.topology is None:
        raise MolecularSystemError(
            f"{source}: needs a .pdb or .cif to add hydrogens to or drop water from; prepare it with the "
            "program that wrote it"
        )
    modeller = app.Modeller(coordinates.topology, coordinates.positions * unit.nanometer)
    dropped = [r for r in modeller.topology.residues() if r.name in SOLVENT] if drop_solvent else []
    modeller.delete(dropped)
    if modeller.topology.getNumAtoms() == 0:
        raise MolecularSystemError(f"{source}: has nothing but water and ions; leave --drop-solvent out")
    before = modeller.topology.getNumAtoms()
    if add_hydrogens:
        try:
            modeller.addHydrogens(app.ForceField(*forcefield), pH=PH)
        except Exception as error:  # OpenMM raises ValueError and others
            raise MolecularSystemError(
                f"{source}: cannot add hydrogens, since {', '.join(forcefield)} needs to know every residue "
                f"and all heavy atoms need to be there, got: {first_line(error)}; look at --drop-solvent and "
                "--forcefield, or complete the structure (PDBFixer)"
            ) from error
    writer = app.PDBFile if target.suffix.lower() == ".pdb" else app.PDBxFile
    with target.open("w", encoding="utf-8") as handle:
        writer.writeFile(modeller.topology, modeller.positions, handle, keepIds=True)
    return len(dropped), modeller.topology.getNumAtoms() - before
