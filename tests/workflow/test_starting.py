"""Walkers before the first iteration: what was done of it is kept, and the end is the same."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.files import read_arrays
from aecv.ground.progress import silent
from aecv.models.spec import load_system
from aecv.sampling.dynamics import SegmentJob, SegmentResult
from aecv.sampling.platforms import choose_platform
from aecv.sampling.recipe import EngineRecipe
from aecv.sampling.system import build
from aecv.sampling.walkers import Executor
from aecv.sampling.workers import ThisProcess
from aecv.workflow import starting
from aecv.workflow.store import RunDirectory

SETTINGS = (
    "starts.mode=one",
    "sampling.walkers=2",
    "sampling.equilibration_ps=0.6",
    "sampling.segment_ps=0.2",
)
STARTS = "iteration_00/starts.npz"


class Counting(ThisProcess):
    """Counts segments, and stops before one of them as Ctrl-C does."""

    def __init__(self, stop_before: int = -1) -> None:
        super().__init__()
        self.n_done, self._stop_before = 0, stop_before

    def executor(self, recipe: EngineRecipe) -> Executor:
        inner = super().executor(recipe)

        def run(jobs: Iterable[SegmentJob]) -> Iterator[SegmentResult]:
            for result in inner(jobs):
                if self.n_done == self._stop_before:
                    raise KeyboardInterrupt
                self.n_done += 1
                yield result

        return run


def prepared(out: Path, workers: ThisProcess, *, resume: bool = False) -> None:
    system = build(load_system("ala2", overrides=SETTINGS))
    open_run = RunDirectory.resume if resume else RunDirectory.create
    with open_run(out, system.spec, platform="Reference") as run:
        platform = choose_platform(system.system, "Reference")
        starting.prepare_walkers(run, 0, system, platform, silent, workers)


def test_an_equilibration_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds of two walkers, stopped in the second: that one is run again, and the search for starts is
    not."""
    prepared(tmp_path / "straight", Counting())
    with pytest.raises(KeyboardInterrupt):
        prepared(tmp_path / "stopped", Counting(stop_before=3))
    assert not (tmp_path / "stopped" / STARTS).exists()
    monkeypatch.setattr(starting, "find_starts", None)
    rest = Counting()
    prepared(tmp_path / "stopped", rest, resume=True)
    assert rest.n_done == 4
    expected, found = (read_arrays(tmp_path / name / STARTS) for name in ("straight", "stopped"))
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(values, found[name])
    assert not (tmp_path / "stopped" / "iteration_00" / "equilibration").exists()
