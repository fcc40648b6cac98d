"""What a person sees in the terminal while it works: log lines, progress bars, a table line per iteration."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aecv.workflow.record_table import COLUMNS, UNITS
from aecv.workflow.records import IterationRecord

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


def set_up_logging() -> None:
    """INFO of aecv to standard error."""
    logger = logging.getLogger("aecv")
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT, datefmt="%H:%M:%S"))
    logger.addHandler(handler)


@contextmanager
def bars(title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """A progress bar with ETA on standard error; nothing where that is no terminal."""
    form = "{desc}: {percentage:3.0f}%|{bar}| {n:.3g}/{total:.3g} {unit} [{elapsed}<{remaining}, {rate_fmt}]"
    with (
        logging_redirect_tqdm([logging.getLogger("aecv")]),
        tqdm(
            total=total,
            desc=title,
            unit=f" {unit}",
            bar_format=form,
            disable=not sys.stderr.isatty(),
            leave=False,
        ) as bar,
    ):

        def advance(amount: float) -> None:
            bar.update(amount)

        yield advance


def table_header() -> str:
    """Names of the columns."""
    return "  ".join(column.name.rjust(column.width) for column in COLUMNS)


def table_line(record: IterationRecord) -> str:
    """One iteration in a line."""
    return "  ".join(column.cell(record).rjust(column.width) for column in COLUMNS)


def print_record(record: IterationRecord) -> None:
    """The table line of an iteration, below the header if it is the first."""
    if record.index == 0:
        print(UNITS, table_header(), sep="\n")
    print(table_line(record), flush=True)
