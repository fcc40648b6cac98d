"""The PLUMED engine with a real PLUMED: what a segment of DRR gives back."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecv.ground.errors import SimulationError
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.sampling.engines import plumed
from aecv.sampling.engines.plumed import PlumedEngine
from tests.sampling.engines.conftest import Bench, job

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


def test_samples_that_shall_not_push_do_not(bench: Bench) -> None:
    """Those of bins beyond the ceiling, and all of them under a frozen bias."""
    grid = bench.extended.grid
    samples = Accumulators.zeros(grid).samples
    samples[:, 0], samples[:, 1] = 1e6, 1e6 * 400.0
    strong = Accumulators(grid=grid, samples=samples)
    flat, everywhere = np.zeros(grid.size), np.ones(grid.size, dtype=bool)

    def lam_of(**other: Any) -> np.ndarray:
        return engine_of(bench).run(job(bench, n_steps=3000, **other)).lam[:, 0]

    free = lam_of(potential=flat)
    np.testing.assert_array_equal(lam_of(potential=flat, accumulators=strong), free)
    held = lam_of(accumulators=strong, unbiased=everywhere)
    # the push would take it by more than five, see the contract
    assert held[-10:].mean() < lam_of()[-10:].mean() + 2 * grid.widths[0]


@pytest.mark.parametrize("form", ["pytorch", "plain"])
def test_all_forms_are_the_same_cv(bench: Bench, form: Any) -> None:
    """Each is checked against the CV's forces at the start; its first steps agree to its digits."""
    short = job(bench, n_steps=20, frame_steps=20)
    first, other = engine_of(bench).run(short), engine_of(bench, form=form).run(short)
    assert np.abs(first.frames - other.frames).max() < 1e-5
    np.testing.assert_allclose(first.lam, other.lam, atol=1e-4 * np.ptp(bench.cv.cv_range))


def test_lambda_has_the_temperature_of_its_bath(bench: Bench) -> None:
    """m <v^2> = kT from lambda's steps; v^2 forgets itself in about 1/(2 friction) = 62 steps."""
    n_steps = 60_000
    result = engine_of(bench).run(job(bench, n_steps=n_steps, frame_steps=1))
    velocity = np.diff(result.lam, axis=0) / bench.extended.timestep_ps
    measured = (np.array(bench.extended.mass) * velocity**2).mean()
    # both components together: 18 % for four standard errors
    error = math.sqrt(2 * 2 * 62 / (2 * n_steps))
    assert measured == pytest.approx(bench.extended.kt, rel=4 * error)


def test_what_plumed_refuses_is_said_in_its_words(bench: Bench) -> None:
    engine = engine_of(bench)
    engine.input = replace(engine.input, cv_block="xi_1: NONSENSE ARG=1")
    with pytest.raises(SimulationError, match=r"PLUMED refuses its input: .*NONSENSE"):
        engine.run(job(bench))


def test_an_error_of_plumed_in_a_step_is_no_explosion(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The series of lambda's noise ends before the segment does."""
    write = plumed.files.write_noise

    def write_less(path: Path, *others: Any) -> None:
        write(path, *others)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:50]))

    monkeypatch.setattr(plumed.files, "write_noise", write_less)
    with pytest.raises(SimulationError, match=r"PLUMED stopped the run, it says: .*end of file"):
        engine_of(bench).run(job(bench, n_steps=200))


def test_atoms_in_another_order_are_noticed_before_the_first_step(bench: Bench) -> None:
    engine = engine_of(bench)
    first, second = (f"a{index + 1}.x," for index in bench.cv.atom_indices[[0, 1]])
    block = engine.input.cv_block
    assert block.count(first) == block.count(second) == 1
    swapped = block.replace(first, "SWAP").replace(second, first).replace("SWAP", second)
    engine.input = replace(engine.input, cv_block=swapped)
    with pytest.raises(SimulationError, match=r"bias is not live: .* it reads other atoms, in another order"):
        engine.run(job(bench))
