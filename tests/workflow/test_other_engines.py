"""The whole loop with engines that need packages of their own: killed and resumed, it is the straight run."""

import signal
from pathlib import Path

import pytest

from aecv.molecules.spec import load_system
from aecv.sampling.engines import choice
from aecv.workflow.loop import iterate
from tests.sampling.engines.conftest import skip_without
from tests.workflow.conftest import SMALL
from tests.workflow.test_resume import assert_same_run, run_until

OTHERS = [name for name in choice.engine_names() if name != "native"]
KILLED_AT = (
    "iteration_01/segments/segment_00002_walker_001.npz",
    "production_02/segments/segment_00001_walker_000.npz",
)
SHORT = ("sampling.ns=0.01", "production.ns=0.008")
"""An engine that makes a thousand steps a second shall not take longer than a minute."""


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("name", [pytest.param(n, marks=getattr(pytest.mark, n)) for n in OTHERS])
def test_a_run_that_was_killed_ends_as_if_never_stopped(name: str, tmp_path: Path) -> None:
    skip_without(name)
    changes = (*SHORT, f"sampling.engine={name}")
    spec = load_system("ala2", overrides=(*SMALL, *changes))
    outcome = iterate(spec, tmp_path / "straight")
    assert len(outcome.records) == 3
    assert outcome.production is not None
    more = [part for item in changes for part in ("--set", item)]
    for index, moment in enumerate(KILLED_AT):
        resume = ["--resume"] if index else []
        result = run_until(tmp_path / "killed", moment, signal.SIGKILL, *more, *resume)
        assert result.returncode == -signal.SIGKILL, result.stderr
    iterate(spec, tmp_path / "killed", resume=True)
    assert_same_run(tmp_path / "straight", tmp_path / "killed")
