"""Equilibration: a known volume at a pressure, one ensemble of walkers, the same in pieces as at once."""

from pathlib import Path

import numpy as np

from aecv.models.spec import load_system
from aecv.sampling.dynamics import WalkerState
from aecv.sampling.equilibration import Moved, Runner, at_once, equilibrate
from aecv.sampling.recipe import EngineRecipe
from aecv.sampling.system import MolecularSystem, build, choose_platform
from aecv.sampling.walkers import Plan
from aecv.sampling.workers import ThisProcess
from aecv.workflow.progress import silent
from aecv.workflow.starting import _in_pieces

from .ideal_gas import EDGE_NM, N_ATOMS, write_system

KT = 8.31446261815324e-3 * 300.0
BAR = 0.0602214076
"""[kJ/mol/nm^3]"""
PRESSURE_BAR = 100.0
SHORT = "[sampling]\nequilibration_ps = 2\nsegment_ps = 1\n"
BAROSTAT = f"[barostat]\npressure_bar = {PRESSURE_BAR}\nequilibration_ps = 100\ninterval_steps = 2\n"


def gas(folder: Path, more: str = BAROSTAT) -> MolecularSystem:
    return build(load_system(write_system(folder, more=more)))


def walkers(system: MolecularSystem, run: Runner = at_once) -> tuple[WalkerState, ...]:
    platform = choose_platform(system.system, "Reference")
    return equilibrate(system, system.positions[None], n_walkers=4, platform=platform, run=run)


def test_walkers_take_the_mean_volume_at_the_pressure(tmp_path: Path) -> None:
    """<V> = (N + 1) kT / P, with a relative spread of 1 / sqrt(N + 1); 40 samples leave 3.4 %."""
    states = walkers(gas(tmp_path))
    volumes = [np.linalg.det(state.box) for state in states]
    expected = (N_ATOMS + 1) * KT / (PRESSURE_BAR * BAR)
    assert expected > 1.05 * EDGE_NM**3  # the box has to move
    np.testing.assert_allclose(volumes, volumes[0], rtol=1e-12)
    assert abs(volumes[0] / expected - 1.0) < 3 * 0.034


def test_constant_pressure_throughout_leaves_every_walker_its_volume(tmp_path: Path) -> None:
    states = walkers(gas(tmp_path, BAROSTAT.replace("100\ni", "10\ni") + "always = true\n" + SHORT))
    volumes = [np.linalg.det(state.box) for state in states]
    assert len(set(np.round(volumes, 6))) == 4


def test_without_a_pressure_the_box_is_that_of_the_structure(tmp_path: Path) -> None:
    for state in walkers(gas(tmp_path, SHORT)):
        np.testing.assert_array_equal(state.box, EDGE_NM * np.eye(3))


def test_molecules_keep_their_form_when_the_box_is_rescaled(tmp_path: Path) -> None:
    """Atoms of the gas are molecules of one atom: all distances scale with the box."""
    system, taken = gas(tmp_path, BAROSTAT.replace("100\ni", "5\ni")), []

    def run(plan: Plan, recipe: EngineRecipe, states: tuple[WalkerState, ...]) -> Moved:
        moved = at_once(plan, recipe, states)
        taken.append((states, moved))
        return moved

    walkers(system, run=run)
    (_, at_pressure), (rescaled, _) = taken
    for before, after in zip(at_pressure.states, rescaled, strict=True):
        scale = after.box[0, 0] / before.box[0, 0]
        np.testing.assert_allclose(after.positions, scale * before.positions, rtol=1e-12)


def test_in_pieces_that_are_saved_it_is_the_same_run(tmp_path: Path) -> None:
    system = gas(tmp_path / "gas", BAROSTAT.replace("100\ni", "5\ni") + SHORT)
    expected = walkers(system)
    run = _in_pieces(tmp_path / "pieces", silent, ThisProcess(), 0.01)
    found = walkers(system, run=run)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.velocities, other.velocities)
        np.testing.assert_array_equal(one.box, other.box)
    again = walkers(system, run=_in_pieces(tmp_path / "pieces", silent, ThisProcess(), 0.01))  # all on disk
    np.testing.assert_array_equal(again[2].positions, expected[2].positions)
