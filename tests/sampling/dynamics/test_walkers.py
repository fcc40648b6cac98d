"""Walkers that share a bias: their plan, their order, their sums."""

import itertools
from collections.abc import Iterable

import numpy as np
import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult, WalkerState
from aecv.sampling.dynamics.walkers import BiasRule, Ensemble, Plan, make_plan, run_rounds

GRID = Grid(lower=(0.0,), upper=(1.0,), n_bins=(4,))


def plan_of(total_ps: float, n_walkers: int, segment_ps: float = 1.0) -> Plan:
    return make_plan(
        root=1, stage="test", n_walkers=n_walkers, total_ps=total_ps, segment_ps=segment_ps, frame_ps=0.1,
        timestep_ps=0.001,
    )  # fmt: skip


def test_a_plan_holds_the_whole_length_and_the_rest() -> None:
    plan = plan_of(9.4, 2, 2.0)
    assert plan.segment_steps == (2000, 2000, 700)
    assert plan.frame_steps == 100
    assert plan.steps_per_walker == 4700
    assert plan.frames_per_walker == 47
    assert plan_of(10_000, 4, 50).steps_per_walker * 4 == 10_000_000


def test_a_plan_explores_first_and_then_has_equal_frozen_stages() -> None:
    plan = make_plan(
        root=1, stage="test", n_walkers=2, total_ps=20.0, segment_ps=1.0, frame_ps=0.1, timestep_ps=0.001,
        adaptive_share=0.3, frozen_stages=3,
    )  # fmt: skip
    assert plan.frames_per_walker == 100
    assert plan.stages == (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)
    assert plan.segment_steps == (1000, 1000, 1000, *(1000, 1000, 300), *(1000, 1000, 400), 1000, 1000, 300)
    progress = np.arange(1, 101) / 100
    inside = [np.sum((progress > a) & (progress <= b)) for a, b in itertools.pairwise(plan.stage_edges)]
    assert inside == [23, 24, 23]
    assert plan_of(9.4, 2).stage_edges.size == 0


def test_a_run_too_short_for_its_stages_has_fewer() -> None:
    plan = make_plan(
        root=1, stage="test", n_walkers=1, total_ps=0.3, segment_ps=1.0, frame_ps=0.1, timestep_ps=0.001,
        adaptive_share=0.3, frozen_stages=3,
    )  # fmt: skip
    assert plan.stages == (0, 1, 2)


def test_a_length_without_a_frame_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"0\.1 ps over 2 walkers hold no frame"):
        plan_of(0.1, 2)


def state(value: float) -> WalkerState:
    x = np.full((1, 3), value)
    return WalkerState(positions=x, velocities=x, box=np.zeros((3, 3)), lam=x[0, :1], lam_velocity=x[0, :1])


def fake_engine(job: SegmentJob) -> SegmentResult:
    """Moves by a number drawn from the job's stream, and counts one sample in a bin that depends on it."""
    move = job.seed.lam_noise.random()
    samples = Accumulators.zeros(GRID).samples
    samples[int(4 * move), 0] = job.n_steps
    assert job.accumulators is not None
    after = state(job.state.positions[0, 0] + move + 1e-3 * job.accumulators.n_lam.sum())
    return SegmentResult(
        state=after,
        frames=np.zeros((1, 1, 3), dtype=np.float32),
        lam=np.zeros((1, 1)),
        increment=Accumulators(grid=GRID, samples=samples),
        wall_s=0.0,
    )


def forceful_engine(job: SegmentJob) -> SegmentResult:
    """As `fake_engine`, with a mean force in every bin that the stream decides."""
    result = fake_engine(job)
    assert result.increment is not None
    result.increment.samples[:, 0] = job.n_steps
    result.increment.samples[:, 1] = job.n_steps * 20.0 * job.seed.lam_noise.random(4)
    return result


def map_forceful(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
    return map(forceful_engine, jobs)


def in_order(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
    return map(fake_engine, jobs)


def backwards(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
    """As workers might finish: the last walker first, results put back in order."""
    return reversed([fake_engine(job) for job in reversed(list(jobs))])


def begin(prior: Accumulators | None = None) -> Ensemble:
    zeros = tuple(Accumulators.zeros(GRID) for _ in range(3))
    return Ensemble(rounds_done=0, states=tuple(map(state, (0.0, 1.0, 2.0))), increments=zeros, prior=prior)


def test_the_finishing_order_changes_nothing() -> None:
    ends = [list(run_rounds(begin(), plan_of(12, 3), how))[-1].ensemble for how in (in_order, backwards)]
    for one, other in zip(ends[0].states, ends[1].states, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
    assert ends[0].total is not None
    assert ends[1].total is not None
    np.testing.assert_array_equal(ends[0].total.samples, ends[1].total.samples)


def test_stopping_after_any_round_and_going_on_changes_nothing() -> None:
    plan = plan_of(12, 3)
    rounds = list(run_rounds(begin(), plan, in_order))
    assert len(rounds) == plan.n_rounds == 4
    for stop in range(plan.n_rounds - 1):
        *_, last = run_rounds(rounds[stop].ensemble, plan, in_order)
        np.testing.assert_array_equal(
            last.ensemble.states[2].positions, rounds[-1].ensemble.states[2].positions
        )


def test_totals_grow_by_what_was_sampled_and_not_by_themselves() -> None:
    """Adding a total into itself doubles it every round; here it grows by 3 walkers x 1000 steps."""
    prior = Accumulators.zeros(GRID)
    prior.samples[2, 0] = 50.0
    rounds = list(run_rounds(begin(prior), plan_of(12, 3), in_order))
    totals = [r.ensemble.total.n_lam.sum() for r in rounds if r.ensemble.total is not None]
    assert totals == [3050.0, 6050.0, 9050.0, 12050.0]
    increments = rounds[-1].ensemble.increments
    assert increments is not None
    assert [inc.n_lam.sum() for inc in increments] == [4000.0] * 3


def test_a_stage_keeps_the_potential_of_its_beginning_also_when_resumed() -> None:
    """Potential of stage s: the rule applied to the total after the last round before it."""
    plan = make_plan(
        root=1, stage="test", n_walkers=3, total_ps=18.0, segment_ps=1.0, frame_ps=0.1, timestep_ps=0.001,
        adaptive_share=0.34, frozen_stages=2,
    )  # fmt: skip
    assert plan.stages == (0, 0, 1, 1, 2, 2)
    rule = BiasRule(ceiling_kj_mol=1e9, full_samples=10)
    given: list[tuple[object, object]] = []

    def watch(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
        for job in jobs:
            given.append((job.potential, job.unbiased))
            yield forceful_engine(job)

    rounds = list(run_rounds(begin(), plan, watch, rule=rule))
    for index, (potential, unbiased) in enumerate(given):
        stage = plan.stages[index // 3]
        assert (potential is None) == (stage == 0)
        assert (unbiased is None) == (stage > 0)
        if stage:
            total = rounds[2 * stage - 1].ensemble.total
            assert total is not None
            np.testing.assert_array_equal(potential, rule.potential(total))
    assert np.ptp(rounds[-1].ensemble.potentials, axis=1).min() > 1.0
    assert np.abs(np.subtract(*rounds[-1].ensemble.potentials)).max() > 0.01
    for stop in range(plan.n_rounds - 1):
        *_, last = run_rounds(rounds[stop].ensemble, plan, map_forceful, rule=rule)
        np.testing.assert_array_equal(last.ensemble.potentials, rounds[-1].ensemble.potentials)


def test_the_potential_is_flat_above_the_ceiling() -> None:
    """F = 25 x^2 with a ceiling of 25: B is F for |x| < 1, and goes on flat; without one it rises on."""
    grid = Grid(lower=(-2.0,), upper=(2.0,), n_bins=(80,))
    samples = np.zeros((grid.size, 4))
    samples[:, 0] = 1000.0
    samples[:, 1] = 1000.0 * 50.0 * grid.centers(0)
    total = Accumulators(grid=grid, samples=samples)
    inside = np.abs(grid.centers(0)) < 0.9
    for ceiling, highest in ((25.0, 25.0), (1e9, 25.0 * 1.975**2)):
        found = BiasRule(ceiling_kj_mol=ceiling, full_samples=10).potential(total)
        np.testing.assert_allclose(found[inside], 25.0 * grid.centers(0)[inside] ** 2, atol=0.1)
        assert found.max() == pytest.approx(highest, abs=1.5)  # half a bin beyond the ceiling still pushes


def test_a_projected_bias_is_a_potential_of_the_total_before_every_round() -> None:
    """Also while it adapts; what cannot be a gradient is never applied, and no bin needs to be left out."""
    rule = BiasRule(ceiling_kj_mol=1e9, full_samples=10, projected=True)
    plan, given = plan_of(12, 3), []

    def watch(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
        for job in jobs:
            given.append(job)
            yield forceful_engine(job)

    rounds = list(run_rounds(begin(), plan, watch, rule=rule))
    totals = [begin().total, *(r.ensemble.total for r in rounds)]
    for index, job in enumerate(given):
        total = totals[index // 3]
        assert total is not None
        np.testing.assert_array_equal(job.potential, rule.potential(total))
        assert job.unbiased is None
    assert np.ptp(given[0].potential) == 0.0
    assert np.ptp(given[-1].potential) > 1.0
    assert rounds[-1].ensemble.potentials == ()


def test_walkers_and_segments_have_streams_of_their_own() -> None:
    seen: list[float] = []

    def watch(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
        for job in jobs:
            seen.append(float(job.seed.lam_noise.random()))
            seen.append(float(job.seed.langevin))
            yield fake_engine(job)

    list(run_rounds(begin(), plan_of(12, 3), watch))
    assert len(set(seen)) == len(seen) == 24
