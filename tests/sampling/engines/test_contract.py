"""The contract of an engine: every one that works here goes through the same cases.

The cases ask nothing of how an engine comes to its forces. What is special to one has its own file.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from aecv.ground.errors import CVError, SimulationError
from aecv.ground.grid import Grid
from aecv.models.cvs.cv import shortest
from aecv.models.cvs.cv_files import export_cv
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.numerics.kernels.encoder import Encoder
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import SegmentJob, WalkerState
from aecv.sampling.engines import choice, context_engine, plumed
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform
from tests.sampling.engines.conftest import (
    Bench,
    along,
    context_with_bias,
    couple_like,
    job,
    skip_without,
    with_engine,
)

OTHERS = [name for name in choice.engine_names() if name != "native"]
"""Engines that need packages of their own; each has a marker of its name."""


@pytest.fixture(
    scope="module", params=["native", *(pytest.param(n, marks=getattr(pytest.mark, n)) for n in OTHERS)]
)
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return skip_without(name)


def test_one_sample_per_step_pairs_lambda_with_the_exported_model(setting: Bench) -> None:
    """With a frame at every step the accumulators can be computed again from frames and the torch module."""
    n_steps = 300
    result = setting.engine().run(job(setting, n_steps=n_steps, frame_steps=1))
    cv, extended = setting.cv, setting.extended
    # the step from frame n is made with the forces at frame n: the first is the start, the last is not used
    positions = np.concatenate([setting.state.positions[None], result.frames[:-1]])
    lam = np.concatenate([setting.state.lam[None], result.lam[:-1]])
    with torch.no_grad():
        xi = cv.module(torch.tensor(positions[:, cv.atom_indices], dtype=torch.float64)).numpy()
    pull = np.array(extended.kappa) * shortest(lam - xi, cv.periods)
    expected = np.zeros((extended.grid.size, 6))
    np.add.at(expected, (extended.grid.index(lam), 0), 1)
    np.add.at(expected, (extended.grid.index(lam), slice(1, 3)), pull)
    np.add.at(expected, (extended.grid.index(xi), 3), 1)
    np.add.at(expected, (extended.grid.index(xi), slice(4, 6)), pull)
    assert result.increment is not None
    assert result.increment.n_lam.sum() == n_steps
    # frames are float32: 1e-7 nm, and kappa grad xi of about 1e4 kJ/mol/nm; one at an edge may change its bin
    for columns in (slice(0, 1), slice(3, 4)):
        assert np.abs(result.increment.samples[:, columns] - expected[:, columns]).sum() <= 4
    assert np.abs(result.increment.sum_lam.sum(axis=0) - pull.sum(axis=0)).max() < 1e-2 * np.abs(pull).max()
    same = (np.abs(result.increment.samples - expected)[:, [0, 3]] == 0).all(axis=1)
    np.testing.assert_allclose(
        result.increment.samples[same], expected[same], atol=1e-3 * np.abs(pull).max() + 1e-9
    )


def test_forces_in_the_context_are_the_derivative_of_its_energy(setting: Bench, tmp_path: Path) -> None:
    """Of the bias alone, on all atoms; nothing else of it reaches the molecule: no net force, no torque."""
    engine = setting.engine()
    start = engine.run(job(setting, n_steps=20, frame_steps=10)).state
    context, group = context_with_bias(engine, start, tmp_path)
    # PLUMED computes a TorchScript in single precision: digits of the energy for a step of 1e-3 nm
    is_single = setting.engine_name == "plumed" and not setting.cv.is_compiled
    step, rtol = (1e-3, 5e-3) if is_single else (1e-6, 1e-6)

    def bias_at(positions: np.ndarray) -> openmm.State:
        context.setPositions(positions)
        return context.getState(energy=True, forces=True, groups=1 << group)

    raw = bias_at(start.positions).getForces(asNumpy=True)
    forces = np.asarray(raw.value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    numeric = np.zeros_like(forces)
    for index in np.ndindex(*forces.shape):
        energies = []
        for sign in (1, -1):
            moved = start.positions.copy()
            moved[index] += sign * step
            energies.append(bias_at(moved).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        numeric[index] = -(energies[0] - energies[1]) / (2 * step)
    scale = np.abs(forces).max()
    assert scale > 1.0
    np.testing.assert_allclose(forces, numeric, atol=rtol * scale + 1e-5)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-3 * rtol * scale)
    torque = np.cross(start.positions, forces).sum(axis=0)
    np.testing.assert_allclose(torque, 0, atol=1e-2 * rtol * scale)


def test_same_seed_same_series_and_another_seed_another(setting: Bench) -> None:
    first, second = (setting.engine().run(job(setting, n_steps=300)) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.lam, second.lam)
    third = setting.engine().run(job(setting, n_steps=300, segment=1))
    assert np.abs(third.frames - first.frames).max() > 1e-3


def test_going_on_in_a_new_engine_is_not_stopping(setting: Bench) -> None:
    engine = setting.engine()
    first = engine.run(job(setting, n_steps=300))
    assert first.increment is not None
    going_on = job(setting, n_steps=300, state=first.state, accumulators=first.increment, segment=1)
    straight, resumed = engine.run(going_on), setting.engine().run(going_on)
    np.testing.assert_array_equal(straight.frames, resumed.frames)
    np.testing.assert_array_equal(straight.state.lam, resumed.state.lam)
    assert straight.increment is not None
    assert resumed.increment is not None
    np.testing.assert_array_equal(straight.increment.samples, resumed.increment.samples)


def test_looking_at_energies_between_steps_changes_nothing(learned: Bench) -> None:
    straight = learned.engine().run(job(learned, n_steps=200))
    watched = learned.engine()
    advance = dynamics.advance

    def look_and_advance(context: openmm.Context, *others: Any) -> np.ndarray:
        for _ in range(3):
            context.getState(energy=True, forces=True)
        return advance(context, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamics, "advance", look_and_advance)
        if learned.engine_name == "plumed":
            # DRR samples in every evaluation, and nobody can tell it which to leave out
            with pytest.raises(
                SimulationError, match=r"200 steps need at most as many samples, DRR took 206"
            ):
                watched.run(job(learned, n_steps=200))
            return
        result = watched.run(job(learned, n_steps=200))
    np.testing.assert_array_equal(straight.frames, result.frames)
    assert straight.increment is not None
    assert result.increment is not None
    np.testing.assert_array_equal(straight.increment.samples, result.increment.samples)


def test_the_bias_pushes_lambda_away(learned: Bench) -> None:
    """A strong mean force known everywhere drives lambda to the wall it points at, and not through it."""
    grid = learned.extended.grid
    samples = Accumulators.zeros(grid).samples
    samples[:, 0], samples[:, 1] = 1e6, 1e6 * 400.0
    strong = Accumulators(grid=grid, samples=samples)
    pushed = learned.engine().run(job(learned, n_steps=3000, accumulators=strong))
    free = learned.engine().run(job(learned, n_steps=3000))
    assert pushed.lam[-10:, 0].mean() > free.lam[-10:, 0].mean() + 5 * grid.widths[0]
    assert pushed.lam[:, 0].max() < grid.upper[0]


def test_a_frozen_potential_pushes_by_its_slope(learned: Bench) -> None:
    """400 kJ/mol per unit of lambda_1, as above, this time from a potential; samples have no say."""
    grid = learned.extended.grid
    potential = 400.0 * grid.center_points()[:, 0]
    pushed = learned.engine().run(job(learned, n_steps=3000, potential=potential))
    free = learned.engine().run(job(learned, n_steps=3000, potential=0.0 * potential))
    assert pushed.lam[-10:, 0].mean() > free.lam[-10:, 0].mean() + 5 * grid.widths[0]


def test_off_the_grid_xi_gives_no_sample_and_lambda_is_reflected(learned: Bench) -> None:
    """A grid as wide as two sigma around the start: xi leaves it, lambda does not."""
    lam = learned.state.lam
    half = np.array(learned.extended.grid.widths)
    grid = Grid(lower=tuple(lam - half), upper=tuple(lam + half), n_bins=(4, 4))
    extended = replace(learned.extended, grid=grid)
    narrow = replace(learned, extended=extended)
    result = narrow.engine().run(job(narrow, n_steps=500, frame_steps=1))
    assert result.increment is not None
    assert result.increment.n_lam.sum() == 500
    assert ((result.lam >= grid.lower) & (result.lam <= grid.upper)).all()
    positions = np.concatenate([narrow.state.positions[None], result.frames[:-1]])
    xi = narrow.cv(positions[:, narrow.cv.atom_indices])
    inside = ((xi >= grid.lower) & (xi < grid.upper)).all(axis=1).sum()
    assert 20 < inside < 480
    # frames are float32: one or two at an edge may be on the other side
    assert abs(result.increment.n_xi.sum() - inside) <= 2


@pytest.mark.slow
def test_a_known_mean_force_is_recovered(engine_name: str) -> None:
    """V = k x^2/2: with the spring in series dF/dlam = lam k kappa/(k + kappa), exactly."""
    k = 100.0
    changes = [
        f"particle.potential={k / 2:g}*(x^2 + y^2)",
        "particle.starts_nm=[[0.1, 0.0], [-0.1, 0.0]]",
        "eabf.bins=16",
    ]
    system = build(load_system("mueller_brown", overrides=changes))
    cv = observable_cv(system.observables, ("x",), ranges={"x": (-0.4, 0.4)})
    probe = np.linspace(-0.3, 0.3, 11)[:, None, None] * np.array([1.0, 0.5, 0.0])
    state = WalkerState(
        positions=system.positions,
        velocities=np.zeros((1, 3)),
        box=np.zeros((3, 3)),
        lam=system.positions[0, :1],
        lam_velocity=np.zeros(1),
    )
    nowhere = Bench(system, choose_platform(system.system), cv, None, probe, state, system.spec.settings)  # type: ignore[arg-type]
    bench = along(with_engine(nowhere, engine_name), cv, probe=probe)
    extended, engine = bench.extended, bench.engine()
    total, slopes = Accumulators.zeros(extended.grid), []
    for segment in range(10):
        result = engine.run(job(bench, n_steps=4000, state=state, accumulators=total, segment=segment))
        assert result.increment is not None
        state, total = result.state, total + result.increment
        n, pull = result.increment.n_lam, result.increment.sum_lam[:, 0]
        at = extended.grid.center_points()[:, 0]
        slopes.append((at * pull).sum() / (n * at**2).sum())
    kappa = extended.kappa[0]
    expected = k * kappa / (k + kappa)
    error = np.std(slopes, ddof=1) / np.sqrt(len(slopes))
    assert error < 0.15 * expected
    assert abs(np.mean(slopes) - expected) < 4 * error


def test_a_kernel_that_differs_from_its_pt_is_refused(learned: Bench, tmp_path: Any) -> None:
    cv, encoder = learned.cv, learned.cv.map.kernel
    assert isinstance(encoder, Encoder)
    changed = Encoder(
        reference=encoder.reference,
        weights=(encoder.weights[0], encoder.weights[1] * (1 + 1e-6)),
        biases=encoder.biases,
    )
    export_cv(
        changed, tmp_path, atom_indices=cv.atom_indices, cv_range=cv.cv_range, system="ala2", system_hash=""
    )
    mixed = replace(cv, map=EncoderMap(encoder=encoder, path=tmp_path / "cv.pt"))
    with pytest.raises(CVError, match=r"kernel and TorchScript .* differ by 1\.\de-06"):
        learned.engine(mixed)


def test_a_bias_that_the_integrator_leaves_out_is_noticed(
    setting: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context: Callable[..., Any] = context_engine.make_context

    def without_bias(*args: Any, **kwargs: Any) -> tuple[openmm.Context, openmm.Integrator]:
        context, integrator = make_context(*args, **kwargs)
        integrator.setIntegrationForceGroups({0})
        return context, integrator

    for module in (context_engine, plumed):
        monkeypatch.setattr(module, "make_context", without_bias)
    with pytest.raises(SimulationError, match="bias is not live"):
        setting.engine().run(job(setting))


def test_a_cv_of_a_larger_system_is_refused(learned: Bench) -> None:
    foreign = replace(learned.cv, atom_indices=learned.cv.atom_indices + 10)
    with pytest.raises(CVError, match=r"needs atom 28, 'ala2' has 22 atoms"):
        learned.engine(foreign)


def test_a_grid_that_does_not_fit_the_cv_is_refused(learned: Bench) -> None:
    line = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(10,))
    with pytest.raises(CVError, match="2 components, its grid 1 dimensions"):
        replace(learned, extended=couple_like(learned, line)).engine()
    torsions = along(learned, observable_cv(learned.system.observables, ("phi", "psi")))
    walls = replace(torsions.extended, grid=replace(torsions.extended.grid, periodic=(True, False)))
    with pytest.raises(CVError, match=r"has periods \[6\.28.*\(0: none\), its grid"):
        replace(torsions, extended=walls).engine()


def test_a_job_without_accumulators_is_refused(learned: Bench) -> None:
    with pytest.raises(SimulationError, match="needs accumulators"):
        learned.engine().run(job(learned, accumulators=None))


def test_nan_positions_are_named(learned: Bench) -> None:
    broken = learned.state.positions.copy()
    broken[learned.cv.atom_indices[2]] = np.nan
    with pytest.raises(SimulationError, match=r"atoms are not finite \(first: CV atom 2\)"):
        learned.engine().run(job(learned, state=replace(learned.state, positions=broken)))


def test_an_exploding_run_is_caught_and_named(learned: Bench) -> None:
    wild = learned.state.velocities + 1e4
    wild[::2] *= -1.0
    exploding: SegmentJob = job(learned, n_steps=2000, state=replace(learned.state, velocities=wild))
    with pytest.raises(SimulationError, match=r"exploded near step .* atom \d+ moved"):
        learned.engine().run(exploding)
