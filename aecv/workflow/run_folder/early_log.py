"""What is said before a run's folder is open, kept for its run.log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def early_records() -> Iterator[list[logging.LogRecord]]:
    """The records of aecv's loggers while the block runs; for `RunDirectory.note`."""
    keeper, root = _Keeper(), logging.getLogger("aecv")
    root.addHandler(keeper)
    try:
        yield keeper.records
    finally:
        root.removeHandler(keeper)
