"""The description of a collective variable, cv.json: its format, and the check of one that was read."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aecv.ground.errors import CVError, StoreError
from aecv.ground.forms import Count, Number, in_form

FORMAT = "aecv-cv"
FORMAT_VERSION = 1
INTERNAL_KIND = "internal coordinates"
"""What cv.json says of a CV that is no network; see `internal_export`."""


class _Description(BaseModel):
    """What cv.json says of every CV."""

    system: str
    system_hash: str
    atom_indices: tuple[Count, ...]
    range: tuple[tuple[Number, Number], ...]


class _Learned(_Description):
    """Of a network: its sizes, and hashes of its arrays."""

    layers: Annotated[tuple[Count, ...], Field(min_length=2, max_length=100)]
    sha256: dict[str, str]


class _Internal(_Description):
    """Of internal coordinates."""

    class Component(BaseModel):
        kind: str
        atoms: tuple[Count, ...]
        axis: int | None

    components: tuple[Component, ...]
    periodic: tuple[bool, ...]


def checked_description(path: Path, metadata: Any) -> dict[str, Any]:
    """The description with every field in its form; what else it holds is for people.

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
    form = _Internal if metadata.get("kind") == INTERNAL_KIND else _Learned
    missing = [key for key in form.model_fields if key not in metadata]
    if missing:
        raise CVError(f"{path}: the description lacks {', '.join(missing)}; export the CV again")
    try:
        return {**metadata, **in_form(metadata, form, source=f"{path}: the description").model_dump()}
    except StoreError as error:
        raise CVError(f"{error}; export the CV again") from error
