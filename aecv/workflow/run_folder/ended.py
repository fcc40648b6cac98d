"""What ended a run before its end, kept in its folder until it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from aecv.ground.errors import AecvError, StoreError, WriteError, first_line
from aecv.ground.files import write_json
from aecv.ground.forms import read_form
from aecv.ground.printable import one_line

FILE_NAME = "ended.json"
GO_ON = "go on with the command that began it and --resume"
"""What helps a run that was interrupted or killed."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Why a run is not finished.

    Attributes:
        message: what was said, a line.
        advice: what to do; empty where the message says it: the same command would end the same way.
        when: local time.
    """

    message: str
    advice: str
    when: str


@contextmanager
def noting_the_end(run: Path) -> Iterator[None]:
    """What is noted of an earlier end goes; an error or an interruption is noted in its place."""
    path = run / FILE_NAME
    path.unlink(missing_ok=True)
    try:
        yield
    except BaseException as error:
        with suppress(StoreError):  # of a full disk, perhaps, and the first error counts
            write_json(path, asdict(ended_by(error)))
        raise


def ended_by(error: BaseException) -> Ended:
    """What is told of an exception that ended a run."""
    message, advice = str(error), ""
    if isinstance(error, KeyboardInterrupt):
        message, advice = "interrupted", GO_ON
    elif isinstance(error, WriteError | OSError | MemoryError):
        message, advice = message or type(error).__name__, f"mend that, then {GO_ON}"
    elif not isinstance(error, AecvError):
        message = f"{type(error).__name__}: {first_line(error)}"
        advice = "this is a fault of aecv: please report it, with run.log"
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    return Ended(message=one_line(message), advice=advice, when=when)


def read_end(run: Path) -> Ended | None:
    """What ended a run; None where nothing is noted: it is finished, goes on, or was killed.

    Raises:
        StoreError: when the note is damaged.
    """
    path = run / FILE_NAME
    if not path.is_file():
        return None
    try:
        return read_form(path, Ended)
    except StoreError as error:
        raise StoreError(f"{error}; delete it") from error
