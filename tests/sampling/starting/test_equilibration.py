"""Equilibration: a known volume at a pressure, one ensemble of walkers, the same in pieces as at once."""

from pathlib import Path

import numpy as np

from aecv.ground.progress import silent
from aecv.molecules.spec import load_system
from aecv.numerics.geometry.spanning_tree import molecules_of
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.processes.workers import ThisProcess
from aecv.sampling.starting.equilibration import Runner, at_once, equilibrate, rescaled
from aecv.sampling.system.images import bond_pairs, system_box
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.dynamics.starting import in_pieces
from tests.sampling.starting.ideal_gas import EDGE_NM, N_ATOMS, write_system

KT = 8.31446261815324e-3 * 300.0
BAR = 0.0602214076
"""[kJ/mol/nm^3]"""
PRESSURE_BAR = 60.0
SHORT = "[sampling]\nequilibration_ps = 2\nsegment_ps = 1\n"
BAROSTAT = f"[barostat]\npressure_bar = {PRESSURE_BAR}\nequilibration_ps = 100\ninterval_steps = 2\n"


def gas(folder: Path, more: str = BAROSTAT) -> MolecularSystem:
    return build(load_system(write_system(folder, more=more)))


def walkers(system: MolecularSystem, run: Runner = at_once) -> tuple[WalkerState, ...]:
    platform = choose_platform(system.system, "Reference")
    return equilibrate(system, system.positions[None], n_walkers=4, platform=platform, run=run)


def test_walkers_take_the_mean_volume_at_the_pressure(tmp_path: Path) -> None:
    """<V> = (N + 1) kT / P, with a relative spread of 1 / sqrt(N + 1): 40 volumes leave 3.4 %.

    They are those at the ends of rounds of 250 moves. The box begins 45 % off.
    """
    states = walkers(gas(tmp_path))
    volumes = [np.linalg.det(state.box) for state in states]
    expected = (N_ATOMS + 1) * KT / (PRESSURE_BAR * BAR)
    bound = 3 * 0.034
    assert abs(EDGE_NM**3 / expected - 1.0) > 4 * bound  # without a barostat this would fail
    np.testing.assert_allclose(volumes, volumes[0], rtol=1e-12)
    assert abs(volumes[0] / expected - 1.0) < bound


def test_constant_pressure_throughout_leaves_every_walker_its_volume(tmp_path: Path) -> None:
    states = walkers(gas(tmp_path, BAROSTAT.replace("100\ni", "10\ni") + "always = true\n" + SHORT))
    volumes = [np.linalg.det(state.box) for state in states]
    assert len(set(np.round(volumes, 6))) == 4


def test_without_a_pressure_the_box_is_that_of_the_structure(tmp_path: Path) -> None:
    for state in walkers(gas(tmp_path, SHORT)):
        np.testing.assert_array_equal(state.box, EDGE_NM * np.eye(3))


def test_molecules_keep_their_form_when_the_box_is_rescaled() -> None:
    """Water and peptide: distances inside a molecule stay, those between centres scale with the box."""
    system = build(load_system("ala2_water"))
    box = system_box(system.system)
    bonds = np.array(sorted(bond_pairs(system.topology, system.system)))
    molecules = molecules_of(bonds, system.n_atoms)
    state = WalkerState(
        positions=system.positions,
        velocities=np.zeros_like(system.positions),
        box=box,
        lam=np.empty(0),
        lam_velocity=np.empty(0),
    )
    found = rescaled(state, 1.2 * float(np.linalg.det(box)), molecules)
    scale = 1.2 ** (1 / 3)
    np.testing.assert_allclose(found.box, scale * box, rtol=1e-12)
    before, after = system.positions, found.positions
    for first, second in ((0, 18), (22, 23), (23, 24)):  # across the peptide, and in its first water
        assert molecules[first] == molecules[second]
        length = np.linalg.norm(before[first] - before[second])
        assert abs(np.linalg.norm(after[first] - after[second]) - length) < 1e-12
    np.testing.assert_allclose(after[22:25].mean(axis=0), scale * before[22:25].mean(axis=0), rtol=1e-12)


def test_in_pieces_that_are_saved_it_is_the_same_run(tmp_path: Path) -> None:
    system = gas(tmp_path / "gas", BAROSTAT.replace("100\ni", "5\ni") + SHORT)
    expected = walkers(system)
    run = in_pieces(tmp_path / "pieces", silent, ThisProcess(), 0.01)
    found = walkers(system, run=run)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.velocities, other.velocities)
        np.testing.assert_array_equal(one.box, other.box)
    again = walkers(system, run=in_pieces(tmp_path / "pieces", silent, ThisProcess(), 0.01))  # all on disk
    np.testing.assert_array_equal(again[2].positions, expected[2].positions)
