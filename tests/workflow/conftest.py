"""A complete, very small run of the loop, made once."""

from pathlib import Path

import pytest

from aecv.molecules.spec import load_system
from aecv.workflow.loop import iterate

SMALL = (
    "sampling.ns=0.02",
    "sampling.frame_ps=0.02",
    "sampling.walkers=2",
    "sampling.segment_ps=1",
    "sampling.equilibration_ps=0.5",
    "starts.hot_ps=30",
    "starts.candidates=10",
    "training.max_epochs=4",
    "training.restarts=3",
    "training.min_effective_frames=20",
    "convergence.floor=0",
    "convergence.replicas=3",
    "eabf.bins=20",
    "eabf.full_samples=100",
    "eabf.update_ps=0.5",
    "run.iterations=3",
    "production.ns=0.01",
    "production.frozen_stages=2",
    "production.replicates=40",
    "delta_f.observable=psi",
    "delta_f.lower=0.0",
    "delta_f.upper=1.8",
)
"""Settings of a run of three iterations and a production in a few seconds; its numbers mean nothing.

Walkers cross the border of this region within 10 ps, that of ala2's own never: Delta F is a number, and one
start lies inside, the other outside.
"""


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes two thirds of the time of a small run."""
    for name in ("draw_run", "draw_production", "update_report"):
        monkeypatch.setattr(f"aecv.workflow.loop.{name}", lambda *_: None)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished small run; tests must not change it."""
    folder = tmp_path_factory.mktemp("small") / "run"
    iterate(load_system("ala2", overrides=SMALL), folder)
    return folder
