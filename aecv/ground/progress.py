"""How the stages tell that they move, without knowing who listens."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Opens a bar: `with progress("title", total, "unit") as advance: advance(3.0)`."""

    def __call__(
        self, title: str, total: float, unit: str
    ) -> AbstractContextManager[Callable[[float], None]]: ...


@contextmanager
def silent(title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """A bar that nobody sees."""
    yield lambda _: None


def told(progress: Progress) -> Progress:
    """The same bars, each with a line in the log when it opens and when its work is done."""

    @contextmanager
    def opened(title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
        began, done = time.perf_counter(), 0.0
        logger.info("%s: %.4g %s", title, total, unit)
        with progress(title, total, unit) as advance:

            def counted(amount: float) -> None:
                nonlocal done
                done += amount
                advance(amount)

            yield counted
        seconds = time.perf_counter() - began
        logger.info("%s: %.4g of %.4g %s done in %s", title, done, total, unit, duration(seconds))

    return opened


@contextmanager
def timed(what: str) -> Iterator[None]:
    """A line in the log before work that tells nothing of itself, and one when it is done."""
    began = time.perf_counter()
    logger.info("%s", what)
    yield
    logger.info("%s: done in %s", what, duration(time.perf_counter() - began))


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def roughly(seconds: float) -> str:
    """A duration in the unit that a person would take."""
    for size, name in ((86400.0, "days"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"
