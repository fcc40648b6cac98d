"""Walkers that share a bias: their plan, their order, their sums."""

from collections.abc import Iterable

import numpy as np
import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.grid import Grid
from aecv.numerics.abf import Accumulators
from aecv.sampling.dynamics import SegmentJob, SegmentResult, WalkerState
from aecv.sampling.walkers import Ensemble, Plan, make_plan, run_rounds

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


def test_walkers_and_segments_have_streams_of_their_own() -> None:
    seen: list[float] = []

    def watch(jobs: Iterable[SegmentJob]) -> Iterable[SegmentResult]:
        for job in jobs:
            seen.append(float(job.seed.lam_noise.random()))
            seen.append(float(job.seed.langevin))
            yield fake_engine(job)

    list(run_rounds(begin(), plan_of(12, 3), watch))
    assert len(set(seen)) == len(seen) == 24
