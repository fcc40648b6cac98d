"""What a person sees in the terminal: log lines, progress bars, and a table line per iteration."""

import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aecv.ground.settings import ConvergenceSettings
from aecv.workflow.records import IterationRecord, converged_at, is_good, required_score

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"

COLUMNS = (
    ("iter", 4),
    ("score", 7),
    ("s_min", 6),
    ("unweighted", 10),
    ("nonlinear", 9),
    ("n_eff", 8),
    ("frames", 8),
    ("dF pool", 8),
    ("dF alone", 8),
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
        _number(record.score, "{:.3f}"),
        _number(record.s_min, "{:.3f}"),
        _number(record.score_unweighted, "{:.3f}"),
        _number(record.score_nonlinear, "{:.3f}"),
        _number(record.n_effective, "{:.0f}"),
        str(record.n_frames),
        _number(record.delta_f_kj_mol, "{:.2f}"),
        _number(record.delta_f_iteration_kj_mol, "{:.2f}"),
        _number(record.loss, "{:.2e}"),
        _number(record.ns, "{:g}"),
        _number(record.steps_per_s, "{:.0f}"),
        duration(record.wall_s),
    )
    return "  ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def print_record(record: IterationRecord) -> None:
    """The table line of an iteration, below the header if it is the first."""
    if record.index == 0:
        print("dF in kJ/mol, loss in nm^2, time in min:s", table_header(), sep="\n")
    print(table_line(record), flush=True)


def verdict(records: Sequence[IterationRecord], settings: ConvergenceSettings) -> str:
    """Whether the CV repeats itself, in a sentence."""
    scores = [(record.index, record.score) for record in records if record.score is not None]
    if not scores:
        return "one iteration has no score; run more (--iters 10 --resume)"
    required = required_score(records[-1], settings)
    last = f"last score {scores[-1][1]:.3f}, needs {settings.floor if required is None else required:.3f}"
    at = converged_at(records, settings)
    if at is None:
        row = f" in {settings.consecutive} iterations in a row" if settings.consecutive > 1 else ""
        return f"not converged{row} ({last}); continue with a larger --iters and --resume"
    lost = [record.index for record in records if record.index > at and not is_good(record, settings)]
    after = f", missed again in {', '.join(map(str, lost))}" if lost else ", and held since"
    return (
        f"s_min first reached at iteration {at}{after} ({last}). A CV repeats itself also when it "
        "never saw a basin: look at the pictures"
    )


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else form.format(value)
