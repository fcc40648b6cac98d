"""Make ala2.pdb from bond lengths, angles and dihedrals, then relax it with the force field.

Run `python -m systems.ala2.make_structure` in the sources' folder to write the file again; see ORIGIN.md.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from openmm import app

from systems.building import minimised, place, write_pdb

PHI, PSI, OMEGA = -80.0, 75.0, 180.0
"""Backbone dihedrals of the C7eq conformer before it is relaxed [degree]."""

Row = tuple[str, str, str, tuple[int, int, int], tuple[float, float, float]]


def geometry(phi: float, psi: float) -> list[Row]:
    """Residue, atom, element, the three rows it hangs on (bond, angle, dihedral), and bond [nm], angle
    and dihedral [degree]: standard values of peptide geometry, rounded.

    L-alanine has its CB at phi - 120 and its HA at phi + 120 degrees, seen along N-CA.

    Args:
        phi, psi: backbone dihedrals [degree].
    """
    return [
        ("ACE", "HH31", "H", (-1, -1, -1), (0.0, 0.0, 0.0)),
        ("ACE", "CH3", "C", (0, -1, -1), (0.109, 0.0, 0.0)),
        ("ACE", "HH32", "H", (1, 0, -1), (0.109, 109.5, 0.0)),
        ("ACE", "HH33", "H", (1, 0, 2), (0.109, 109.5, 120.0)),
        ("ACE", "C", "C", (1, 0, 2), (0.152, 109.5, -120.0)),
        ("ACE", "O", "O", (4, 1, 0), (0.123, 120.5, 0.0)),
        ("ALA", "N", "N", (4, 1, 0), (0.134, 116.5, OMEGA)),
        ("ALA", "H", "H", (6, 4, 5), (0.101, 119.5, OMEGA)),
        ("ALA", "CA", "C", (6, 4, 1), (0.145, 122.0, OMEGA)),
        ("ALA", "HA", "H", (8, 6, 4), (0.109, 109.5, phi + 120.0)),
        ("ALA", "CB", "C", (8, 6, 4), (0.153, 109.5, phi - 120.0)),
        ("ALA", "HB1", "H", (10, 8, 6), (0.109, 109.5, 60.0)),
        ("ALA", "HB2", "H", (10, 8, 6), (0.109, 109.5, 180.0)),
        ("ALA", "HB3", "H", (10, 8, 6), (0.109, 109.5, -60.0)),
        ("ALA", "C", "C", (8, 6, 4), (0.152, 110.5, phi)),
        ("ALA", "O", "O", (14, 8, 6), (0.123, 120.5, psi + 180.0)),
        ("NME", "N", "N", (14, 8, 6), (0.134, 116.5, psi)),
        ("NME", "H", "H", (16, 14, 15), (0.101, 119.5, OMEGA)),
        ("NME", "CH3", "C", (16, 14, 8), (0.145, 122.0, OMEGA)),
        ("NME", "HH31", "H", (18, 16, 14), (0.109, 109.5, 60.0)),
        ("NME", "HH32", "H", (18, 16, 14), (0.109, 109.5, 180.0)),
        ("NME", "HH33", "H", (18, 16, 14), (0.109, 109.5, -60.0)),
    ]


def positions_from_geometry(phi: float, psi: float) -> NDArray[np.float64]:
    """Positions of all atoms of the table [nm], shape (22, 3)."""
    virtual = {-1: np.array([-0.1, 0.1, 0.0])}  # stands for the neighbours that the first three atoms lack
    placed: list[NDArray[np.float64]] = []
    for row, (_, _, _, (a, b, c), internal) in enumerate(geometry(phi, psi)):
        if row == 0:
            placed.append(np.zeros(3))
        elif row == 1:
            placed.append(np.array([internal[0], 0.0, 0.0]))
        else:
            third = virtual[-1] if c < 0 else placed[c]
            placed.append(place(placed[a], placed[b], third, internal))
    return np.array(placed)


def topology_from_geometry() -> app.Topology:
    """Residues, atoms and bonds of the table."""
    topology = app.Topology()
    chain = topology.addChain("A")
    atoms: list[app.topology.Atom] = []
    residue = None
    for residue_name, name, element, (a, _, _), _ in geometry(PHI, PSI):
        if residue is None or residue.name != residue_name:
            residue = topology.addResidue(residue_name, chain)
        atoms.append(topology.addAtom(name, app.Element.getBySymbol(element), residue))
        if a >= 0:
            topology.addBond(atoms[a], atoms[-1])
    return topology


def main() -> None:
    """Write ala2.pdb beside this file."""
    topology = topology_from_geometry()
    positions = minimised(topology, positions_from_geometry(PHI, PSI), ("amber99sbildn.xml",), tolerance=0.01)
    write_pdb(Path(__file__).with_name("ala2.pdb"), topology, positions)


if __name__ == "__main__":
    main()
