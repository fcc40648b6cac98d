"""Killed again and again at random moments, a run ends as if it had never been stopped."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from aecv.models.spec import load_system
from aecv.workflow.loop import iterate
from aecv.workflow.status import status
from tests.workflow.conftest import SMALL
from tests.workflow.test_resume import assert_same_run, command

N_KILLS = int(os.environ.get("AECV_SOAK_KILLS", "8"))
"""AECV_SOAK_KILLS=50 pytest -m slow -s tests/workflow/test_soak.py takes some ten minutes."""


def killed_after(folder: Path, seconds: float, *more: str, workers: int) -> bool:
    """Start or go on with a run and kill all its processes; False when it ended before."""
    with subprocess.Popen(
        command(folder, *more, workers=workers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # as a power cut: the workers too
            process.communicate()
            return True
        _, said = process.communicate()
        assert process.returncode == 0, said
        return False


def begun(folder: Path, seconds: float, workers: int) -> float:
    """Time until the run's folder is there, which a kill before would leave nothing of."""
    began = time.monotonic()
    while not (folder / "run.json").exists():
        assert killed_after(folder, seconds, workers=workers)
        seconds += 1.0
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_it_ends_the_same(small_run: Path, tmp_path: Path, workers: int) -> None:
    """Kills come up to 2.5 s (5 s with workers) after the time of a start; where they hit is printed."""
    rng = random.Random(workers)
    hits: Counter[str] = Counter()
    n_left, n_runs = N_KILLS // 2, 0
    while n_left:
        folder = tmp_path / f"run_{n_runs}"
        start = begun(folder, 3.0, workers)
        while n_left and killed_after(
            folder, start + 2.5 * workers * rng.random(), "--resume", workers=workers
        ):
            stage = status(folder).stage
            hits["after the last stage" if stage is None else f"{stage.place} {stage.name}"] += 1
            n_left -= 1
        iterate(load_system("ala2", overrides=SMALL), folder, resume=True)
        assert_same_run(small_run, folder)
        shutil.rmtree(folder)
        n_runs += 1
    print(f"\n{sum(hits.values())} kills of {n_runs} runs on {workers} processes:")
    print("\n".join(f"  {count:3d}  {place}" for place, count in sorted(hits.items())))
    assert sum(hits.values()) == N_KILLS // 2
