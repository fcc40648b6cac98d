"""What the scripts that make structures share: atoms by internal coordinates, minimising, writing.

The scripts run from the sources' folder, as `python -m systems.NAME.make_structure`.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from aecv.ground.arrays import FloatArray


def place(
    first: FloatArray, second: FloatArray, third: FloatArray, internal: tuple[float, float, float]
) -> FloatArray:
    """Position [nm] from bond [nm], angle and dihedral [degree] with `first`, `second` and `third`."""
    bond, (angle, dihedral) = internal[0], np.deg2rad(internal[1:])
    along = (first - second) / np.linalg.norm(first - second)
    normal = np.cross(second - third, along)
    normal /= np.linalg.norm(normal)
    local = bond * np.array(
        [-np.cos(angle), np.sin(angle) * np.cos(dihedral), np.sin(angle) * np.sin(dihedral)]
    )
    return np.asarray(first + np.stack([along, np.cross(normal, along), normal], axis=1) @ local)


def minimised(
    topology: app.Topology,
    positions: FloatArray,
    forcefield: Sequence[str],
    *,
    tolerance: float,
    platform: str = "Reference",
) -> FloatArray:
    """Positions [nm] at the next minimum of the energy, without cutoff and constraints.

    Args:
        topology: all atoms.
        positions: shape (N, 3) [nm].
        forcefield: files that OpenMM knows.
        tolerance: root mean square force that is left [kJ/mol/nm].
        platform: OpenMM's; Reference gives the same bytes everywhere.
    """
    system = app.ForceField(*forcefield).createSystem(topology, nonbondedMethod=app.NoCutoff)
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform)
    )
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, tolerance)
    found = context.getState(positions=True).getPositions(asNumpy=True)
    return np.asarray(found.value_in_unit(unit.nanometer))


def write_pdb(path: Path, topology: app.Topology, positions: FloatArray) -> None:
    """A PDB file centred at the origin, without box and date."""
    lines = pdb_text(topology, positions - positions.mean(axis=0)).splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("CRYST1")), encoding="utf-8")


def pdb_text(topology: app.Topology, positions: np.ndarray) -> str:
    """A PDB file with the box, without the date; positions in nm."""
    text = io.StringIO()
    app.PDBFile.writeFile(topology, positions * unit.nanometer, text, keepIds=False)
    return "\n".join(line for line in text.getvalue().splitlines() if not line.startswith("REMARK")) + "\n"
