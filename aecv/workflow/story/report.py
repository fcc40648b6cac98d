"""The report of a run: its folder read, and report.html written."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from aecv.ground.errors import StoreError
from aecv.ground.files import write_text
from aecv.results.page.page import render
from aecv.results.story.content import State, Story
from aecv.workflow.run_folder.ended import noting_the_end
from aecv.workflow.story.reading import read_story

logger = logging.getLogger(__name__)

FILE_NAME = "report.html"
GENERATOR = b'<meta name="generator" content="aecv'
"""What the head of every page holds."""


def write_report(run: Path | str, out: Path | str | None = None, *, state: State | None = None) -> Path:
    """Path of the report of a run, finished or not, which is written anew.

    Args:
        run: the run's folder.
        out: the file; report.html in the run's folder when left out.
        state: whether the run goes on, where that is known.

    Raises:
        AecvError: when there is no run, or the page cannot be written.

    Example:
        >>> import aecv
        >>> str(aecv.write_report("runs/ala2", "page.html"))
        'page.html'
    """
    run = Path(run)
    path = run / FILE_NAME if out is None else Path(out)
    if out is not None and path.exists() and not is_report(path):
        raise StoreError(f"{out}: exists already and is no report; choose another --out")
    write_text(path, render(read_story(run, state)))
    return path


@contextmanager
def told_when_stopped(run: Path) -> Iterator[None]:
    """An error or an interruption is noted in the run's folder, and the page that is there tells it."""
    try:
        with noting_the_end(run):
            yield
    except BaseException:
        if (run / FILE_NAME).is_file():
            update_report(run, "stopped")
        raise


def is_report(path: Path) -> bool:
    """Whether a file is a page that aecv wrote, which a later one may replace."""
    if not path.is_file():
        return False
    with open(path, "rb") as handle:
        return GENERATOR in handle.read(4000)


def update_report(run: Path, state: State) -> None:
    """Write the report of a run that this process works on; a failure is a warning, and the run goes on."""
    write_page(run, lambda: read_story(run, state))


def write_page(run: Path, story: Callable[[], Story]) -> None:
    """Write the report of a story into a run's folder; as `update_report`."""
    try:
        write_text(run / FILE_NAME, render(story()))
    except Exception as error:  # hours of simulation do not end for a page, whatever is wrong with it
        logger.warning("%s: could not be made (%s: %s)", FILE_NAME, type(error).__name__, error)
