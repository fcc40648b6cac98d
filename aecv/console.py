"""What a person sees in the terminal: log lines, progress bars, and a table line per iteration."""

import logging
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aecv.ground.settings import Settings
from aecv.workflow.loop import Outcome
from aecv.workflow.plain import Sampled
from aecv.workflow.records import IterationRecord

_CROSSING = "into and out of the region of dF"
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
        _number(record.score, "{:.3f}"),
        _number(record.s_min, "{:.3f}"),
        _number(record.score_unweighted, "{:.3f}"),
        _number(record.score_nonlinear, "{:.3f}"),
        _number(record.n_effective, "{:.0f}"),
        str(record.n_frames),
        _with_error(record.delta_f_kj_mol, record.delta_f_interval),
        _with_error(record.delta_f_iteration_kj_mol, record.delta_f_iteration_interval),
        _number(record.loss, "{:.2e}"),
        _number(record.ns, "{:g}"),
        _number(record.steps_per_s, "{:.0f}"),
        duration(record.wall_s),
    )
    return "  ".join(cell.rjust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))


def print_record(record: IterationRecord) -> None:
    """The table line of an iteration, below the header if it is the first."""
    if record.index == 0:
        print("dF in kJ/mol with 95 % intervals, loss in nm^2, time in min:s", table_header(), sep="\n")
    print(table_line(record), flush=True)


def closing_words(outcome: Outcome) -> str:
    """The verdict in a few lines, and what the production gave."""
    lines = list(outcome.verdict.sentences)
    made = outcome.production
    if made is not None and made.delta_f_kj_mol is not None:
        value = _with_error(made.delta_f_kj_mol, made.delta_f_interval)
        alone = _with_error(made.delta_f_alone_kj_mol, made.delta_f_alone_interval)
        lines.append(
            f"production, {made.ns:g} ns along the CV of iteration {made.cv_iteration}: dF {value} kJ/mol "
            f"(95 %) together with the iterations, {alone} alone, {_passages(made.passages)}"
        )
    elif made is not None:
        lines.append(
            f"production, {made.ns:g} ns along the CV of iteration {made.cv_iteration}: {made.folder}"
        )
    if made is not None and made.problems:
        lines.append("coverage of the production: " + "; ".join(made.problems))
    return "\n".join(lines)


def sampled_table(result: Sampled, settings: Settings) -> str:
    """What came of a run along a given CV, a line each."""
    region, walkers = settings.delta_f, settings.sampling.walkers
    rows = [
        ("CV", result.cv),
        ("simulated", f"{result.ns:g} ns over {walkers} walkers, {result.steps_per_s:.0f} steps/s"),
        ("frames", f"{result.n_frames} under the frozen bias, {result.n_effective:.0f} effective"),
    ]
    if region is not None:
        what = f"F({region.lower:g} < {region.observable} < {region.upper:g}) - F(elsewhere)"
        value = _with_error(result.delta_f_kj_mol, result.delta_f_interval)
        sure = result.delta_f_kj_mol is not None and math.isfinite(result.delta_f_kj_mol)
        rows.append(("dF", f"{value} kJ/mol ({'95 %' if sure else 'a side without frames'}), {what}"))
    if result.passages is not None:
        rows.append(("passages", f"{result.passages} {_CROSSING}"))
    problems = result.problems or ("no problem found",)
    rows += [("coverage" if index == 0 else "", problem) for index, problem in enumerate(problems)]
    rows.append(("results", f"{result.folder}: fes_xi.dat, sampled.json, ...; pictures/ beside it"))
    return "\n".join(f"{name:<10} {text}" for name, text in rows)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _passages(n: int | None) -> str:
    """Those of the region of dF; pictures/production_walkers.png shows those between the starts' basins."""
    return f"{n} passage{'' if n == 1 else 's'} {_CROSSING}"


def _with_error(value: float | None, interval: tuple[float, float] | None) -> str:
    """A number and half the width of its 95 % interval."""
    text = _number(value, "{:.2f}")
    if value is None or interval is None or math.isinf(value):
        return text
    half = 0.5 * (interval[1] - interval[0])
    return f"{text} ±{half:.2f}" if math.isfinite(half) else f"{text} ±inf"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or math.isnan(value) else form.format(value)
