"""Atoms that do not feel each other, in a periodic box: what pressure does to them has a closed form."""

from pathlib import Path

import numpy as np
import openmm
from openmm import unit

N_ATOMS = 20
EDGE_NM = 2.0


def write_system(folder: Path, *, more: str = "") -> Path:
    """A system's folder; `more` is added to its settings."""
    folder.mkdir(parents=True, exist_ok=True)
    system = openmm.System()
    nobody = openmm.NonbondedForce()
    nobody.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nobody.setCutoffDistance(0.1)
    for _ in range(N_ATOMS):
        system.addParticle(40.0)
        nobody.addParticle(0.0, 0.1, 0.0)
    system.addForce(nobody)
    edge = EDGE_NM * unit.nanometer
    system.setDefaultPeriodicBoxVectors(
        openmm.Vec3(edge, 0, 0), openmm.Vec3(0, edge, 0), openmm.Vec3(0, 0, edge)
    )
    (folder / "gas.xml").write_text(openmm.XmlSerializer.serialize(system), encoding="utf-8")
    lines = [f"CRYST1{10 * EDGE_NM:9.3f}{10 * EDGE_NM:9.3f}{10 * EDGE_NM:9.3f}  90.00  90.00  90.00 P 1"]
    places = np.random.default_rng(1).uniform(0.0, 10 * EDGE_NM, (N_ATOMS, 3))
    for k, (x, y, z) in enumerate(places):
        lines.append(
            f"HETATM{k + 1:5d}  AR  GAS A{k + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          AR"
        )
    (folder / "gas.pdb").write_text("\n".join([*lines, "END", ""]), encoding="utf-8")
    (folder / "system.toml").write_text(
        '[system]\nname = "gas"\nstructure = "gas.pdb"\ntopology = "gas.xml"\n'
        '[dynamics]\ntimestep_ps = 0.01\nplatform = "Reference"\n[cv]\natoms = "index 0 to 3"\n'
        '[starts]\nmode = "one"\n' + more,
        encoding="utf-8",
    )
    return folder
