"""Records, the production's result and losses of a run, as the report shows them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.files import read_json
from aecv.ground.grid import FloatArray
from aecv.ground.settings import Settings
from aecv.results.report.content import History, Point, Training
from aecv.workflow.exact import read_exact_delta_f
from aecv.workflow.production import Production
from aecv.workflow.records import IterationRecord, from_json, required_score
from aecv.workflow.store import name_of

NAN = float("nan")


def read_record(path: Path) -> IterationRecord:
    """A record; of older formats fields that are not there are None, and others are passed over.

    Raises:
        StoreError: for a damaged file.
        ValueError: for a text where a number should be.
    """
    found = read_json(path)
    known = IterationRecord.__dataclass_fields__
    fields = {**dict.fromkeys(known), "problems": [], **{key: found[key] for key in known if key in found}}
    for key, value in fields.items():
        if key not in ("observables", "problems") and not _is_numeric(value):
            raise ValueError(f"{key} is no number: {value!r}")
    return IterationRecord.from_dict(fields)


def _is_numeric(value: Any) -> bool:
    """A number, infinity as a word, an interval of them, or nothing."""
    if isinstance(value, list):
        return all(_is_numeric(item) for item in value)
    return value is None or isinstance(value, int | float) or value in ("inf", "-inf")


def read_production(folder: Path) -> Production:
    """production.json; of older formats as `read_record`."""
    found = read_json(folder / "production.json")
    known = Production.__dataclass_fields__
    fields: dict[str, Any] = {**dict.fromkeys(known), "problems": ()}
    fields |= {key: from_json(found[key]) for key in known if key in found}
    return Production(**fields)


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
    found = read_json(run / name_of(index) / "training.json")
    return Training(
        iteration=index,
        train=_curves(found["train_nm2"]),
        validation=_curves(found["validation_nm2"]),
        chosen=int(found["restart"]),
    )


def _curves(rows: Sequence[Sequence[float | None]]) -> FloatArray:
    """Curves of unequal length as one array, NaN after their end."""
    longest = max(map(len, rows))
    return np.array([[_or_nan(value) for value in row] + [NAN] * (longest - len(row)) for row in rows])


def _point(value: float | None, interval: Sequence[float] | None) -> Point:
    lower, upper = interval if interval is not None else (NAN, NAN)
    ends = [end if math.isfinite(end) else NAN for end in (_or_nan(value), _or_nan(lower), _or_nan(upper))]
    return Point(value=ends[0], lower=ends[1], upper=ends[2])


def _or_nan(value: float | None) -> float:
    return NAN if value is None else float(value)
