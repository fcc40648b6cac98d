"""The molecules that come with aecv are what their notes say."""

import filecmp
from pathlib import Path

import numpy as np
import openmm
import pytest

from aecv.molecules.spec import load_system, shipped_systems
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.structure import read_structure
from systems.ala2.make_structure import PHI, PSI, positions_from_geometry, topology_from_geometry
from systems.building import minimised, place, write_pdb


@pytest.fixture(scope="module")
def aaqaa3() -> MolecularSystem:
    return build(load_system("aaqaa3"))


def frames(system: MolecularSystem) -> np.ndarray:
    """Its starts, helix first, shape (2, N, 3) [nm]."""
    return np.stack([read_structure(path)[1] for path in system.spec.start_paths])


def test_aaqaa3_is_the_capped_sequence(aaqaa3: MolecularSystem) -> None:
    names = [residue.name for residue in aaqaa3.topology.residues()]
    assert names == ["ACE", *["ALA", "ALA", "GLN", "ALA", "ALA"] * 3, "NH2"]
    assert aaqaa3.n_atoms == 180
    charges = [
        force.getParticleParameters(i)[0].value_in_unit(openmm.unit.elementary_charge)
        for force in aaqaa3.system.getForces()
        if isinstance(force, openmm.NonbondedForce)
        for i in range(force.getNumParticles())
    ]
    assert sum(charges) == pytest.approx(0.0, abs=1e-4)
    hydrogens = aaqaa3.masses[[a.element.symbol == "H" for a in aaqaa3.mdtraj_topology.atoms]]
    np.testing.assert_allclose(hydrogens, 3.0)


def test_its_starts_are_a_helix_and_a_chain_without_any(aaqaa3: MolecularSystem) -> None:
    both = frames(aaqaa3)
    values = aaqaa3.observables.compute(both)
    np.testing.assert_array_equal(values["helicity"], [1.0, 0.0])
    # fifteen residues rise by 0.15 nm each: 2.1 nm along the axis, and 0.23 nm around it
    rise = np.sqrt(0.15**2 * (15**2 - 1) / 12 + 0.23**2)
    assert values["rg"][0] == pytest.approx(rise, rel=0.02)
    assert values["rmsd"][0] == pytest.approx(0.0, abs=1e-9)
    assert aaqaa3.stereo.count_changes(both) == (0, 0)
    assert np.all(aaqaa3.stereo.trans)


def test_its_stretched_chain_has_one_rotation_onto_the_helix(aaqaa3: MolecularSystem) -> None:
    """s2 + s3 of the correlation per atom [nm^2] holds the turn about the long axis; a strand has 0.0014."""
    helix, stretched = (xyz - xyz.mean(axis=0) for xyz in frames(aaqaa3)[:, aaqaa3.cv_atom_indices])
    left, singular, right = np.linalg.svd(stretched.T @ helix / len(helix))
    proper = np.sign(np.linalg.det(left) * np.linalg.det(right))
    assert singular[1] + proper * singular[2] > 0.02


def test_ala2_obc_is_ala2_with_a_compiled_solvent() -> None:
    folders = shipped_systems()
    assert filecmp.cmp(folders["ala2"] / "ala2.pdb", folders["ala2_obc"] / "ala2.pdb", shallow=False)
    system = build(load_system("ala2_obc"))
    kinds = {type(force) for force in system.system.getForces()}
    assert openmm.GBSAOBCForce in kinds
    assert openmm.CustomGBForce not in kinds
    assert system.system.getNumConstraints() == 12  # its hydrogens
    assert system.observables.names == build(load_system("ala2")).observables.names


def test_ala2_is_made_as_its_note_says(tmp_path: Path) -> None:
    topology = topology_from_geometry()
    found = minimised(topology, positions_from_geometry(PHI, PSI), ("amber99sbildn.xml",), tolerance=0.01)
    write_pdb(tmp_path / "ala2.pdb", topology, found)
    _, positions = read_structure(tmp_path / "ala2.pdb")
    np.testing.assert_allclose(positions, read_structure(load_system("ala2").structure_path)[1], atol=2e-3)


def test_an_atom_is_placed_by_bond_angle_and_dihedral() -> None:
    first, second, third = np.array([0.1, 0.0, 0.0]), np.zeros(3), np.array([0.0, 0.1, 0.0])
    made = place(first, second, third, (0.15, 90.0, 180.0))
    np.testing.assert_allclose(made, [0.1, -0.15, 0.0], atol=1e-12)  # trans: away from the third atom
    made = place(first, second, third, (0.15, 90.0, 0.0))
    np.testing.assert_allclose(made, [0.1, 0.15, 0.0], atol=1e-12)
