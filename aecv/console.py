"""What a person sees in the terminal while it works: log lines, progress bars, a table line per iteration."""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aecv.workflow.records import IterationRecord

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

COLUMNS = (
    ("iter", 4),
    ("score", 7),
    ("s_min", 6),
    ("unweighted", 10),
    ("nonlinear", 9),
    ("n_eff", 8),
    ("frames", 8),
    ("dF pool", 12),
    ("dF alone", 12),
    ("loss", 9),
    ("ns", 6),
    ("steps/s", 8),
    ("time", 8),
)


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
    return "  ".join(name.rjust(width) for name, width in COLUMNS)


def table_line(record: IterationRecord) -> str:
    """One iteration in a line."""
    cells = (
        str(record.index),
        number(record.score, "{:.3f}"),
        number(record.s_min, "{:.3f}"),
        number(record.score_unweighted, "{:.3f}"),
        number(record.score_nonlinear, "{:.3f}"),
        number(record.n_effective, "{:.0f}"),
        str(record.n_frames),
        with_error(record.delta_f_kj_mol, record.delta_f_interval),
        with_error(record.delta_f_iteration_kj_mol, record.delta_f_iteration_interval),
        number(record.loss, "{:.2e}"),
        number(record.ns, "{:g}"),
        number(record.steps_per_s or None, "{:.0f}"),
        duration(record.wall_s),
    )
    return "  ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def print_record(record: IterationRecord) -> None:
    """The table line of an iteration, below the header if it is the first."""
    if record.index == 0:
        print("dF in kJ/mol with 95 % intervals, loss in nm^2, time in min:s", table_header(), sep="\n")
    print(table_line(record), flush=True)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def with_error(value: float | None, interval: tuple[float, float] | None) -> str:
    """A number and half the width of its 95 % interval."""
    text = number(value, "{:.2f}")
    if value is None or interval is None or math.isinf(value):
        return text
    half = 0.5 * (interval[1] - interval[0])
    return f"{text} ±{half:.2f}" if math.isfinite(half) else f"{text} ±inf"


def number(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else form.format(value)
