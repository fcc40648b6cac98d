"""Records, the production's result and losses of a run, as the report shows them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.forms import Count, Number, in_form, read_form
from aecv.ground.settings import Settings
from aecv.results.story.content import History, Point, Training
from aecv.workflow.free_energies.exact import read_exact_delta_f
from aecv.workflow.free_energies.production import Production
from aecv.workflow.run_folder.records import IterationRecord, required_score
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.run_folder.store import name_of

NAN = float("nan")
T = TypeVar("T", IterationRecord, Production)
_UNKNOWN: dict[str, Any] = {"problems": (), "observables": {}, "n_frames": 0, "n_inverted": 0, "n_turned": 0}
"""Fields that cannot be without a value, of formats that did not have them."""


def read_record(path: Path) -> IterationRecord:
    """A record; of older formats fields that are not there are unknown, and others are passed over.

    Raises:
        StoreError: for a damaged file.
    """
    return _of_any_format(path, IterationRecord)


def read_production(folder: Path) -> Production:
    """production.json; of older formats as `read_record`."""
    return _of_any_format(folder / "production.json", Production)


def _of_any_format(path: Path, form: type[T]) -> T:
    found = read_form(path, dict[str, Any])
    known = form.__dataclass_fields__
    fields = {**dict.fromkeys(known), **_UNKNOWN, **found}
    record = in_form({key: fields[key] for key in known}, form, source=str(path))
    checked(path)
    return record


def read_history(
    run: Path, records: Sequence[IterationRecord], production: Production | None, settings: Settings
) -> History | None:
    """Numbers per iteration; None for less than two.

    Raises:
        StoreError: when exact.json is damaged.
    """
    if len(records) < 2:
        return None
    region = settings.delta_f
    last = run / name_of(records[-1].index)
    words = (
        ""
        if region is None
        else f"F({region.lower:g} < {region.observable} < {region.upper:g}) - F(elsewhere)"
    )
    made = None
    if production is not None and production.delta_f_kj_mol is not None:
        made = _point(production.delta_f_kj_mol, production.delta_f_interval)
    return History(
        index=tuple(record.index for record in records),
        score=tuple(_or_nan(record.score) for record in records),
        unweighted=tuple(_or_nan(record.score_unweighted) for record in records),
        nonlinear=tuple(_or_nan(record.score_nonlinear) for record in records),
        required=tuple(_or_nan(required_score(record, settings.convergence)) for record in records),
        loss=tuple(_or_nan(record.loss) for record in records),
        pool=tuple(_point(record.delta_f_kj_mol, record.delta_f_interval) for record in records),
        alone=tuple(
            _point(record.delta_f_iteration_kj_mol, record.delta_f_iteration_interval) for record in records
        ),
        production=made,
        exact=read_exact_delta_f(last),
        region=words,
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
    ends = [end if math.isfinite(end) else NAN for end in (_or_nan(value), _or_nan(lower), _or_nan(upper))]
    return Point(value=ends[0], lower=ends[1], upper=ends[2])


def _or_nan(value: float | None) -> float:
    return NAN if value is None else float(value)
