"""The clock of a sampling stage."""

from pathlib import Path

import numpy as np
import pytest

from aecv.sampling.dynamics.jobs import SegmentResult, WalkerState
from aecv.sampling.dynamics.walkers import Ensemble, Plan, Round, make_plan
from aecv.workflow.run_folder import segments
from aecv.workflow.run_folder.segments import SegmentFolder

N_WALKERS = 3


def ensemble(rounds_done: int) -> Ensemble:
    none = np.empty(0)
    state = WalkerState(
        positions=np.zeros((2, 3)),
        velocities=np.zeros((2, 3)),
        box=np.zeros((3, 3)),
        lam=none,
        lam_velocity=none,
    )
    return Ensemble(rounds_done=rounds_done, states=(state,) * N_WALKERS, increments=None)


def round_of(rounds_done: int, plan: Plan) -> Round:
    made = ensemble(rounds_done)
    n_frames = plan.segment_steps[0] // plan.frame_steps
    frames, lam = np.zeros((n_frames, 2, 3), dtype=np.float32), np.empty((n_frames, 0))
    results = tuple(
        SegmentResult(state=state, frames=frames, lam=lam, increment=None, wall_s=100.0)
        for state in made.states
    )
    return Round(ensemble=made, results=results)


def test_time_is_that_of_the_clock_over_all_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds 5 s apart, then a pause that does not count, then one more after 2 s."""
    now = [1000.0]
    monkeypatch.setattr(segments.time, "perf_counter", lambda: now[0])
    plan = make_plan(
        root=1,
        stage="test",
        n_walkers=N_WALKERS,
        total_ps=9.0,
        segment_ps=1.0,
        frame_ps=0.5,
        timestep_ps=0.001,
    )
    assert plan.n_rounds == 3
    first = SegmentFolder(tmp_path / "segments", ensemble(0), plan)
    first.load()
    for done in (1, 2):
        now[0] += 5.0
        first.save(round_of(done, plan))
    assert first.wall_s == pytest.approx(10.0)
    now[0] += 1e6
    second = SegmentFolder(tmp_path / "segments", ensemble(0), plan)
    assert second.load().rounds_done == 2
    now[0] += 2.0
    second.save(round_of(3, plan))
    assert second.wall_s == pytest.approx(12.0)
