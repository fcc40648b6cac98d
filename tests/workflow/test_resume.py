"""Stopping and going on: by kill -9 at several moments, and when something changed in between."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import psutil
import pytest

from aecv.commands.iterate import main
from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays, read_json
from aecv.ground.sealed import write_sealed
from aecv.molecules.spec import load_system
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.manifest import FREE
from tests.workflow.conftest import SMALL

pytestmark = pytest.mark.usefixtures("without_pictures")

KILLED_AT = (
    "iteration_00/segments/segment_00004_walker_001.npz",
    "iteration_01/segments/ensemble.npz",
    "iteration_01/weights.npz",
    "production_02/segments/segment_00002_walker_001.npz",
    "production_02/weights.npz",
)
"""Files whose appearance is the moment of a kill; the production's are in its first frozen stage and in its
analysis."""
KILLED_AT_TOO = (
    "iteration_00/starts.done",
    "iteration_00/frames.dcd",
    "iteration_01/segments/segment_00007_walker_000.npz",
    "iteration_02/bias.npz",
    "production_02/segments/ensemble.npz",
    "production_02/frames.dcd",
    "production_02/bias.npz",
    "production_02/sampling.done",
)


WITHOUT_PICTURES = (
    "import aecv.workflow.loop as loop\n"
    "from aecv.commands.iterate import main\n"
    "loop.tell = lambda *_: None\n"
    "main()"
)


def command(folder: Path, *more: str, draws: bool = False, workers: int = 1) -> list[str]:
    sets = [part for item in SMALL for part in ("--set", item)]
    how = ["-m", "aecv.iterate"] if draws else ["-c", WITHOUT_PICTURES]
    return [
        sys.executable,
        *how,
        "--system",
        "ala2",
        "--out",
        str(folder),
        *sets,
        "--workers",
        str(workers),
        *more,
    ]


def run_until(
    folder: Path,
    moment: str,
    sign: signal.Signals,
    *more: str,
    draws: bool = False,
    workers: int = 1,
    on_moment: Callable[[list[psutil.Process]], None] = lambda _: None,
) -> subprocess.CompletedProcess[str]:
    """Start the run and send a signal when a file is there; on_moment sees its child processes before."""
    with subprocess.Popen(
        command(folder, *more, draws=draws, workers=workers),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # what a shell starts in the background ignores Ctrl-C, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 400
        while not (folder / moment).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        assert process.poll() is None, f"ended before {moment} was there:\n{process.communicate()[1]}"
        on_moment(psutil.Process(process.pid).children(recursive=True))
        if sign == signal.SIGINT:  # of the keyboard: to all processes of the terminal
            os.killpg(process.pid, sign)
        else:
            process.send_signal(sign)
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """Every array that a run leaves, by file and name; times of day and durations left out."""
    found = {}
    for path in sorted(folder.glob("*_*/*.npz")):
        for name, array in read_arrays(path).items():
            found[f"{path.parent.name}/{path.name}:{name}"] = array
    return found


def assert_same_run(first: Path, second: Path) -> None:
    one, other = arrays_of(first), arrays_of(second)
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
    for pattern in (
        "iteration_*/*.dat",
        "iteration_*/abf.*",
        "iteration_*/cv.json",
        "iteration_*/score.json",
        "iteration_*/coverage.json",
        "production_*/*.dat",
        "production_*/abf.*",
        "production_*/coverage.json",
    ):
        paths = sorted(first.glob(pattern))
        assert paths
        for path in paths:
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path
    made, other = (read_json(folder / "production_02" / "production.json") for folder in (first, second))
    assert {**made, "steps_per_s": None} == {**other, "steps_per_s": None}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("moments", "draws"), [(KILLED_AT, False), pytest.param(KILLED_AT_TOO, True, marks=pytest.mark.slow)]
)
def test_killed_at_several_moments_it_ends_as_if_never_stopped(
    small_run: Path, tmp_path: Path, moments: tuple[str, ...], draws: bool
) -> None:
    folder = tmp_path / "run"
    for index, moment in enumerate(moments):
        more = ["--resume"] if index else []
        result = run_until(folder, moment, signal.SIGKILL, *more, draws=draws)
        assert result.returncode == -signal.SIGKILL, result.stderr
        assert (folder / moment).exists()
    iterate(load_system("ala2", overrides=SMALL), folder, resume=True)
    assert_same_run(small_run, folder)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("sign", "moment", "gone"),
    [
        (
            signal.SIGINT,
            "iteration_02/segments/segment_00003_walker_001.npz",
            ("iteration_02", "production_02"),
        ),
        (signal.SIGTERM, "production_02/segments/segment_00001_walker_001.npz", ("production_02",)),
    ],
)
def test_interrupted_by_the_keyboard_or_a_queue_it_says_how_to_go_on(
    small_run: Path, copy_of_run: Path, sign: signal.Signals, moment: str, gone: tuple[str, ...]
) -> None:
    for name in gone:
        shutil.rmtree(copy_of_run / name)
    result = run_until(copy_of_run, moment, sign, "--resume")
    assert result.returncode == 130
    assert "--resume" in result.stderr
    assert "Traceback" not in result.stderr
    iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)
    assert_same_run(small_run, copy_of_run)


@pytest.fixture
def copy_of_run(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock")))


def test_a_finished_run_is_reused_as_it_is(copy_of_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy_of_run.glob("*_*/*.npz")}
    outcome = iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)
    assert len(outcome.records) == 3
    assert outcome.production is not None
    assert before == {path: path.stat().st_mtime_ns for path in copy_of_run.glob("*_*/*.npz")}


def test_another_threshold_on_resume_counts_at_once_and_keeps_what_was_measured(copy_of_run: Path) -> None:
    before = json.loads((copy_of_run / "summary.json").read_text())["iterations"]
    change = ("convergence.s_min=1e-6", "convergence.consecutive=1", "convergence.coverage=false")
    iterate(load_system("ala2", overrides=(*SMALL, *change)), copy_of_run, resume=True)
    summary = json.loads((copy_of_run / "summary.json").read_text())
    assert summary["converged_at"] == 1
    assert summary["iterations"] == before
    assert before[1]["s_min"] > 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.restarts=4", r"setting training\.restarts was 3, now 4"),
        ("run.seed=5", r"setting run\.seed was 1, now 5"),
        ("dynamics.platform=CPU", r"platform was Reference, now CPU"),
        ("dynamics.temperature_k=310", r"setting dynamics\.temperature_k was 300\.0, now 310"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(copy_of_run: Path, change: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        iterate(load_system("ala2", overrides=(*SMALL, change)), copy_of_run, resume=True)


def test_another_system_is_named_and_nothing_else(copy_of_run: Path) -> None:
    message = r"resumed: system was ala2, now mueller_brown\. Go back to what it was, or begin [^;]*$"
    with pytest.raises(StoreError, match=message):
        iterate(load_system("mueller_brown"), copy_of_run, resume=True)


def test_of_many_differences_five_are_told(copy_of_run: Path) -> None:
    """Seven settings differ."""
    names = ("restarts", "max_epochs", "patience", "batch_size", "validation_blocks")
    changes = (*(f"training.{name}=33" for name in names), "training.max_frames=333", "run.seed=5")
    with pytest.raises(StoreError, match=r" and 2 more\. Go back") as caught:
        iterate(load_system("ala2", overrides=(*SMALL, *changes)), copy_of_run, resume=True)
    assert str(caught.value).count("setting ") == 5


def test_what_the_help_says_may_change_on_resume_is_what_may() -> None:
    """Sections in brackets, settings by name or by the option that is short for them."""
    option = next(item for item in main.params if item.name == "resume")
    said = re.findall(r"--[a-z-]+|\[\w+\]|\w+\.\w+", option.help)
    names = {"run.iterations": "--iters", "production.": "[production]", "convergence.": "[convergence]"}
    assert set(said) == {"--out", "--final-ns", *(names.get(key, key) for key in FREE)}


def test_a_changed_version_is_named(copy_of_run: Path) -> None:
    path = copy_of_run / "run.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["openmm"] = "7.0"
    write_sealed(path, manifest)
    with pytest.raises(StoreError, match=r"version of openmm was 7\.0, now \d"):
        iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)


def test_a_changed_system_file_is_noticed(copy_of_run: Path, tmp_path: Path) -> None:
    system = tmp_path / "ala2"
    shutil.copytree(load_system("ala2").directory, system)
    structure = system / "ala2.pdb"
    structure.write_text("REMARK changed\n" + structure.read_text())
    with pytest.raises(StoreError, match="system_hash was"):
        iterate(load_system(system, overrides=SMALL), copy_of_run, resume=True)


@pytest.mark.parametrize("name", ["samples.npz", "cv.npz", "frames.dcd"])
def test_a_damaged_file_is_not_reused(copy_of_run: Path, name: str) -> None:
    path = copy_of_run / "iteration_01" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(StoreError, match=rf"iteration_01/{name}: is cut off since .* wrote it; delete"):
        iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)


def test_a_missing_file_is_noticed(copy_of_run: Path) -> None:
    (copy_of_run / "iteration_01" / "bias.npz").unlink()
    with pytest.raises(StoreError, match="is missing since sampling wrote it"):
        iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)


def test_a_truncated_checkpoint_is_an_error_in_words(copy_of_run: Path) -> None:
    shutil.rmtree(copy_of_run / "iteration_02")
    (copy_of_run / "iteration_02" / "segments").mkdir(parents=True)
    (copy_of_run / "iteration_02" / "segments" / "ensemble.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(StoreError, match=r"ensemble\.npz: needs a readable \.npz archive"):
        iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)


def test_fewer_iterations_than_there_are_would_hide_results(copy_of_run: Path) -> None:
    with pytest.raises(StoreError, match="has more than 2 finished iterations"):
        iterate(load_system("ala2", overrides=(*SMALL, "run.iterations=2")), copy_of_run, resume=True)
    assert len(json.loads((copy_of_run / "summary.json").read_text())["iterations"]) == 3


def test_segments_of_another_beginning_are_not_continued(copy_of_run: Path) -> None:
    """As after deleting iteration_01 and not a half-done iteration_02."""
    folder = copy_of_run / "iteration_02"
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "sampling.begun").write_text(json.dumps({"starts.npz": "0", "cv.npz": "1", "weights.npz": "2"}))
    with pytest.raises(StoreError, match=r"sampling was made from cv\.npz = 1, now it is"):
        iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)


def test_an_existing_run_is_not_overwritten(small_run: Path) -> None:
    with pytest.raises(StoreError, match="holds a run already; continue it with --resume"):
        iterate(load_system("ala2", overrides=SMALL), small_run)


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(StoreError, match="is not empty and holds no run"):
        iterate(load_system("ala2", overrides=SMALL), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_resume_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run to resume"):
        iterate(load_system("ala2", overrides=SMALL), tmp_path / "nothing", resume=True)


def test_a_run_in_use_is_left_alone(copy_of_run: Path) -> None:
    with (
        filelock.FileLock(copy_of_run / ".lock"),
        pytest.raises(StoreError, match="in use by another process"),
    ):
        iterate(load_system("ala2", overrides=SMALL), copy_of_run, resume=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere, so a read-only folder stops nothing")
def test_a_read_only_folder_is_an_error_in_words(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="cannot be made"):
        iterate(load_system("ala2", overrides=SMALL), tmp_path / "run")
