"""Make helix.pdb and stretched.pdb: Ac-(AAQAA)3-NH2 from its sequence.

Run `python -m systems.aaqaa3.make_structure` in the sources' folder to write the files again; see ORIGIN.md.
It needs the package PeptideBuilder beside those of aecv.
"""

from pathlib import Path

import numpy as np
import PeptideBuilder
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from systems.building import minimised, place, write_pdb

HERE = Path(__file__).parent
SEQUENCE = "AAQAA" * 3
NAMES = {"A": "ALA", "Q": "GLN"}
FORCEFIELD = ("amber14/protein.ff14SB.xml", "implicit/gbn2.xml")
HELICAL, STRETCHED, TURNED = (-57.0, -47.0), (-75.0, 145.0), (-65.0, -40.0)
"""phi and psi [degree] of an alpha helix, of polyproline II, and of the residues where a chain bends."""
BENDS = (4, 9)
"""Residues, counted from 0, where it bends: the alpha carbons of a straight chain lie almost on a line, and
the rotation of a line onto the helix is not unique."""
TOLERANCE = 1.0
"""Of the minimisation [kJ/mol/nm]."""
Heavy = list[tuple[str, str, str, FloatArray]]
"""Residue, atom, element and position [nm]."""


def heavy_atoms(dihedrals: list[tuple[float, float]]) -> list[Heavy]:
    """Residue by residue the atoms of the capped chain but hydrogens, all peptide bonds trans.

    Args:
        dihedrals: phi and psi per residue of the sequence [degree].
    """
    chain = PeptideBuilder.make_structure(
        SEQUENCE, [phi for phi, _ in dihedrals[1:]], [psi for _, psi in dihedrals[:-1]]
    )
    built = [
        {atom.get_name(): 0.1 * np.asarray(atom.get_coord(), dtype=float) for atom in residue}
        for residue in chain.get_residues()
    ]
    first, last = built[0], built[-1]
    phi, psi = dihedrals[0][0], dihedrals[-1][1]
    carbonyl = place(first["N"], first["CA"], first["C"], (0.134, 122.0, phi))
    acetyl = [
        ("ACE", "CH3", "C", place(carbonyl, first["N"], first["CA"], (0.152, 116.5, 180.0))),
        ("ACE", "C", "C", carbonyl),
        ("ACE", "O", "O", place(carbonyl, first["N"], first["CA"], (0.123, 123.0, 0.0))),
    ]
    last["O"] = place(last["C"], last["CA"], last["N"], (0.123, 120.5, psi + 180.0))
    amide = ("NH2", "N", "N", place(last["C"], last["CA"], last["N"], (0.134, 116.5, psi)))
    middle = [
        [(NAMES[letter], name, name[0], position) for name, position in atoms.items()]
        for letter, atoms in zip(SEQUENCE, built, strict=True)
    ]
    return [acetyl, *middle, [amide]]


def with_hydrogens(residues: list[Heavy]) -> tuple[app.Topology, FloatArray]:
    """Topology with bonds, and positions [nm], of all atoms."""
    topology = app.Topology()
    chain = topology.addChain("A")
    for atoms in residues:
        residue = topology.addResidue(atoms[0][0], chain)
        for _, name, element, _ in atoms:
            topology.addAtom(name, app.Element.getBySymbol(element), residue)
    positions = np.array([atom[-1] for atoms in residues for atom in atoms])
    topology.createStandardBonds()
    modeller = app.Modeller(topology, positions * unit.nanometer)
    modeller.addHydrogens(app.ForceField(*FORCEFIELD))
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))


def main() -> None:
    """Write both files beside this one."""
    stretched = [TURNED if residue in BENDS else STRETCHED for residue in range(len(SEQUENCE))]
    for name, dihedrals in (("helix", [HELICAL] * len(SEQUENCE)), ("stretched", stretched)):
        topology, positions = with_hydrogens(heavy_atoms(dihedrals))
        relaxed = minimised(topology, positions, FORCEFIELD, tolerance=TOLERANCE)
        write_pdb(HERE / f"{name}.pdb", topology, relaxed)


if __name__ == "__main__":
    main()
