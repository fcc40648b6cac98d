"""Boxes of water: the same number of waters for all conformers, neutral, at about the density of water."""

import random
from functools import lru_cache

import numpy as np
import pytest
from openmm import app, unit

from aecv.ground.errors import MolecularSystemError
from aecv.molecules.spec import load_system
from aecv.sampling.preparing.solvation import edge_for, n_waters, solvate
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.structure import read_structure

FILES = ("amber14-all.xml", "amber14/tip3p.xml")
EDGE_NM = 1.9


@lru_cache(maxsize=1)
def made() -> tuple[app.Topology, list[np.ndarray], list[np.ndarray]]:
    """Alanine dipeptide, bent and stretched, in one box."""
    topology, positions = read_structure(load_system("ala2").structure_path)
    stretched = positions * np.array([1.1, 1.0, 1.0])
    conformers = [positions, stretched]
    solvated, boxes = solvate(topology, conformers, app.ForceField(*FILES), edge_nm=EDGE_NM)
    return solvated, boxes, conformers


def test_conformers_share_box_and_atoms() -> None:
    solvated, boxes, conformers = made()
    assert [len(box) for box in boxes] == [solvated.getNumAtoms()] * 2
    assert n_waters(solvated) == (solvated.getNumAtoms() - 22) // 3
    vectors = np.array([list(v) for v in solvated.getPeriodicBoxVectors().value_in_unit(unit.nanometer)])
    volume = EDGE_NM**3 / np.sqrt(2.0)  # of the rhombic dodecahedron
    assert abs(np.linalg.det(vectors) / volume - 1.0) < 1e-6
    # 33.4 waters per nm^3, and the molecule has the room of some 5
    assert 0.85 < (n_waters(solvated) + 5) / (33.4 * volume) < 1.05
    for box, conformer in zip(boxes, conformers, strict=True):
        np.testing.assert_allclose(box[:22] - box[0], conformer - conformer[0], atol=1e-6)  # moved as a whole


def test_it_is_the_same_every_time_and_leaves_python_s_random_numbers_alone() -> None:
    solvated, boxes, conformers = made()
    random.seed(5)
    expected = random.random()
    random.seed(5)
    topology, _ = read_structure(load_system("ala2").structure_path)
    again, found = solvate(topology, conformers, app.ForceField(*FILES), edge_nm=EDGE_NM)
    assert random.random() == expected
    assert [a.name for a in again.atoms()] == [a.name for a in solvated.atoms()]
    np.testing.assert_allclose(found[0][:22], boxes[0][:22], atol=1e-6)


def test_a_molecule_longer_than_the_box_is_refused() -> None:
    topology, positions = read_structure(load_system("ala2").structure_path)
    span = np.linalg.norm(positions[:, None] - positions[None], axis=-1).max()
    assert edge_for([positions], 0.5) == pytest.approx(span + 1.0)
    with pytest.raises(MolecularSystemError, match=r"images farther apart than .* got 0\.70"):
        solvate(topology, [positions], app.ForceField(*FILES), edge_nm=0.7)
    with pytest.raises(MolecularSystemError, match="needs to know every residue, tip3p water"):
        solvate(topology, [positions], app.ForceField("amber14-all.xml"), edge_nm=EDGE_NM)


@pytest.mark.parametrize(
    ("name", "n_waters_expected", "n_ions"), [("chignolin", 1568, 2), ("ala2_water", 320, 0)]
)
def test_shipped_boxes(name: str, n_waters_expected: int, n_ions: int) -> None:
    """All starts have the same waters; ions make chignolin neutral; frames hold the solute alone."""
    overrides = ["solvent=explicit"] if name == "chignolin" else []
    spec = load_system(name, overrides=overrides)
    system: MolecularSystem = build(spec)
    n_solute = system.n_solute_atoms
    assert system.n_atoms == n_solute + 3 * n_waters_expected + n_ions
    assert system.n_frame_atoms == n_solute == system.frame_topology.n_atoms
    assert n_solute == {"chignolin": 166, "ala2_water": 22}[name]
    (nonbonded,) = (force for force in system.system.getForces() if hasattr(force, "getExceptionParameters"))
    charge = sum(
        nonbonded.getParticleParameters(i)[0].value_in_unit(unit.elementary_charge)
        for i in range(system.n_atoms)
    )
    assert abs(charge) < 1e-6
    everything = build(load_system(name, overrides=[*overrides, "sampling.frames=all"]))
    assert everything.n_frame_atoms == everything.n_atoms
