"""The table of iterations: its columns, what they mean, and their cells as text."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from aecv.ground.progress import duration
from aecv.ground.settings import ConvergenceSettings
from aecv.workflow.run_folder.records import IterationRecord, required_score

UNITS = "dF in kJ/mol with 95 % intervals, loss in nm^2, time in min:s"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: its name, width in a terminal, what it means, and its text for a record."""

    name: str
    width: int
    meaning: str
    cell: Callable[[IterationRecord], str]


def with_error(value: float | None, interval: tuple[float, float] | None) -> str:
    """A number and half the width of its 95 % interval."""
    text = number(value, "{:.2f}")
    if value is None or interval is None or math.isinf(value):
        return text
    half = 0.5 * (interval[1] - interval[0])
    return f"{text} ±{half:.2f}" if math.isfinite(half) else f"{text} ±inf"


def number(value: float | None, form: str) -> str:
    """A number in a format, or - where there is none."""
    return "-" if value is None or math.isnan(value) else form.format(value)


def as_judged(record: IterationRecord, settings: ConvergenceSettings) -> IterationRecord:
    """The record with the s_min that its score is held against, the floor included, for table rows."""
    return replace(record, s_min=required_score(record, settings))


COLUMNS = (
    Column(
        name="iter",
        width=4,
        meaning="number of the iteration; 0 is the unbiased one",
        cell=lambda record: str(record.index),
    ),
    Column(
        name="score",
        width=7,
        meaning="R² of the regression of the new CV on the previous one, worst component, Boltzmann weights",
        cell=lambda record: number(record.score, "{:.3f}"),
    ),
    Column(
        name="s_min",
        width=6,
        meaning="what the score has to reach: what CVs of resampled frames reach among each other, "
        "but at least convergence.floor",
        cell=lambda record: number(record.s_min, "{:.3f}"),
    ),
    Column(
        name="unweighted",
        width=10,
        meaning="the score without weights: every biased frame counts the same",
        cell=lambda record: number(record.score_unweighted, "{:.3f}"),
    ),
    Column(
        name="nonlinear",
        width=9,
        meaning="the score by nearest neighbours instead of a line: the same information, another form",
        cell=lambda record: number(record.score_nonlinear, "{:.3f}"),
    ),
    Column(
        name="n_eff",
        width=8,
        meaning="effective number of frames that trained the CV, (sum w)² / sum w²",
        cell=lambda record: number(record.n_effective, "{:.0f}"),
    ),
    Column(
        name="frames",
        width=8,
        meaning="frames that trained the CV",
        cell=lambda record: str(record.n_frames),
    ),
    Column(
        name="dF pool",
        width=12,
        meaning="Delta F of the region of [delta_f] from all pooled iterations, with half its 95 % interval",
        cell=lambda record: with_error(record.delta_f_kj_mol, record.delta_f_interval),
    ),
    Column(
        name="dF alone",
        width=12,
        meaning="the same from this iteration's frames alone",
        cell=lambda record: with_error(record.delta_f_iteration_kj_mol, record.delta_f_iteration_interval),
    ),
    Column(
        name="loss",
        width=9,
        meaning="validation loss of the chosen autoencoder: mean squared error of the atoms' positions",
        cell=lambda record: number(record.loss, "{:.2e}"),
    ),
    Column(
        name="ns",
        width=6,
        meaning="simulated time of the iteration, over all walkers",
        cell=lambda record: number(record.ns, "{:g}"),
    ),
    Column(
        name="steps/s",
        width=8,
        meaning="time steps per second, all walkers together, the starting of processes included",
        cell=lambda record: number(record.steps_per_s or None, "{:.0f}"),
    ),
    Column(
        name="time",
        width=8,
        meaning="wall time of the iteration, training included",
        cell=lambda record: duration(record.wall_s),
    ),
)
"""In the order of the terminal and of the report."""
