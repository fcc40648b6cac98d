"""Killed again and again in every stage, a run ends as if it had never been stopped."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from aecv.molecules.spec import load_system
from aecv.workflow.loop import iterate
from aecv.workflow.story.status import status
from tests.workflow.conftest import SMALL
from tests.workflow.test_resume import assert_same_run, command

N_KILLS = int(os.environ.get("AECV_SOAK_KILLS", "8"))
"""AECV_SOAK_KILLS=80 pytest -m slow -s tests/workflow/test_soak.py takes some ten minutes."""
STAGES = (
    "iteration_00/starts",
    *(f"iteration_{k:02d}/{stage}" for k in range(3) for stage in ("sampling", "learning")),
    "production_02/sampling",
    "production_02/analysis",
    "pictures",
)
WITHIN_S = 0.4
"""Kills come up to this time after the begin of a stage, some of which take no longer."""


def killed_in(folder: Path, stage: int, wait_s: float, *, workers: int) -> bool:
    """Start or go on with a run and kill all its processes in a stage; False when it ended before."""
    resume = ["--resume"] if (folder / "run.json").exists() else []
    with subprocess.Popen(
        command(folder, *resume, workers=workers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        # a run that goes on says so in its log; before that it has done nothing that could be cut off
        before = log_lines(folder)
        while process.poll() is None:
            begun = log_lines(folder) > before and (folder / "run.json").exists()
            if begun and all((folder / f"{name}.done").exists() for name in STAGES[:stage]):
                time.sleep(wait_s)
                break
            time.sleep(0.01)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # as a power cut: the workers too
            process.communicate()
            return True
        _, said = process.communicate()
        assert process.returncode == 0, said
        return False


def log_lines(folder: Path) -> int:
    log = folder / "run.log"
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_in_its_stages_it_ends_the_same(small_run: Path, tmp_path: Path, workers: int) -> None:
    """Kills are spread over the stages, as evenly as their number allows; where they hit is printed."""
    rng, n_kills, folder = random.Random(workers), N_KILLS // 2, tmp_path / "run"
    rounds, rest = divmod(n_kills, len(STAGES))
    hits: Counter[str] = Counter()
    for stage in sorted([*range(len(STAGES))] * rounds + rng.sample(range(len(STAGES)), rest)):
        assert killed_in(folder, stage, WITHIN_S * rng.random(), workers=workers)
        found = status(folder).stage
        hits["after the last stage" if found is None else f"{found.place} {found.name}"] += 1
    iterate(load_system("ala2", overrides=SMALL), folder, resume=True)
    assert_same_run(small_run, folder)
    print(f"\n{n_kills} kills of a run on {workers} processes:")
    print("\n".join(f"  {count:3d}  {place}" for place, count in sorted(hits.items())))
