"""The description of a collective variable, cv.json: its format, and the check of one that was read."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from aecv.ground.errors import CVError, StoreError
from aecv.ground.forms import Count, Number, in_form

FORMAT = "aecv-cv"
FORMAT_VERSION = 1


class Description(BaseModel):
    """What cv.json says of every CV."""

    system: str
    system_hash: str
    atom_indices: tuple[Count, ...]
    range: tuple[tuple[Number, Number], ...]
    periodic: tuple[bool, ...] = ()


def checked_description(path: Path, metadata: Any, forms: Mapping[str, type[Description]]) -> dict[str, Any]:
    """The description with every field in its form; what else it holds is for people.

    Args:
        path: where it is from, for messages.
        metadata: the description.
        forms: by kind; see `kinds`.

    Raises:
        CVError: when it is of something else, of a newer format, or incomplete.
    """
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CVError(f"{path}: needs the description of a CV (format '{FORMAT}'), got something else")
    version = metadata.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CVError(
            f"{path}: has format version {version}, this aecv reads up to {FORMAT_VERSION}; "
            "install a newer aecv"
        )
    kind = metadata.get("kind", "")
    if not isinstance(kind, str) or kind not in forms:
        raise CVError(
            f"{path}: holds a CV of kind {kind!r:.40}, this aecv does not know it; install a newer aecv"
        )
    form = forms[kind]
    missing = [key for key, field in form.model_fields.items() if field.is_required() and key not in metadata]
    if missing:
        raise CVError(f"{path}: the description lacks {', '.join(missing)}; export the CV again")
    try:
        return {**metadata, **in_form(metadata, form, source=f"{path}: the description").model_dump()}
    except StoreError as error:
        raise CVError(f"{error}; export the CV again") from error


def array_hash(array: NDArray[Any]) -> str:
    """Hexadecimal SHA-256 of an array's kind, shape and numbers."""
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()
