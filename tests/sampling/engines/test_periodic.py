"""Engines in a periodic box: images do not matter, a barostat is no step, and virtual sites do no harm."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from aecv.ground.errors import CVError, MolecularSystemError, SettingsError
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import load_system
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.engines import torchforce
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.system.images import system_box
from aecv.sampling.system.molecular_system import build, make_context
from aecv.sampling.system.platforms import choose_platform
from tests.sampling.engines.conftest import Bench, context_with_bias, job, skip_without, with_engine
from tests.sampling.engines.dimer import ANGLES, dimer_bench, images, vectors_of, write_dimer

BAROSTAT = ("barostat.pressure_bar=1.0", "barostat.always=true", "barostat.interval_steps=3")


@pytest.fixture(scope="module", params=ANGLES)
def in_box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The dimer, with bonds to hydrogens of fixed length, in every kind of box."""
    return dimer_bench(write_dimer(tmp_path_factory.mktemp(request.param), request.param))


@pytest.fixture(scope="module", params=["Reference", "CPU"])
def boxed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The dimer in the dodecahedron on both platforms."""
    folder = write_dimer(tmp_path_factory.mktemp(request.param), "dodecahedron")
    return dimer_bench(folder, platform=request.param)


@pytest.fixture(scope="module")
def pressed(boxed: Bench) -> Bench:
    """The same with a barostat that moves the volume every third step."""
    return dimer_bench(boxed.system.spec.directory, *BAROSTAT, platform=boxed.platform.platform.getName())


def bias(context: openmm.Context, group: int, positions: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy and forces of the bias alone."""
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True, groups={group})
    forces = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole), np.asarray(forces)


def stretched(bench: Bench) -> WalkerState:
    """The start with lambda two sigma away from xi."""
    extended = bench.extended
    return replace(bench.state, lam=bench.state.lam + 2 * np.sqrt(extended.kt / np.array(extended.kappa)))


def test_a_structure_in_pieces_is_put_together(tmp_path: Path) -> None:
    """Coordinates of a PDB file are rounded to 1e-4 nm, in each image anew."""
    whole, cut = (
        build(load_system(write_dimer(tmp_path / name, "dodecahedron", cut=name == "cut")))
        for name in ("whole", "cut")
    )
    moved = cut.positions - cut.positions[0] - (whole.positions - whole.positions[0])
    assert np.abs(moved).max() < 4e-4
    np.testing.assert_allclose(cut.cv_reference, cut.positions[cut.cv_atom_indices])
    raw = openmm.app.PDBFile(str(tmp_path / "cut" / "tri.pdb")).getPositions(asNumpy=True)._value
    assert np.ptp(raw, axis=0).max() > 1.0  # it was in pieces
    cells = system_box(whole.system) @ np.linalg.inv(vectors_of("dodecahedron"))
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-5)  # the same lattice


def test_images_change_neither_the_cv_nor_the_forces(in_box: Bench, tmp_path: Path) -> None:
    engine = in_box.engine()
    state = stretched(in_box)
    engine.run(job(in_box, state=state, n_steps=1, frame_steps=1))
    context, group = context_with_bias(engine, state, tmp_path)
    energy, forces = bias(context, group, state.positions)
    assert energy > 1.0
    assert np.abs(forces).max() > 1.0
    for seed in range(3):
        for name, positions in images(in_box, seed).items():
            there, other = bias(context, group, positions)
            assert there == pytest.approx(energy, rel=1e-10), name
            np.testing.assert_allclose(other, forces, atol=1e-10 * np.abs(forces).max(), err_msg=name)


def test_the_bias_moves_and_turns_nothing(in_box: Bench, tmp_path: Path) -> None:
    """CMMotionRemover, which every force field brings, then takes nothing of it away."""
    assert any(isinstance(force, openmm.CMMotionRemover) for force in in_box.system.system.getForces())
    engine = in_box.engine()
    engine.run(job(in_box, state=stretched(in_box), n_steps=1, frame_steps=1))
    context, group = context_with_bias(engine, in_box.state, tmp_path)
    positions = images(in_box, 0)["per molecule"]
    _, forces = bias(context, group, positions)
    scale = np.abs(forces).max()
    assert np.abs(forces.sum(axis=0)).max() < 1e-10 * scale
    whole = in_box.system.images.whole(positions, in_box.state.box)
    torque = np.cross(whole - whole.mean(axis=0), forces).sum(axis=0)
    assert np.abs(torque).max() < 1e-10 * scale


def test_forces_across_the_box_are_the_derivative_of_the_energy(boxed: Bench, tmp_path: Path) -> None:
    """Also with bonds of fixed length: the bias is a function of all positions."""
    engine = boxed.engine()
    engine.run(job(boxed, state=stretched(boxed), n_steps=1, frame_steps=1))
    context, group = context_with_bias(engine, boxed.state, tmp_path)
    start = images(boxed, 1)["per molecule"]
    _, forces = bias(context, group, start)
    step, numeric = 1e-6, np.zeros_like(forces)
    for index in np.ndindex(*forces.shape):
        moved = [start.copy(), start.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        up, down = (bias(context, group, positions)[0] for positions in moved)
        numeric[index] = -(up - down) / (2 * step)
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * np.abs(forces).max() + 1e-5)


def test_a_walker_in_another_image_makes_the_same_run(boxed: Bench) -> None:
    """Rounding of positions farther out, 1e-15 nm, stays small in 50 steps, as does the CPU platform's of
    its forces in single precision."""
    shifted = replace(boxed.state, positions=images(boxed, 2)["per molecule"])
    here, there = (
        boxed.engine().run(job(boxed, n_steps=50, frame_steps=10, state=state))
        for state in (boxed.state, shifted)
    )
    allowed = 1e-5 if boxed.platform.platform.getName() == "Reference" else 1e-3
    np.testing.assert_allclose(there.lam, here.lam, atol=allowed)
    moved = [result.frames - result.frames[:, :1] for result in (here, there)]
    np.testing.assert_allclose(moved[1], moved[0], atol=allowed)
    final = [result.state.positions - result.state.positions[0] for result in (here, there)]
    np.testing.assert_allclose(final[1], final[0], atol=allowed)


def test_a_barostat_is_no_step(pressed: Bench, boxed: Bench) -> None:
    """It asks for two energies more in every third step; samples are those of the frames, one per step."""
    n_steps = 60
    for bench in (pressed, boxed):
        result = bench.engine().run(job(bench, n_steps=n_steps, frame_steps=1))
        assert result.increment is not None
        assert result.increment.n_lam.sum() == n_steps
        positions = np.concatenate([bench.state.positions[None], result.frames[:-1]])
        lam = np.concatenate([bench.state.lam[None], result.lam[:-1]])
        pull = np.array(bench.extended.kappa) * (lam - bench.cv(positions[:, bench.cv.atom_indices]))
        # frames are float32
        expected = pull.sum(axis=0)
        np.testing.assert_allclose(
            result.increment.sum_lam.sum(axis=0), expected, atol=1e-3 * np.abs(pull).sum(axis=0).max()
        )
        moved = np.abs(result.state.box - bench.state.box).max()
        assert (moved > 1e-3) == (bench is pressed)


def test_lambda_does_not_feel_the_barostat(pressed: Bench, boxed: Bench) -> None:
    """Until the first move at step 3 both runs are one; afterwards lambda's steps have the same size."""
    with_moves, without = (
        bench.engine().run(job(bench, n_steps=100, frame_steps=1)).lam for bench in (pressed, boxed)
    )
    np.testing.assert_allclose(with_moves[:2], without[:2], atol=1e-9)
    sizes = [np.abs(np.diff(lam, axis=0)).max() for lam in (with_moves, without)]
    assert sizes[0] < 1.5 * sizes[1]


def test_constant_pressure_repeats_and_goes_on(pressed: Bench) -> None:
    engine = pressed.engine()
    first, again = (engine.run(job(pressed, n_steps=60, frame_steps=20)) for _ in range(2))
    np.testing.assert_array_equal(again.frames, first.frames)
    np.testing.assert_array_equal(again.state.box, first.state.box)
    other = engine.run(job(pressed, n_steps=60, frame_steps=20, segment=1))
    assert np.abs(other.state.box - first.state.box).max() > 1e-3
    going_on = job(
        pressed, n_steps=60, frame_steps=20, state=first.state, accumulators=first.increment, segment=1
    )
    straight, resumed = engine.run(going_on), pressed.engine().run(going_on)
    np.testing.assert_array_equal(resumed.frames, straight.frames)
    np.testing.assert_array_equal(resumed.lam, straight.lam)
    np.testing.assert_array_equal(resumed.state.box, straight.state.box)
    assert straight.increment is not None
    assert resumed.increment is not None
    np.testing.assert_array_equal(resumed.increment.samples, straight.increment.samples)


def test_virtual_sites_follow_and_are_not_chosen(tmp_path: Path) -> None:
    folder = write_dimer(tmp_path / "sites", "cubic", site=True, cut=True)
    bench = dimer_bench(folder)
    system = bench.system
    assert system.masses[[3, 7]].tolist() == [0.0, 0.0]
    assert system.cv_atom_indices.tolist() == [0, 1, 2, 4, 5, 6]
    assert system.heavy_atom_indices.tolist() == [0, 4]
    result = bench.engine().run(job(bench, n_steps=50, frame_steps=10))
    frames = result.frames.astype(float)
    for first in (0, 4):
        oxygen, one, two, site = (frames[:, first + k] for k in range(4))
        np.testing.assert_allclose(site, 0.6 * oxygen + 0.2 * one + 0.2 * two, atol=1e-6)
    with pytest.raises(
        MolecularSystemError, match=r"cv\.atoms: .* by themselves, TRI1-M \(index 3\) is a virtual site"
    ):
        build(load_system(folder, overrides=["cv.atoms=all"]))
    wrong = replace(bench.cv, atom_indices=np.array([0, 1, 3, 4, 5, 6]))
    with pytest.raises(CVError, match=r"TRI1-M \(index 3\) is a virtual site; leave it out"):
        bench.engine(wrong)


def test_a_cv_that_knows_its_place_is_refused(boxed: Bench) -> None:
    place = CV.from_function(lambda x: x[:, 0, 0], [0], cv_range=[[-1.0, 1.0]], name="place")
    one = replace(boxed.extended.grid, lower=(-1.0,), upper=(1.0,), n_bins=(10,), periodic=(False,))
    extended = replace(boxed.extended, grid=one, kappa=(1000.0,), mass=boxed.extended.mass[:1])
    with pytest.raises(CVError, match=r"place changes by 2\.6 when its atoms move by a box vector"):
        replace(boxed, cv=place, extended=extended, probe=boxed.probe[:, :1]).engine()


def test_torchforce_refuses_several_molecules(boxed: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchforce, "load_openmmtorch", lambda: SimpleNamespace(PythonTorchForce=None))
    with pytest.raises(CVError, match="has atoms of 2 molecules, which drift apart by box vectors"):
        torchforce.TorchForceEngine(
            boxed.system, boxed.cv, boxed.extended, platform=boxed.platform, probe=boxed.probe
        )


@pytest.mark.plumed
@pytest.mark.parametrize("box", ANGLES)
def test_plumed_puts_molecules_together(box: str, tmp_path: Path) -> None:
    """PLUMED's forces on molecules in images of their own are those on the molecules side by side."""
    skip_without("plumed")
    bench = with_engine(dimer_bench(write_dimer(tmp_path / "box", box)), "plumed")
    engine, state = bench.engine(), stretched(bench)
    context, group = context_with_bias(engine, state, tmp_path)
    _, forces = bias(context, group, state.positions)
    gradient = bench.cv.with_gradient(state.positions[None, bench.cv.atom_indices])[1][0]
    slopes, applied = gradient.reshape(2, -1).T, forces[bench.cv.atom_indices].ravel()
    scale = np.abs(applied).max()
    assert scale > 1.0
    # lambda has moved by a step since: whatever the pulls are, the forces lie along the gradients
    pulls = np.linalg.lstsq(slopes, applied, rcond=None)[0]
    np.testing.assert_allclose(slopes @ pulls, applied, atol=1e-6 * scale)
    for name, positions in images(bench, 3).items():
        _, there = bias(context, group, positions)
        np.testing.assert_allclose(there, forces, atol=1e-6 * scale, err_msg=name)
    # a run begins by comparing PLUMED's forces with the CV's own, and asks for one sample per step
    runs = [
        engine.run(job(bench, n_steps=20, frame_steps=10, state=replace(bench.state, positions=positions)))
        for positions in (bench.state.positions, images(bench, 3)["per molecule"])
    ]
    np.testing.assert_allclose(runs[1].lam, runs[0].lam, atol=1e-6)


def test_plumed_refuses_a_barostat_of_the_settings(pressed: Bench) -> None:
    with pytest.raises(SettingsError, match=r"needs barostat\.always = false, since DRR"):
        with_engine(pressed, "plumed").engine()


def test_openmm_hands_over_positions_as_they_are(boxed: Bench) -> None:
    """Neither the callback nor getState puts anything into the box: what this file relies on, and no more."""
    seen: list[np.ndarray] = []

    def look(state: openmm.State) -> tuple[float, np.ndarray]:
        seen.append(dynamics.read_positions(state))
        return 0.0, np.zeros((boxed.system.n_atoms, 3))

    force = openmm.PythonForce(look)
    force.setUsesPeriodicBoundaryConditions(True)
    context, _ = make_context(boxed.system, platform=boxed.platform, extra_forces=(force,), seed=1)
    far = images(boxed, 4)["per molecule"]
    context.setPositions(far)
    state = context.getState(energy=True, positions=True)
    np.testing.assert_allclose(seen[-1], far, atol=1e-12)
    np.testing.assert_allclose(dynamics.read_positions(state), far, atol=1e-12)


def test_the_callback_without_a_box_is_the_one_it_was(bench: Bench) -> None:
    """Systems without periodic boundaries pay nothing."""
    engine = bench.engine()
    assert isinstance(engine, ContextEngine)
    assert engine.images is None
    assert type(engine.bias).__name__ == "BiasForce"
    assert not engine.context.getSystem().usesPeriodicBoundaryConditions()
    assert choose_platform(bench.system.system).platform.getName() == "Reference"
    assert torch.get_default_dtype() == torch.float32
