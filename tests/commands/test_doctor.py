"""The doctor: trials that step atoms, and what is said when one fails."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from aecv.commands import doctor
from aecv.sampling.engines import trial
from aecv.sampling.engines.trial import Trial


def here(name: str, tried: Callable[[], Trial]) -> Trial:
    """A trial in this process, without seconds of imports."""
    return tried()


def answer(monkeypatch: pytest.MonkeyPatch, trial_of: Callable[..., Trial]) -> None:
    """Nothing is tried; the doctor gets these answers."""
    for how in ("try_apart", "try_here"):
        monkeypatch.setattr(trial, how, trial_of)


def run() -> Result:
    return CliRunner().invoke(doctor.main, [], catch_exceptions=False)


def die() -> Trial:
    os._exit(11)


def refuse() -> Trial:
    raise RuntimeError("no device\nsecond line")


def sleep() -> Trial:
    time.sleep(60)
    return Trial("sleeper", None, "")


def test_one_screen_says_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trial, "try_apart", here)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    result = run()
    assert result.exit_code == 0
    text = result.output
    for word in ("aecv", "Python 3", "openmm ", "torch ", "mdtraj ", "numpy ", "numba ", "pymbar "):
        assert word in text
    assert "Reference: works, forces agree with Reference to 0e+00" in text
    assert "native: works, 20 steps of extended ABF, forces verified" in text
    assert "OMP_NUM_THREADS=1" in text
    assert "GB free here; writable" in text
    assert len(text.splitlines()) <= 24  # a terminal's screen


def test_it_names_neither_user_nor_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, lambda name, _: Trial(name, f"{Path.home()}/lib.so: broken", ""))
    text = run().output
    assert str(tmp := Path.home()) not in text or str(tmp) == "/"
    assert os.uname().nodename not in text
    assert "~/lib.so: broken" in text


def test_a_native_engine_that_fails_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"native": "no PythonForce"}
    answer(monkeypatch, lambda name, _: Trial(name, broken.get(name), "fine"))
    result = run()
    assert result.exit_code == 1
    assert "native: DOES NOT WORK, no PythonForce" in result.output
    assert "the native engine does not work here" in result.output
    # a platform that fails is told and harms nobody
    answer(monkeypatch, lambda name, _: Trial(name, {"CPU": "odd"}.get(name), ""))
    result = run()
    assert result.exit_code == 0
    assert "CPU: DOES NOT WORK, odd" in result.output


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    answer(monkeypatch, lambda name, _: Trial(name, None, "fine"))
    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refused)
    assert "free here; NOT WRITABLE (Permission denied): work in another folder" in run().output


def test_the_cache_of_compiled_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer(monkeypatch, lambda name, _: Trial(name, None, "fine"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "not" / "yet"))
    assert "NUMBA_CACHE_DIR, writable\n" in run().output
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert "NOT WRITABLE: kernels are compiled anew" in run().output
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert "the user's cache, NOT WRITABLE" in run().output


@pytest.mark.parametrize("name", ["Reference", "CPU"])
def test_a_platform_is_tried_by_stepping(name: str) -> None:
    tried = trial.try_platform(name)
    assert tried.problem is None
    assert float(tried.note.rsplit(" ", 1)[1]) < 1e-4  # relative; single precision


def test_a_force_from_python_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "constant_pull", lambda _: (0.0, np.zeros((1, 3))))
    assert trial.try_platform("Reference").problem == (
        "a force from Python (PythonForce) does not arrive at the atoms"
    )


def test_forces_that_are_wrong_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference against CPU with one of them off by 1 %."""
    forces, calls = trial.forces_of_groups, []

    def off(context: object, groups: int) -> np.ndarray:
        calls.append(groups)
        return forces(context, groups) * (1.01 if len(calls) == 1 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(trial, "forces_of_groups", off)
    assert "differ from those of Reference by 1.0e-02" in str(trial.try_platform("CPU").problem)


def test_libraries_that_need_another_one_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "libOpenCL.so.1: cannot open shared object file"
    texts = (
        f"Error loading library /home/me/libOpenMMOpenCL.so: {missing}",
        f"Error loading library /home/me/libOpenMMDrudeOpenCL.so: {missing}",
        "Error loading library /home/me/libOpenMMAmoebaOpenCL.so: libOpenMMOpenCL.so: cannot open",
    )
    monkeypatch.setattr(trial.openmm.Platform, "getPluginLoadFailures", lambda: texts)
    assert trial.plugin_failures() == {"libOpenMMOpenCL.so": missing}


def test_engines_that_probe_in_a_process_of_their_own_get_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ending the outer process would leave the inner one running: both wait equally long."""
    apart: list[str] = []
    monkeypatch.setattr(trial, "try_apart", lambda name, _: apart.append(name) or Trial(name, None, ""))
    monkeypatch.setattr(trial, "try_engine", lambda _: refuse())
    text = run().output
    assert "native" in apart
    for name in ("plumed", "torchforce"):
        assert name not in apart
        assert f"{name}: DOES NOT WORK, no device\n" in text


def test_a_process_that_dies_or_refuses_takes_nobody_along() -> None:
    assert "died" in str(trial.try_apart("gpu", die).problem)
    assert trial.try_apart("gpu", refuse) == Trial("gpu", "no device", "")


def test_a_platform_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE_S", 0.5)
    began = time.monotonic()
    assert trial.try_apart("gpu", sleep).problem == "no answer within 0.5 s"
    assert time.monotonic() - began < 30.0  # not the 60 s that it sleeps


@pytest.mark.slow
def test_trials_come_back_from_processes_of_their_own() -> None:
    assert trial.try_apart("Reference", partial(trial.try_platform, "Reference")).problem is None
    assert trial.try_apart("native", partial(trial.try_engine, "native")).problem is None
