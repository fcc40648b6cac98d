"""A molecule in a box of water with ions: one conformation, or several with the same number of waters."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import sqrt
from typing import Literal

import numpy as np
from openmm import (
    Context,
    LocalEnergyMinimizer,
    OpenMMException,
    Platform,
    Vec3,
    VerletIntegrator,
    app,
    unit,
)

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import MolecularSystemError, first_line
from aecv.molecules.solvent import WATER
from aecv.sampling.system.structure import nm

Shape = Literal["cube", "dodecahedron"]
_VECTORS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "cube": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    # of the rhombic dodecahedron, 0.71 of the cube's volume with the same distance of images
    "dodecahedron": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.5, 0.5, sqrt(0.5))),
}
_TOLERANCE = 10.0
"""Of the minimisation that follows [kJ/mol/nm]."""
_CUTOFF_NM = 0.8
"""Of its forces; less in a small box."""


def solvate(
    topology: app.Topology,
    conformers: Sequence[FloatArray],
    forcefield: app.ForceField,
    *,
    edge_nm: float,
    shape: Shape = "dodecahedron",
    model: str = "tip3p",
    molar: float = 0.0,
    seed: int = 1,
) -> tuple[app.Topology, list[FloatArray]]:
    """Put a molecule into a box of water, neutral by Na+ or Cl-, and relax the water around it.

    The box and the number of waters are the same for all conformers, so that simulations from each of them
    sample one ensemble: where one leaves room for more, some waters are taken away, and a barostat has to
    find the density.

    Args:
        topology: of the molecule alone, with all hydrogens.
        conformers: positions, shape (N, 3) [nm] each.
        forcefield: knows the molecule, the water and the ions.
        edge_nm: distance of the images of the box.
        model: of the water, as OpenMM's Modeller calls it.
        molar: concentration of further NaCl [mol/l].
        seed: of which waters become ions.

    Returns:
        The topology, with the box, the molecule first, then water, then ions; positions of each conformer.

    Raises:
        MolecularSystemError: when a conformer does not fit into the box, or the force field does not know it.
    """
    boxes = [
        _in_water(topology, conformer, forcefield, edge_nm, shape, model, molar, seed)
        for conformer in conformers
    ]
    fewest = min(n_waters(box.topology) for box in boxes)
    for box in boxes:
        # those of the molecule's own file stand before
        waters = [
            residue
            for residue in box.topology.residues()
            if residue.name in WATER and next(residue.atoms()).index >= topology.getNumAtoms()
        ]
        # every n-th, so that no hole comes of it
        n_superfluous = n_waters(box.topology) - fewest
        superfluous = np.linspace(0, len(waters), n_superfluous, endpoint=False).astype(int)
        box.delete([waters[k] for k in superfluous])
    solvated = boxes[0].topology
    if any(box.topology.getNumAtoms() != solvated.getNumAtoms() for box in boxes):
        counts = ", ".join(str(box.topology.getNumAtoms()) for box in boxes)
        raise MolecularSystemError(
            f"box of water: conformers need as many ions each, they came to {counts} atoms; lower the salt"
        )
    return solvated, [_relaxed(solvated, nm(box.positions), forcefield, len(conformers[0])) for box in boxes]


def edge_for(conformers: Sequence[FloatArray], padding_nm: float) -> float:
    """Distance of images that leaves at least twice the padding between them in any orientation [nm]."""
    spans = [max(np.linalg.norm(c - atom, axis=1).max() for atom in c) for c in conformers]
    return float(max(spans)) + 2.0 * padding_nm


def _in_water(
    topology: app.Topology,
    conformer: FloatArray,
    forcefield: app.ForceField,
    edge_nm: float,
    shape: Shape,
    model: str,
    molar: float,
    seed: int,
) -> app.Modeller:
    span = edge_for([conformer], 0.0)
    if not span < edge_nm:
        raise MolecularSystemError(
            f"box of water: needs images farther apart than the molecule is long, {span:.2f} nm, got "
            f"{edge_nm:.2f} nm"
        )
    vectors = [Vec3(*(edge_nm * x for x in row)) for row in _VECTORS[shape]]
    centre = 0.5 * np.sum([list(v) for v in vectors], axis=0)
    modeller = app.Modeller(topology, (conformer - conformer.mean(axis=0) + centre) * unit.nanometer)
    try:
        with repeatable(seed):
            modeller.addSolvent(
                forcefield, model=model, boxVectors=vectors * unit.nanometer, ionicStrength=molar * unit.molar
            )
    except Exception as error:  # OpenMM raises ValueError and others
        raise MolecularSystemError(
            f"box of water: the force field needs to know every residue, {model} water and the ions, got: "
            f"{first_line(error)}; add what is missing first (--add-hydrogens, --drop-solvent)"
        ) from error
    return modeller


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Python's random numbers from this seed on, and afterwards as before.

    OpenMM draws from them which waters become ions, and where hydrogens begin.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def n_waters(topology: app.Topology) -> int:
    """Residues that are water."""
    return sum(residue.name in WATER for residue in topology.residues())


def _relaxed(
    topology: app.Topology, positions: FloatArray, forcefield: app.ForceField, n_solute: int
) -> FloatArray:
    """The next minimum for the solvent, the molecule at rest [nm]."""
    vectors = topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
    cutoff = min(_CUTOFF_NM, 0.45 * min(vectors[k][k] for k in range(3)))
    system = forcefield.createSystem(
        topology,
        nonbondedMethod=app.CutoffPeriodic,
        nonbondedCutoff=cutoff * unit.nanometer,
        rigidWater=True,
    )
    for atom in range(n_solute):
        system.setParticleMass(atom, 0.0)
    try:
        context = Context(system, VerletIntegrator(0.001), Platform.getPlatformByName("CPU"))
        context.setPositions(positions)
        LocalEnergyMinimizer.minimize(context, _TOLERANCE)
    except OpenMMException as error:
        raise MolecularSystemError(
            f"box of water: the water around the molecule cannot be relaxed: {first_line(error)}; check the "
            "structure for atoms on top of each other"
        ) from error
    return nm(context.getState(positions=True).getPositions(asNumpy=True))
