"""The PLUMED engine with a real PLUMED: what a segment of DRR gives back."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from aecv.ground.errors import SimulationError
from aecv.ground.grid import Grid
from aecv.models.cv import CV
from aecv.models.plain_cv import observable_cv
from aecv.numerics.abf import Accumulators, couple
from aecv.sampling.dynamics import SegmentJob
from aecv.sampling.engines import plumed
from aecv.sampling.engines.plumed import PlumedEngine
from tests.engines.conftest import Bench, job

pytestmark = pytest.mark.plumed


@pytest.fixture(scope="module", autouse=True)
def plumed_works() -> None:
    found = plumed.availability()
    if not found.works:
        pytest.skip(str(found))


def engine_of(bench: Bench, **other: Any) -> PlumedEngine:
    return PlumedEngine(
        bench.system, bench.cv, bench.extended, platform=bench.platform, probe=bench.probe, **other
    )


def with_cv(bench: Bench, cv: CV, grid: Grid) -> Bench:
    extended = couple(
        grid,
        kt=2.494,
        sigma=grid.widths,
        tau_ps=0.2,
        friction_per_ps=8.0,
        timestep_ps=0.001,
        full_samples=200,
    )
    lam = grid.wrap(cv(bench.state.positions[cv.atom_indices])[0])
    state = replace(bench.state, lam=lam, lam_velocity=np.zeros(len(lam)))
    return replace(bench, cv=cv, extended=extended, state=state)


@pytest.fixture
def torsions(bench: Bench) -> Bench:
    cv = observable_cv(bench.system.observables, ("phi", "psi"))
    grid = Grid(lower=(-math.pi,) * 2, upper=(math.pi,) * 2, n_bins=(24, 30), periodic=(True, True))
    positions = bench.probe[:1] if cv.n_atoms == bench.probe.shape[1] else None
    frames = positions if positions is not None else bench.state.positions[None, cv.atom_indices]
    return replace(with_cv(bench, cv, grid), probe=frames)


@pytest.fixture(params=["encoder", "torsions", "foreign"])
def setting(request: pytest.FixtureRequest, bench: Bench, foreign_cv: CV, torsions: Bench) -> Bench:
    if request.param == "encoder":
        return bench
    if request.param == "torsions":
        return torsions
    xi = foreign_cv(bench.probe)
    low, high = xi.min(axis=0) - 0.1, xi.max(axis=0) + 0.1
    return with_cv(bench, foreign_cv, Grid(lower=tuple(low), upper=tuple(high), n_bins=(20, 20)))


def test_one_sample_per_step_pairs_lambda_with_its_positions(setting: Bench) -> None:
    """With a frame at every step the samples can be computed again from the frames."""
    n_steps = 200
    result = engine_of(setting).run(job(setting, n_steps=n_steps, frame_steps=1))
    cv, extended = setting.cv, setting.extended
    positions = np.concatenate([setting.state.positions[None], result.frames[:-1]])
    lam = np.concatenate([setting.state.lam[None], result.lam[:-1]])
    xi = cv(positions[:, cv.atom_indices])
    stretch = lam - xi
    periods = np.where(extended.grid.periods > 0, extended.grid.periods, np.inf)
    pull = np.array(extended.kappa) * (stretch - extended.grid.periods * np.round(stretch / periods))
    expected = Accumulators.zeros(extended.grid)
    np.add.at(expected.samples, (extended.grid.index(lam), 0), 1)
    np.add.at(expected.samples, (extended.grid.index(lam), slice(1, 3)), pull)
    inside = extended.grid.index(xi) >= 0
    np.add.at(expected.samples, (extended.grid.index(xi)[inside], 3), 1)
    np.add.at(expected.samples, (extended.grid.index(xi)[inside], slice(4, 6)), pull[inside])
    assert result.increment is not None
    assert result.increment.n_lam.sum() == n_steps
    # frames are single precision, PYTORCH_MODEL too; a value at an edge may change its bin
    scale = np.abs(pull).max()
    for column in (0, 3):
        assert np.abs((result.increment.samples - expected.samples)[:, column]).sum() <= 4
    total = (result.increment.samples - expected.samples).sum(axis=0)
    assert np.abs(total[[1, 2, 4, 5]]).max() < 5e-3 * n_steps**0.5 * scale
    same = (np.abs(result.increment.samples - expected.samples)[:, [0, 3]] == 0).all(axis=1)
    np.testing.assert_allclose(result.increment.samples[same], expected.samples[same], atol=2e-3 * scale)


def test_lambda_goes_on_where_it_was(bench: Bench) -> None:
    """A segment of 2 x 100 steps under the same random numbers would be one; across the border lambda may
    move by no more than its velocity takes it in a step."""
    engine = engine_of(bench)
    first = engine.run(job(bench, n_steps=100, frame_steps=1))
    assert first.increment is not None
    second = engine.run(
        job(bench, n_steps=2, frame_steps=1, state=first.state, accumulators=first.increment, segment=1)
    )
    step = second.lam[0] - first.state.lam
    dt, kt = bench.extended.timestep_ps, bench.extended.kt
    mass, friction = np.array(bench.extended.mass), bench.extended.friction_per_ps
    kick = np.sqrt(2 * friction * dt * kt / mass) * 5 + 400.0 * dt / mass
    assert np.all(np.abs(step - first.state.lam_velocity * dt) < kick * dt)
    np.testing.assert_array_equal(first.lam[-1], first.state.lam)


def strong(bench: Bench) -> Accumulators:
    """A mean force of 400 kJ/mol/CV along the first component, known everywhere."""
    samples = Accumulators.zeros(bench.extended.grid).samples
    samples[:, 0], samples[:, 1] = 1e6, 1e6 * 400.0
    return Accumulators(grid=bench.extended.grid, samples=samples)


def mean_lam(bench: Bench, job_: SegmentJob) -> float:
    return float(engine_of(bench).run(job_).lam[-10:, 0].mean())


def test_the_bias_of_others_pushes_lambda_but_not_beyond_the_ceiling(bench: Bench) -> None:
    grid = bench.extended.grid
    free = mean_lam(bench, job(bench, n_steps=3000))
    pushed = mean_lam(bench, job(bench, n_steps=3000, accumulators=strong(bench)))
    assert pushed > free + 5 * grid.widths[0]
    everywhere = np.ones(grid.size, dtype=bool)
    held = mean_lam(bench, job(bench, n_steps=3000, accumulators=strong(bench), unbiased=everywhere))
    assert held < free + 2 * grid.widths[0]


def test_a_frozen_bias_pushes_lambda_and_does_not_adapt(bench: Bench) -> None:
    grid = bench.extended.grid
    slope = 400.0 * grid.center_points()[:, 0]
    free = mean_lam(bench, job(bench, n_steps=3000, potential=np.zeros(grid.size)))
    pushed = mean_lam(bench, job(bench, n_steps=3000, potential=slope))
    assert pushed > free + 5 * grid.widths[0]
    # what was gathered before does not count under a frozen bias
    kept = mean_lam(
        bench, job(bench, n_steps=3000, potential=np.zeros(grid.size), accumulators=strong(bench))
    )
    assert kept == free


@pytest.mark.parametrize("form", ["pytorch", "plain"])
def test_all_forms_are_the_same_cv(bench: Bench, form: Any) -> None:
    """Each is checked against the CV's forces at the start; its first steps agree to its digits."""
    short = job(bench, n_steps=20, frame_steps=20)
    first, other = engine_of(bench).run(short), engine_of(bench, form=form).run(short)
    assert np.abs(first.frames - other.frames).max() < 1e-5
    np.testing.assert_allclose(first.lam, other.lam, atol=1e-4 * np.ptp(bench.cv.cv_range))


def test_lambda_has_the_temperature_of_its_bath(bench: Bench) -> None:
    """m <v^2> = kT from lambda's steps; v^2 forgets itself in about 1/(2 friction) = 62 steps."""
    n_steps = 20_000
    result = engine_of(bench).run(job(bench, n_steps=n_steps, frame_steps=1))
    velocity = np.diff(result.lam, axis=0) / bench.extended.timestep_ps
    inside = np.abs(np.diff(result.lam, axis=0)).max(axis=1) < 0.5 * np.min(bench.extended.grid.widths) * 20
    measured = np.array(bench.extended.mass) * (velocity[inside] ** 2).mean(axis=0)
    error = math.sqrt(2 * 2 * 62 / n_steps)
    np.testing.assert_allclose(measured, bench.extended.kt, rtol=4 * error)


def test_what_plumed_refuses_is_said_in_its_words(bench: Bench) -> None:
    engine = engine_of(bench)
    engine._input = replace(engine._input, cv_block="xi_1: NONSENSE ARG=1")
    with pytest.raises(SimulationError, match=r"PLUMED refuses its input: .*NONSENSE"):
        engine.run(job(bench))


def test_atoms_in_another_order_are_noticed_before_the_first_step(bench: Bench) -> None:
    engine = engine_of(bench)
    first, second = (f"a{index + 1}.x," for index in bench.cv.atom_indices[[0, 1]])
    block = engine._input.cv_block
    assert block.count(first) == block.count(second) == 1
    swapped = block.replace(first, "SWAP").replace(second, first).replace("SWAP", second)
    engine._input = replace(engine._input, cv_block=swapped)
    with pytest.raises(SimulationError, match=r"bias is not live: .* it reads other atoms, in another order"):
        engine.run(job(bench))
