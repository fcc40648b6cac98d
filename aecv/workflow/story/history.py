"""Numbers per iteration, and losses of the training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.forms import Count, Number, read_form
from aecv.ground.settings import ConvergenceSettings
from aecv.results.story.content import History, Point, Training
from aecv.workflow.free_energies.production import Production
from aecv.workflow.run_folder.records import IterationRecord, required_score
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.run_folder.store import name_of

NAN = float("nan")


def history_of(
    records: Sequence[IterationRecord],
    settings: ConvergenceSettings,
    *,
    production: Production | None = None,
    exact: float | None = None,
) -> History:
    """Numbers per iteration.

    Args:
        records: of the iterations.
        settings: what their scores have to reach.
        production: of the run, where there is one.
        exact: Delta F, where it is known.
    """
    made = None
    if production is not None and production.delta_f_kj_mol is not None:
        made = _point(production.delta_f_kj_mol, production.delta_f_interval)
    return History(
        index=tuple(record.index for record in records),
        score=tuple(_or_nan(record.score) for record in records),
        unweighted=tuple(_or_nan(record.score_unweighted) for record in records),
        nonlinear=tuple(_or_nan(record.score_nonlinear) for record in records),
        required=tuple(_or_nan(required_score(record, settings)) for record in records),
        loss=tuple(_or_nan(record.loss) for record in records),
        pool=tuple(_point(record.delta_f_kj_mol, record.delta_f_interval) for record in records),
        alone=tuple(
            _point(record.delta_f_iteration_kj_mol, record.delta_f_iteration_interval) for record in records
        ),
        production=made,
        exact=exact,
    )


def read_training(run: Path, index: int) -> Training:
    """Losses of an iteration's restarts.

    Raises:
        StoreError: when training.json is missing or damaged.
    """
    found = read_form(checked(run / name_of(index) / "training.json"), _Curves)
    return Training(
        iteration=index,
        train=_curves(found.train_nm2),
        validation=_curves(found.validation_nm2),
        chosen=found.restart,
    )


@dataclass(frozen=True)
class _Curves:
    """What of training.json is drawn."""

    train_nm2: tuple[tuple[Number, ...], ...]
    validation_nm2: tuple[tuple[Number, ...], ...]
    restart: Count


def _curves(rows: Sequence[Sequence[float]]) -> FloatArray:
    """Curves of unequal length as one array, NaN after their end."""
    longest = max(map(len, rows), default=0)
    return np.array([[*row, *[NAN] * (longest - len(row))] for row in rows])


def _point(value: float | None, interval: Sequence[float] | None) -> Point:
    lower, upper = interval if interval is not None else (NAN, NAN)
    return Point(value=_or_nan(value), lower=_or_nan(lower), upper=_or_nan(upper))


def _or_nan(value: float | None) -> float:
    return NAN if value is None else float(value)
