"""What the benchmarks share: reading finished runs, printing tables, and means over runs."""

import json
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.files import read_json, write_text
from aecv.ground.layers import validate
from aecv.ground.settings import Settings

Row = dict[str, Any]
NOT_A_NUMBER = float("nan")


def settings_of(run: Path) -> Settings:
    """The settings that a run was made with."""
    return validate(read_json(run / "run.json")["settings"], source=f"{run}/run.json")


def biased_iterations(run: Path) -> list[tuple[Path, Row]]:
    """Folder and record of every finished iteration but the unbiased one."""
    records = read_json(run / "summary.json")["iterations"][1:]
    return [(run / f"iteration_{record['index']:02d}", _numbers(record)) for record in records]


def production_of(run: Path) -> tuple[Path, Row] | None:
    """Folder and numbers of the production; None where there is none."""
    made = read_json(run / "summary.json").get("production")
    return None if made is None else (run / made["folder"], _numbers(made))


def value_of(record: Row, key: str) -> float:
    """A number of a record, NaN where it is missing or None."""
    value = record.get(key)
    return NOT_A_NUMBER if value is None else float(value)


def interval_of(record: Row, key: str) -> tuple[float, float]:
    """An interval of a record, NaN where it is missing or None."""
    ends = record.get(key)
    return (NOT_A_NUMBER, NOT_A_NUMBER) if ends is None else (float(ends[0]), float(ends[1]))


def text(value: float | None, form: str = ".2f") -> str:
    """A number, or - for one that is not known."""
    return "-" if value is None or np.isnan(value) else format(value, form)


def interval_text(interval: Sequence[float]) -> str:
    """Both ends, or - for an interval that is not known."""
    return "-" if np.isnan(interval).any() else f"[{interval[0]:.2f}, {interval[1]:.2f}]"


def yes_no(answer: bool | None) -> str:
    """A word, or - where it is not known."""
    return "-" if answer is None else "yes" if answer else "no"


def print_table(header: Sequence[str], lines: Iterable[Sequence[str]], *, n_left: int = 1) -> None:
    """Columns as wide as they need to be; the first n_left of them flush left."""
    cells = [tuple(header), *(tuple(line) for line in lines)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(header))]
    for line in cells:
        padded = [
            cell.ljust(width) if column < n_left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())


def grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> dict[Hashable, list[Row]]:
    """Rows with the same key, in the order in which the keys come first."""
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def mean_and_spread(rows: Sequence[Row], key: str) -> tuple[float, float]:
    """Mean and standard deviation (n - 1) of the known numbers; NaN for none, and for the spread of one."""
    known = np.array([row[key] for row in rows if row[key] is not None and not np.isnan(row[key])])
    mean = float(known.mean()) if len(known) else NOT_A_NUMBER
    finite = len(known) > 1 and bool(np.isfinite(known).all())
    return mean, float(known.std(ddof=1)) if finite else NOT_A_NUMBER


def with_error(value: float, error: float, form: str = ".2f") -> str:
    """A number and its error, where that is known."""
    return text(value, form) if np.isnan(error) else f"{text(value, form)} ±{error:{form.lstrip('+')}}"


def spread_text(rows: Sequence[Row], key: str, form: str = ".2f") -> str:
    """Mean and spread of a column."""
    return with_error(*mean_and_spread(rows, key), form)


def write_rows(path: Path | None, result: Row) -> None:
    """Write a result as JSON, where a file is asked for: NaN as null, infinity as a word."""
    if path is not None:
        write_text(path, json.dumps(_plain(result), indent=1, allow_nan=False) + "\n")


def _numbers(record: Row) -> Row:
    """Infinities are words in JSON."""
    return {key: _number(value) for key, value in record.items()}


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_number(item) for item in value)
    return float(value) if value in ("inf", "-inf") else value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value
