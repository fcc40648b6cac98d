"""Make folded.pdb and unfolded.pdb: CLN025 as it was crystallised, and stretched out with one bend.

Then folded_water.pdb and unfolded_water.pdb, the same in a box of water.

Run `python -m systems.chignolin.make_structure` in the sources' folder to write the files again; see
ORIGIN.md. It needs the package PeptideBuilder beside those of aecv.
"""

import io
from pathlib import Path

import numpy as np
import PeptideBuilder
from Bio.PDB import PDBIO
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.sampling.preparing.solvation import solvate
from systems.building import minimised, pdb_text, write_pdb

HERE = Path(__file__).parent
SEQUENCE = "YYDPETGTWY"
FORCEFIELD = ("amber14/protein.ff14SB.xml", "implicit/gbn2.xml")
WATER = ("amber14/protein.ff14SB.xml", "amber14/tip3p.xml")
EDGE_NM = 4.2
"""Distance of the images of the box: the stretched peptide is 3.1 nm long."""
PH = 7.0
BEND = 4
"""Residue, counted from 0, with the dihedrals of a helix, the others with those of polyproline II. Without it
the alpha carbons lie almost on a line, and have no rotation onto the folded structure that is unique."""
STRETCHED, HELICAL = (-75.0, 145.0), (-65.0, -40.0)
"""phi and psi [degree]"""
TOLERANCE = 1.0
"""Of the minimisation [kJ/mol/nm]."""


def folded() -> app.Modeller:
    """The crystal structure without its waters."""
    content = app.PDBFile(str(HERE / "5AWL.pdb"))
    modeller = app.Modeller(content.topology, content.positions)
    modeller.deleteWater()
    return modeller


def unfolded() -> app.Modeller:
    """Ideal bonds and angles, all peptide bonds trans."""
    dihedrals = [HELICAL if residue == BEND else STRETCHED for residue in range(len(SEQUENCE))]
    chain = PeptideBuilder.make_structure(
        SEQUENCE, [phi for phi, _ in dihedrals[1:]], [psi for _, psi in dihedrals[:-1]]
    )
    PeptideBuilder.add_terminal_OXT(chain)
    text, writer = io.StringIO(), PDBIO()
    writer.set_structure(chain)
    writer.save(text)
    content = app.PDBFile(io.StringIO(text.getvalue()))
    return app.Modeller(content.topology, content.positions)


def with_hydrogens(modeller: app.Modeller) -> tuple[app.Topology, FloatArray]:
    """All atoms at pH 7, and their positions [nm]."""
    modeller.addHydrogens(app.ForceField(*FORCEFIELD), pH=PH)
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))


def in_order(topology: app.Topology, positions: FloatArray, order: app.Topology) -> FloatArray:
    """Positions [nm] in the order of another topology of the same atoms."""
    found = {(atom.residue.index, atom.name): positions[atom.index] for atom in topology.atoms()}
    rows = np.array([found.pop((atom.residue.index, atom.name)) for atom in order.atoms()])
    assert not found, f"atoms of one structure alone: {sorted(found)}"
    return rows


def main() -> None:
    """Write all files beside this one."""
    topology, positions = with_hydrogens(folded())
    stretched = in_order(*with_hydrogens(unfolded()), topology)
    conformers = [
        minimised(topology, item, FORCEFIELD, tolerance=TOLERANCE) for item in (positions, stretched)
    ]
    for name, conformer in zip(("folded", "unfolded"), conformers, strict=True):
        write_pdb(HERE / f"{name}.pdb", topology, conformer)
    solvated, boxes = solvate(topology, conformers, app.ForceField(*WATER), edge_nm=EDGE_NM)
    for name, box in zip(("folded", "unfolded"), boxes, strict=True):
        (HERE / f"{name}_water.pdb").write_text(pdb_text(solvated, box), encoding="utf-8")


if __name__ == "__main__":
    main()
