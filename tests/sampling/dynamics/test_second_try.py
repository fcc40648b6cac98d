"""A segment that explodes is repeated with half the time step, always in the same way, and then given up."""

import logging
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecv.ground.errors import ExplosionError
from aecv.ground.grid import Grid
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators, couple
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult, SegmentSeed, WalkerState
from aecv.sampling.dynamics.second_try import SecondTry, with_timestep
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.dynamics.walkers import Ensemble, Round, make_plan
from aecv.sampling.processes.recipe import BiasRecipe, EngineRecipe
from aecv.sampling.starting.starts import find_starts
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.run_folder.segments import SegmentFolder


def system_of(timestep_ps: float) -> MolecularSystem:
    """ala2, whose fastest bonds vibrate with 10 fs: 4 fs are beyond the limit of 3.2 fs, 2 fs are not."""
    return build(load_system("ala2", overrides=[f"dynamics.timestep_ps={timestep_ps}", "eabf.tau_ps=0.2"]))


def job_of(system: MolecularSystem, **other: Any) -> SegmentJob:
    state = WalkerState(
        positions=system.positions,
        velocities=np.zeros_like(system.positions),
        box=np.zeros((3, 3)),
        lam=np.empty(0),
        lam_velocity=np.empty(0),
    )
    seed = SegmentSeed(root=1, stage="iteration 3", walker=2, segment=5)
    return replace(SegmentJob(state=state, n_steps=1000, frame_steps=250, seed=seed), **other)


def recipe_of(timestep_ps: float, *, along: str = "") -> EngineRecipe:
    system = system_of(timestep_ps)
    platform = choose_platform(system.system)
    if not along:
        return EngineRecipe(system=system, platform=platform)
    cv = observable_cv(system.observables, (along,))
    low, high = cv.cv_range[0]
    extended = couple(
        Grid(lower=(low,), upper=(high,), n_bins=(30,), periodic=(True,)),
        kt=2.494,
        sigma=np.array([0.2]),
        tau_ps=0.2,
        friction_per_ps=8.0,
        timestep_ps=timestep_ps,
        full_samples=500,
    )
    rng = np.random.default_rng(0)
    here = system.positions[cv.atom_indices]
    probe = here + 0.005 * rng.normal(size=(20, *here.shape))
    bias = BiasRecipe(engine="native", cv=cv, extended=extended, probe=probe)
    return EngineRecipe(system=system, platform=platform, bias=bias)


def test_what_explodes_is_repeated_with_half_the_time_step(caplog: pytest.LogCaptureFixture) -> None:
    recipe = recipe_of(0.004)
    job = job_of(recipe.system)
    with caplog.at_level(logging.WARNING, logger="aecv"):
        result = recipe.make().run(job)
    assert result.repeated
    assert result.frames.shape == (4, 22, 3)
    (message,) = caplog.messages
    assert message.startswith("iteration 3, walker 2, segment 5: dynamics: exploded near step ")
    assert message.endswith("; repeated with half the time step")
    # the same as a run of 2 fs with the same seed and twice the steps: frames at the same times
    gentle = with_timestep(recipe.system, 0.5)
    plain = UnbiasedEngine(*make_context(gentle, platform=recipe.platform, seed=1))
    expected = plain.run(replace(job, n_steps=2000, frame_steps=500))
    np.testing.assert_array_equal(result.frames, expected.frames)


def test_a_repetition_repeats_whatever_ran_before() -> None:
    """Engines of other processes begin with another segment, or with none."""
    recipe = recipe_of(0.004)
    fresh = recipe.make().run(job_of(recipe.system))
    used = recipe.make()
    other = job_of(recipe.system, seed=SegmentSeed(root=1, stage="iteration 3", walker=0, segment=5))
    used.run(other)
    np.testing.assert_array_equal(used.run(job_of(recipe.system)).frames, fresh.frames)


def test_samples_of_a_repetition_count_half() -> None:
    """One sample per step of the asked time: as many as if nothing had happened."""
    recipe = recipe_of(0.004, along="phi")
    cv = recipe.bias.cv  # type: ignore[union-attr]
    job = job_of(recipe.system, accumulators=Accumulators.zeros(recipe.bias.extended.grid))  # type: ignore[union-attr]
    lam = cv(recipe.system.positions[None, cv.atom_indices])[0]
    job = replace(job, state=replace(job.state, lam=lam, lam_velocity=np.zeros(1)))
    result = recipe.make().run(job)
    assert result.repeated
    assert result.increment is not None
    assert result.increment.n_xi.sum() == pytest.approx(1000.0)
    assert result.increment.n_lam.sum() == pytest.approx(1000.0)
    assert result.lam.shape == (4, 1)


@pytest.mark.parametrize("along", ["", "phi"])
def test_what_explodes_twice_is_given_up_and_explained(along: str) -> None:
    recipe = recipe_of(0.01, along=along)
    job = job_of(recipe.system, frame_steps=10)
    if along:
        cv, grid = recipe.bias.cv, recipe.bias.extended.grid  # type: ignore[union-attr]
        lam = cv(recipe.system.positions[None, cv.atom_indices])[0]
        state = replace(job.state, lam=lam, lam_velocity=np.zeros(1))
        job = replace(job, state=state, accumulators=Accumulators.zeros(grid))
    with pytest.raises(ExplosionError) as caught:
        recipe.make().run(job)
    said = str(caught.value)
    assert said.startswith("iteration 3, walker 2, segment 5: ")
    assert "again with half the time step (" in said
    assert "the largest force, " in said
    assert "mostly from " in said
    assert "what was saved before is kept" in said
    assert "a smaller dynamics.timestep_ps than 0.01" in said
    assert ("eabf.sigma_bins" in said) == bool(along)
    # it comes from other processes by pickle
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == said


class _Explodes:
    """An engine that explodes with given positions."""

    def __init__(self, positions: Any) -> None:
        self.positions = positions

    def run(self, job: SegmentJob) -> SegmentResult:
        raise ExplosionError("dynamics: exploded near step 7 of its segment: made up", self.positions, None)


def test_a_sound_structure_blames_the_bias() -> None:
    system = system_of(0.001)
    job = job_of(system, accumulators=Accumulators.zeros(Grid(lower=(0.0,), upper=(1.0,), n_bins=(5,))))
    engine = SecondTry(_Explodes(system.positions), partial(_Explodes, system.positions), system)
    with pytest.raises(ExplosionError, match=r"as in a sound structure: the bias pulls too hard; what was"):
        engine.run(job)
    # without positions nothing can be said of forces
    engine = SecondTry(_Explodes(None), partial(_Explodes, system.positions * np.nan), system)
    with pytest.raises(ExplosionError, match=r"made up\); what was saved before is kept; begin a new run"):
        engine.run(job)


def test_positions_are_looked_at_within_1000_steps() -> None:
    """A frame of 100 000 steps explodes in its first thousand, and is not computed to its end."""
    system = system_of(0.004)
    context, integrator = make_context(system, platform="Reference", seed=1)
    with pytest.raises(ExplosionError) as caught:
        dynamics.advance(context, integrator, 100_000, system.positions)
    assert context.getStepCount() <= 1000
    np.testing.assert_array_equal(caught.value.positions, system.positions)


def test_looking_in_between_changes_nothing() -> None:
    system = system_of(0.001)
    ends = []
    for cuts in ((2500,), (1000, 1000, 500)):
        context, integrator = make_context(system, platform="Reference", seed=3)
        positions = system.positions
        for n_steps in cuts:
            positions = dynamics.advance(context, integrator, n_steps, positions)
        ends.append(positions)
    np.testing.assert_array_equal(*ends)


def test_the_run_remembers_how_often_it_happened(tmp_path: Path) -> None:
    """Also after it was stopped and continued."""
    plan = make_plan(
        root=1, stage="x", n_walkers=1, total_ps=0.4, segment_ps=0.1, frame_ps=0.1, timestep_ps=0.001
    )
    state = job_of(system_of(0.001)).state
    start = Ensemble(rounds_done=0, states=(state,), increments=None)

    def result(repeated: bool) -> SegmentResult:
        frames = np.zeros((1, 22, 3), dtype=np.float32)
        return SegmentResult(
            state=state, frames=frames, lam=np.empty((1, 0)), increment=None, wall_s=0.0, repeated=repeated
        )

    folder = SegmentFolder(tmp_path / "segments", start, plan)
    folder.load()
    folder.save(Round(ensemble=replace(start, rounds_done=1), results=(result(True),)))
    again = SegmentFolder(tmp_path / "segments", start, plan)
    assert again.load().rounds_done == 1
    again.save(Round(ensemble=replace(start, rounds_done=2), results=(result(False),)))
    again.save(Round(ensemble=replace(start, rounds_done=3), results=(result(True),)))
    assert again.n_repeated == 2


def test_a_hot_run_that_explodes_is_repeated_with_half_the_time_step(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = system_of(0.004).spec.settings.starts.model_copy(update={"hot_ps": 4.0, "candidates": 2})
    with caplog.at_level(logging.WARNING, logger="aecv"):
        found = find_starts(system_of(0.004), settings, 1)
    assert found.report.n_candidates == 3
    assert [m.endswith("; repeated with half the time step") for m in caplog.messages] == [True]
    # as if it had been asked for: frames at the same times
    expected = find_starts(system_of(0.002), settings, 1)
    np.testing.assert_array_equal(found.hot_frames, expected.hot_frames)
    with pytest.raises(ExplosionError, match=r"hot run at 1000 K .*; (check the|lower the temp)"):
        find_starts(system_of(0.01), settings, 1)
