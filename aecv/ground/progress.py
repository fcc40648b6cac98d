"""How the stages tell that they move, without knowing who listens."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Opens a bar: `with progress("title", total, "unit") as advance: advance(3.0)`."""

    def __call__(
        self, title: str, total: float, unit: str
    ) -> AbstractContextManager[Callable[[float], None]]: ...


@contextmanager
def silent(title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """A bar that nobody sees."""
    yield lambda _: None
