"""Make the starts of alanine dipeptide in water: four conformers in boxes with the same number of waters.

Run `python -m systems.ala2_water.make_structure` in the sources' folder to write them again; see ORIGIN.md.
"""

from pathlib import Path

from openmm import app

from aecv.sampling.preparing.solvation import solvate
from systems.ala2.make_structure import positions_from_geometry, topology_from_geometry
from systems.building import pdb_text

HERE = Path(__file__).parent
FORCEFIELD = ("amber99sbildn.xml", "tip3p.xml")
EDGE_NM = 2.2
CONFORMERS = {
    "beta": (-120.0, 140.0),
    "pii": (-75.0, 145.0),
    "alpha_r": (-75.0, -25.0),
    "alpha_l": (57.0, 45.0),
}
"""phi and psi [degree]."""


def main() -> None:
    """Write a file for each conformer beside this one."""
    topology = topology_from_geometry()
    conformers = [positions_from_geometry(phi, psi) for phi, psi in CONFORMERS.values()]
    solvated, boxes = solvate(
        topology, conformers, app.ForceField(*FORCEFIELD), edge_nm=EDGE_NM, shape="cube"
    )
    for name, box in zip(CONFORMERS, boxes, strict=True):
        (HERE / f"{name}.pdb").write_text(pdb_text(solvated, box), encoding="utf-8")


if __name__ == "__main__":
    main()
