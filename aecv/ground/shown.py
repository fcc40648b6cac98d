"""What results look like at a prompt and in a notebook: a line, a table, a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.errors import MissingPackageError

_LONG = 60
"""Characters of a text, and _FEW items of a collection, that are shown."""
_FEW = 4


class Shown:
    """A dataclass whose repr is a line: numbers and words as they are, of arrays and lists their size."""

    def __repr__(self) -> str:
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.repr}  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={brief(value)}' for name, value in told.items())})"


def brief(value: Any) -> str:
    """A value in a few words."""
    if isinstance(value, np.ndarray):
        return f"array of {' x '.join(map(str, value.shape)) or 'one number'}"
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, str | Path):
        text = repr(str(value))
        return text if len(text) <= _LONG else f"{text[: _LONG - 4]}...'"
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}" if len(value) <= _FEW else f"{len(value)} of them"
    if isinstance(value, Sequence):
        short = len(value) <= _FEW and not any(isinstance(item, str) and len(item) > _LONG for item in value)
        return f"({', '.join(map(brief, value))})" if short else f"{len(value)} of them"
    if value is None or isinstance(value, int | np.integer):
        return str(value)
    text = repr(value)
    return text if len(text) <= _LONG and "\n" not in text else type(value).__name__


def dataframe(columns: Mapping[str, Any]) -> Any:
    """A pandas.DataFrame of columns of one length.

    Raises:
        MissingPackageError: without pandas, which aecv itself does not need.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingPackageError(
            "to_dataframe: needs pandas, which is not installed; pip install pandas"
        ) from error
    return pandas.DataFrame(dict(columns))
