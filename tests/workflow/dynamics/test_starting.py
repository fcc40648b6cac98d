"""Walkers before the first iteration: what was done of it is kept, and the end is the same."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from aecv.commands.screens import status_text
from aecv.ground.files import read_arrays
from aecv.ground.progress import Progress, silent
from aecv.molecules.spec import load_system
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult
from aecv.sampling.dynamics.walkers import Executor
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.processes.workers import ThisProcess
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.dynamics import starting
from aecv.workflow.run_folder.store import RunDirectory
from aecv.workflow.story.status import status

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


def prepared(
    out: Path,
    workers: ThisProcess,
    *,
    resume: bool = False,
    settings: tuple[str, ...] = SETTINGS,
    progress: Progress = silent,
) -> None:
    system = build(load_system("ala2", overrides=settings))
    open_run = RunDirectory.resume if resume else RunDirectory.create
    with open_run(out, system.spec, platform="Reference") as run:
        platform = choose_platform(system.system, "Reference")
        starting.prepare_walkers(run, 0, system, platform, progress, workers)


class Stopping:
    """Stops at the n-th step of a bar, as Ctrl-C does, and remembers the others."""

    def __init__(self, title: str = "", stop_at: int = -1) -> None:
        self.opened: list[tuple[str, float, str]] = []
        self.done: dict[str, list[float]] = {}
        self._title, self._stop_at = title, stop_at

    @contextmanager
    def __call__(self, title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
        self.opened.append((title, total, unit))
        steps = self.done.setdefault(title, [])

        def advance(amount: float) -> None:
            if self._title in title and len(steps) == self._stop_at:
                raise KeyboardInterrupt
            steps.append(amount)

        yield advance


SEARCH = (*SETTINGS[1:], "starts.hot_ps=4", "starts.candidates=8", "sampling.frame_ps=0.25")
HOT, MINIMISING = "starts: hot run at 1000 K", "starts: minimising"


def assert_the_same(one: Path, other: Path) -> None:
    expected, found = (read_arrays(folder / STARTS) for folder in (one, other))
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(values, found[name])


def test_a_search_that_was_stopped_goes_on_from_its_last_piece(tmp_path: Path) -> None:
    """Stopped in the fourth piece of the hot run, in the fifth minimisation, and in the equilibration: the
    end is that of a straight run, bitwise, and what was saved is not done again."""
    straight = Stopping()
    prepared(tmp_path / "straight", ThisProcess(), settings=SEARCH, progress=straight)
    assert straight.opened[:3] == [
        (MINIMISING, 1, "structures"),
        (HOT, 4.0, "ps"),
        (MINIMISING, 9, "structures"),
    ]
    assert sum(straight.done[HOT]) == pytest.approx(4.0)
    out = tmp_path / "stopped"
    # the first step of a bar tells what was done before; a piece of the hot run has two frames
    with pytest.raises(KeyboardInterrupt):
        prepared(out, ThisProcess(), settings=SEARCH, progress=Stopping(HOT, 8))
    second = Stopping(MINIMISING, 5)
    with pytest.raises(KeyboardInterrupt):
        prepared(out, ThisProcess(), settings=SEARCH, progress=second, resume=True)
    assert second.done[HOT] == pytest.approx([1.5, *[0.25] * 10])
    with pytest.raises(KeyboardInterrupt):
        prepared(out, Counting(stop_before=3), settings=SEARCH, resume=True)
    last = Stopping()
    prepared(out, ThisProcess(), settings=SEARCH, progress=last, resume=True)
    assert HOT not in last.done
    assert MINIMISING not in last.done
    assert_the_same(tmp_path / "straight", out)


@pytest.mark.parametrize("name", ["hot_00001", "hot_checkpoint", "minimum_00000"])
def test_a_damaged_piece_is_made_again(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    prepared(tmp_path / "straight", ThisProcess(), settings=SEARCH)
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        prepared(out, ThisProcess(), settings=SEARCH, progress=Stopping(MINIMISING, 5))
    path = out / "iteration_00" / "equilibration" / f"{name}.npz"
    path.write_bytes(path.read_bytes()[:100])
    prepared(out, ThisProcess(), settings=SEARCH, resume=True)
    assert f"{name}.npz: needs a readable .npz archive" in caplog.text
    assert_the_same(tmp_path / "straight", out)


def test_a_look_at_the_run_tells_the_parts_of_the_search(tmp_path: Path) -> None:
    """Two of eight pieces of 0.5 ps, then all of them and three of nine minima, then two of three rounds."""
    out = tmp_path / "run"

    def parts() -> list[tuple[str, float, float, str]]:
        stage = status(out).stage
        assert stage is not None
        assert stage.name == "starts"
        return [(part.name, part.done, part.total, part.unit) for part in stage.parts]

    with pytest.raises(KeyboardInterrupt):
        prepared(out, ThisProcess(), settings=SEARCH, progress=Stopping(HOT, 6))
    assert parts() == [
        ("hot run", 1.0, 4.0, "ps"),
        ("minimising", 0.0, 9.0, "structures"),
        ("equilibration", 0.0, 0.6, "ps"),
    ]
    assert "next: starts of iteration_00: hot run 1 of 4 ps, minimising 0 of 9 structures" in status_text(
        out, status(out)
    )
    with pytest.raises(KeyboardInterrupt):
        prepared(out, ThisProcess(), settings=SEARCH, progress=Stopping(MINIMISING, 3), resume=True)
    assert [done for _, done, _, _ in parts()] == [4.0, 3.0, 0.0]
    with pytest.raises(KeyboardInterrupt):
        prepared(out, Counting(stop_before=4), settings=SEARCH, resume=True)
    assert [done for _, done, _, _ in parts()] == [4.0, 9.0, pytest.approx(0.4)]


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
