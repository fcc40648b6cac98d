"""How far a run has come, without touching it."""

import os
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest

from aecv.ground.errors import StoreError
from aecv.ground.files import read_json, write_json
from aecv.ground.sealed import write_sealed
from aecv.workflow.story.status import status


@pytest.fixture
def copy(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def files_of(folder: Path) -> dict[Path, tuple[int, int]]:
    """Time and size of every file but the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def test_a_finished_run(small_run: Path) -> None:
    found = status(small_run)
    assert (found.state, found.n_finished, found.n_asked, found.stage) == ("finished", 3, 3, None)
    assert list(found.sentences) == read_json(small_run / "summary.json")["verdict"]["sentences"]
    assert [record.index for record in found.records] == [0, 1, 2]


def test_a_look_changes_nothing(copy: Path) -> None:
    before = files_of(copy)
    status(copy)
    assert files_of(copy) == before


def test_a_run_that_another_process_holds(copy: Path) -> None:
    (copy / "iteration_02" / "learning.done").unlink()
    with filelock.FileLock(copy / ".lock"):
        found = status(copy)
    assert (found.state, found.n_finished) == ("running", 2)
    assert found.stage is not None
    assert (found.stage.place, found.stage.name) == ("iteration_02", "learning")
    assert status(copy).state == "stopped"


def test_a_sampling_is_told_by_its_segments(copy: Path) -> None:
    """Five of ten segments of 1 ps, two walkers; half a second between two of them."""
    for name in ("sampling", "learning"):
        (copy / "iteration_02" / f"{name}.done").unlink()
    segments = copy / "iteration_02" / "segments"
    segments.mkdir()
    for index in range(5):
        for walker in range(2):
            path = segments / f"segment_{index:05d}_walker_{walker:03d}.npz"
            np.savez(path, frames=np.zeros(1))
            os.utime(path, (1000.0 + 0.5 * index, 1000.0 + 0.5 * index))
    stage = status(copy).stage
    assert stage is not None
    assert (stage.place, stage.name, stage.total_ns) == ("iteration_02", "sampling", 0.02)
    assert stage.done_ns == pytest.approx(0.01)
    assert stage.remaining_s == pytest.approx(2.5)


def test_a_clock_that_was_set_back_misleads_nobody(copy: Path) -> None:
    """Files from the future: no negative times, and no estimate from segments in the wrong order."""
    (copy / "iteration_02" / "sampling.done").unlink()
    segments = copy / "iteration_02" / "segments"
    segments.mkdir()
    for index in range(3):
        path = segments / f"segment_{index:05d}_walker_000.npz"
        np.savez(path, frames=np.zeros(1))
        os.utime(path, (4e9 - index, 4e9 - index))
    found = status(copy)
    assert found.idle_s == 0.0
    assert found.stage is not None
    assert found.stage.remaining_s is None


def test_a_run_that_stopped_because_it_converged_is_finished(copy: Path) -> None:
    """Asked for ten iterations, to stop at the first good one, without a production: three are all."""
    manifest = read_json(copy / "run.json")
    manifest["settings"]["run"]["iterations"] = 10
    manifest["settings"]["production"]["ns"] = 0.0
    shutil.rmtree(copy / "production_02")
    write_sealed(copy / "run.json", manifest)
    assert status(copy).state == "stopped"
    manifest["settings"]["convergence"] |= {"stop": True, "s_min": 0.001, "coverage": False, "floor": 0.0}
    write_sealed(copy / "run.json", manifest)
    assert (status(copy).state, status(copy).stage) == ("finished", None)


def test_a_production_that_is_missing_is_next(copy: Path) -> None:
    shutil.rmtree(copy / "production_02")
    stage = status(copy).stage
    assert stage is not None
    assert (stage.place, stage.name) == ("production_02", "sampling")


def test_damaged_files_are_named(copy: Path, tmp_path: Path) -> None:
    record = read_json(copy / "iteration_01" / "record.json")
    write_json(copy / "iteration_01" / "record.json", record | {"surprise": 1})
    with pytest.raises(StoreError, match=r"iteration_01/record.json: has an unknown field 'surprise'"):
        status(copy)
    (copy / "iteration_01" / "record.json").write_text("{")
    with pytest.raises(StoreError, match=r"record.json: needs a readable JSON file"):
        status(copy)
    with pytest.raises(StoreError, match=r"needs the folder of a run"):
        status(tmp_path / "nothing")
    (copy / "run.json").write_text("[]")
    with pytest.raises(StoreError, match=r"run.json: .* it needs the settings of a run"):
        status(copy)


def test_a_stage_that_is_missing_among_finished_ones_is_told(copy: Path) -> None:
    assert status(copy).damaged == ()
    moved = (copy / "iteration_01" / "sampling.done").rename(copy / "kept")
    (told,) = (line for line in status(copy).damaged if "later stages" in line)
    assert told.startswith("iteration_01/sampling.done: is missing")
    moved.rename(copy / "iteration_01" / "sampling.done")
    (copy / "iteration_02" / "learning.done").unlink()
    (told,) = (line for line in status(copy).damaged if "later stages" in line)  # the production is later
    assert told.startswith("iteration_02/learning.done: is missing")
    shutil.rmtree(copy / "production_02")
    assert not [line for line in status(copy).damaged if "later stages" in line]  # a run that was stopped
