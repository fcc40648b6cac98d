"""Wrong paths, folders and platforms are told at once, in words that help in that very case."""

import importlib
from pathlib import Path

import filelock
import numpy as np
import openmm
import pytest
from click.testing import CliRunner, Result

from aecv.commands.cli import main
from aecv.ground.errors import CVError, SettingsError, StoreError
from aecv.molecules.spec import load_system
from aecv.results.formats.trajectory import write_dcd
from aecv.sampling.system import platforms
from aecv.sampling.system.molecular_system import build
from aecv.workflow import loop, sample_along
from aecv.workflow.planning import trial
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.study.offline import train


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="aecv")


def refused(*words: str | Path) -> str:
    done = run(*words)
    assert done.exit_code == 1, done.output
    assert "Errno" not in done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 shaken frames of alanine dipeptide."""
    system = build(load_system("ala2"))
    shaken = system.positions + np.random.default_rng(0).normal(0.0, 1e-3, (300, system.n_atoms, 3))
    path = tmp_path_factory.mktemp("frames") / "traj.dcd"
    write_dcd(path, [shaken.astype(np.float32)], frame_ps=0.1)
    return path


def test_a_folder_or_nothing_in_place_of_a_file(tmp_path: Path, trajectory: Path) -> None:
    """The operating system's '[Errno 21] Is a directory' does not say what to do."""
    folder, system = tmp_path / "adir", ("--system", "ala2")
    folder.mkdir()
    (tmp_path / "other.toml").write_text("")
    told = refused("check", "ala2", "--config", folder)
    assert f"{folder}: needs a readable TOML file, found a folder; name a file in it" in told
    told = refused("check", "ala2", "--config", tmp_path / "othr.toml")
    assert "needs a readable TOML file, there is none; did you mean 'other.toml'?" in told
    frames = ("--frames", trajectory, "--out", tmp_path / "cv")
    assert "adir: needs a file, found a folder" in refused("train", *system, *frames, "--weights", folder)
    color = (*system, "--out", tmp_path / "xi.dat", "--color", folder)
    assert "adir: needs a file, found a folder" in refused("apply", "phi", trajectory, *color)


def test_a_folder_without_a_system_is_told_how_to_get_one(tmp_path: Path) -> None:
    assert "aecv init" in refused("check", tmp_path)


def test_few_frames_without_weights_are_not_called_reweighted(trajectory: Path, tmp_path: Path) -> None:
    told = refused("train", "--system", "ala2", "--frames", trajectory, "--out", tmp_path / "cv")
    assert "training needs >= 500 frames (training.min_effective_frames), at most 300 of the 300" in told
    assert "effective frames " not in told
    assert "reweighted" not in told


def test_what_is_wrong_with_frames_is_told_before_their_count(tmp_path: Path, trajectory: Path) -> None:
    """A file of other atoms got the advice to lower training.min_effective_frames."""
    other = tmp_path / "other.dcd"
    write_dcd(other, [np.random.default_rng(0).random((30, 7, 3)).astype(np.float32)], frame_ps=0.1)
    told = refused("train", "--system", "ala2", "--frames", other, "--out", tmp_path / "cv")
    assert "7 atoms" in told
    assert "min_effective_frames" not in told
    np.save(tmp_path / "none.npy", np.array(["a", "b"]))
    weights = ("--weights", tmp_path / "none.npy", "--out", tmp_path / "cv")
    assert "needs numbers" in refused("train", "--system", "ala2", "--frames", trajectory, *weights)


def test_a_run_or_any_file_in_place_of_a_cv(tmp_path: Path, trajectory: Path) -> None:
    folder = tmp_path / "run"
    for name in ("iteration_02", "iteration_10", "production_10"):
        (folder / name).mkdir(parents=True)
        (folder / name / "cv.json").touch()
    (folder / "run.json").touch()
    out = ("--out", tmp_path / "xi.dat")
    message = f"{folder}: needs a CV, this is a run; name {folder}/iteration_10"
    for system in ((), ("--system", "ala2")):
        assert message in refused("apply", folder, trajectory, *out, *system)
    with pytest.raises(CVError, match="this is a run; name"):
        load_cv(folder)
    other = tmp_path / "empty.txt"
    other.touch()
    told = refused("apply", other, trajectory, *out, "--system", "ala2")
    assert "empty.txt" in told
    assert "is none of the observables" not in told


def test_a_file_in_this_folder_in_place_of_a_cv(
    tmp_path: Path, trajectory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    told = refused("apply", "empty.txt", trajectory, "--out", "xi.dat", "--system", "ala2")
    assert "empty.txt: needs a CV of aecv (.pt, .json, .npz or its folder)" in told
    assert "is none of the observables" not in told


def test_a_platform_that_is_not_here_is_not_a_slip_of_the_pen(monkeypatch: pytest.MonkeyPatch) -> None:
    """'CUDA' is no misspelt 'CPU'."""
    missing = next(
        name
        for name in ("CUDA", "HIP", "OpenCL")
        if name
        not in [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    )
    with pytest.raises(SettingsError) as caught:
        platforms.choose_platform(openmm.System(), missing.lower())
    told = str(caught.value)
    assert f"this OpenMM has no {missing} platform that works" in told
    assert "Reference, CPU" in told
    assert "did you mean" not in told
    reason = f"Error loading library libOpenMM{missing}.so: no driver"
    monkeypatch.setattr(platforms.openmm.Platform, "getPluginLoadFailures", lambda: [reason])
    with pytest.raises(SettingsError, match="no driver"):
        platforms.choose_platform(openmm.System(), missing)


def fail(*_: object, **__: object) -> None:
    raise AssertionError("the folder is looked at first")


@pytest.mark.parametrize("command", [("iterate",), ("sample", "--cv", "phi")])
def test_the_folder_is_looked_at_before_a_speed_is_measured(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement took 25 to 50 s, and then the folder was refused."""
    monkeypatch.setattr(trial, "load_trial", fail)
    words = (*command, "--system", "ala2", "--quick", "--out", tmp_path / "run")
    (tmp_path / "run").mkdir()
    with filelock.FileLock(tmp_path / "run" / ".lock"):
        assert "is in use by another process" in refused(*words)
    (tmp_path / "run" / "run.json").touch()
    assert "holds a run already" in refused(*words)
    printed = run(*words, "--print-config")
    assert isinstance(printed.exception, AssertionError)  # it writes nothing and needs no folder


def test_the_folder_is_looked_at_before_the_system_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.json").touch()
    for module in (loop, sample_along):
        monkeypatch.setattr(module, "build", fail)
    with pytest.raises(StoreError, match="holds a run already"):
        loop.iterate("ala2", tmp_path)
    with pytest.raises(StoreError, match="holds a run already"):
        sample_along.sample_along("ala2", "phi", tmp_path)
    with pytest.raises(StoreError, match="holds no run to resume"):
        loop.iterate("ala2", tmp_path / "none", resume=True)


def test_a_new_folder_of_a_training_is_looked_at_before_the_system_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trajectory: Path
) -> None:
    (tmp_path / "mine.txt").touch()
    monkeypatch.setattr(importlib.import_module("aecv.workflow.study.offline"), "subject_of", fail)
    with pytest.raises(StoreError, match="exists already"):
        train("ala2", trajectory, tmp_path)
