"""What a person sees in the terminal while it works: log lines, progress bars, a table line per iteration."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aecv.ground.printable import one_line
from aecv.ground.progress import duration
from aecv.ground.settings import ConvergenceSettings
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.story.record_table import COLUMNS, UNITS, as_judged

logger = logging.getLogger(__name__)

REPORT_S = 60.0
"""Seconds between lines of progress where there is no terminal for a bar."""


@contextmanager
def bars(title: str, total: float, unit: str) -> Iterator[Callable[[float], None]]:
    """A progress bar with ETA on standard error; where that is no terminal a line every REPORT_S."""
    if not sys.stderr.isatty():
        yield _lines(title, total, unit)
        return
    form = "{desc}: {percentage:3.0f}%|{bar}| {n:.3g}/{total:.3g} {unit} [{elapsed}<{remaining}, {rate_fmt}]"
    with (
        logging_redirect_tqdm([logging.getLogger("aecv")]),
        tqdm(
            total=total,
            desc=one_line(title),
            unit=f" {unit}",
            bar_format=form,
            leave=False,
        ) as bar,
    ):

        def advance(amount: float) -> None:
            bar.update(amount)

        yield advance


def _lines(title: str, total: float, unit: str) -> Callable[[float], None]:
    """Tells how far it is in a line of the log, but not often."""
    began = last = time.monotonic()
    done = before = 0.0

    def advance(amount: float) -> None:
        nonlocal done, last, before
        now = time.monotonic()
        if done == 0.0 and now - began < 1.0 and amount < total:
            before = amount  # of an earlier process, perhaps
        done += amount
        if now - last >= REPORT_S and done < total:
            last = now
            left = (total - done) * (now - began) / max(done - before, 1e-9 * total)
            logger.info("%s: %.3g of %.3g %s, about %s left", title, done, total, unit, duration(left))

    return advance


def table_header() -> str:
    """Names of the columns."""
    return "  ".join(column.name.rjust(column.width) for column in COLUMNS)


def table_line(record: IterationRecord) -> str:
    """One iteration in a line."""
    return "  ".join(column.cell(record).rjust(column.width) for column in COLUMNS)


def print_record(record: IterationRecord, settings: ConvergenceSettings | None = None) -> None:
    """The table line of an iteration, below the header if it is the first.

    Args:
        settings: say what the score is held against; None for the record's own s_min, without the floor.
    """
    if record.index == 0:
        print(UNITS, table_header(), sep="\n")
    print(table_line(record if settings is None else as_judged(record, settings)), flush=True)
