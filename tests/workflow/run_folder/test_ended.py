"""What ended a run: noted in its folder, told by status, report and run.log, and gone when it goes on."""

import errno
import shutil
from pathlib import Path

import pytest

from aecv.commands.screens import status_text
from aecv.ground.errors import AecvError, SamplingError, StoreError, TrainingError, WriteError
from aecv.ground.files import write_json
from aecv.molecules.spec import load_system
from aecv.workflow import loop
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.ended import GO_ON, ended_by, noting_the_end, read_end
from aecv.workflow.story.report import write_report
from aecv.workflow.story.status import status
from tests.workflow.conftest import SMALL

FULL = WriteError("runs/x", "No space left on device", "free space")


@pytest.mark.parametrize(
    ("error", "message", "advice"),
    [
        (KeyboardInterrupt(), "interrupted", GO_ON),
        (SamplingError("iteration 1: too few;\nraise --ns"), "iteration 1: too few; raise --ns", ""),
        (FULL, str(FULL), f"mend that, then {GO_ON}"),
        (
            OSError(errno.EIO, "Input/output error"),
            "[Errno 5] Input/output error",
            f"mend that, then {GO_ON}",
        ),
        (MemoryError(), "MemoryError", f"mend that, then {GO_ON}"),
        (KeyError("x"), "KeyError: 'x'", "this is a fault of aecv: please report it, with run.log"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_resuming_is_advised_only_where_it_helps(error: BaseException, message: str, advice: str) -> None:
    """An error that comes again says itself what to do."""
    found = ended_by(error)
    assert (found.message, found.advice) == (message, advice)


def test_the_note_goes_when_the_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(AecvError), noting_the_end(tmp_path):
        raise TrainingError("all diverged")
    found = read_end(tmp_path)
    assert found is not None
    assert found.message == "all diverged"
    with noting_the_end(tmp_path):
        assert read_end(tmp_path) is None
    write_json(tmp_path / "ended.json", [])
    with pytest.raises(StoreError, match=r"needs the fields message, advice, when, got \[\]; delete it"):
        read_end(tmp_path)


@pytest.mark.usefixtures("without_pictures")
def test_a_run_that_fails_tells_why_until_it_goes_on(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second iteration fails in its training: status, the page and run.log have the error."""
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    shutil.rmtree(run / "production_02")
    (run / "iteration_02" / "learning.done").unlink()
    words = "iteration 2: reweighted training needs >= 500 effective frames, got 12.5"

    def fails(*_: object, **__: object) -> None:
        raise SamplingError(words)

    spec = load_system("ala2", overrides=(*SMALL, "production.ns=0"))
    with monkeypatch.context() as patch:
        patch.setattr(loop.learning_stage, "learn", fails)
        with pytest.raises(SamplingError):
            iterate(spec, run, resume=True)
    found = status(run)
    assert found.state == "stopped"
    assert found.ended is not None
    assert found.ended.message == words
    text = status_text(run, found)
    assert f": {words}" in text
    assert "--resume" not in text
    assert f"ERROR   aecv.workflow.run_folder.store: {words}\n" in (run / "run.log").read_text(
        encoding="utf-8"
    )
    page = write_report(run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "ended early: iteration 2: reweighted training needs" in page
    assert "the same command would end so again" in page
    with monkeypatch.context() as patch:
        patch.setattr(loop.learning_stage, "learn", lambda *_, **__: interrupt())
        with pytest.raises(KeyboardInterrupt):
            iterate(spec, run, resume=True)
    text = status_text(run, status(run))
    assert f"interrupted\n{GO_ON}" in text
    assert words not in text
    assert status(run).as_dict()["ended"]["message"] == "interrupted"
    iterate(spec, run, resume=True)
    assert not (run / "ended.json").exists()
    assert status(run).ended is None


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_run_that_was_killed_can_go_on(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    (run / "iteration_02" / "learning.done").unlink()
    lines = status_text(run, status(run)).splitlines()
    assert lines[2] == GO_ON
    # what to do with a finished run is no advice for one that is not
    assert not any("larger --iters" in line for line in lines)
