"""Pieces of the search for starts: what they are called, how many there will be, and where they may be kept.

A look at a run counts them and shall not wait for OpenMM: nothing heavy is imported here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from aecv.ground.settings import Settings

HOT, HOT_HALF = "hot", "hot_half"
"""Pieces of the hot run, with the time step of the settings and with half of it."""
MINIMUM = "minimum"
"""Minimised structures."""


class Pieces(Protocol):
    """Keeps finished pieces of work by their names."""

    def load(self, name: str, fields: Sequence[str]) -> Mapping[str, Any] | None:
        """The arrays of a piece; None where it is not there, cannot be read, or lacks one of the fields."""
        ...

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keep a piece, in place of one of the same name."""
        ...


class NotKept:
    """Pieces that nobody keeps."""

    def load(self, name: str, fields: Sequence[str]) -> None:
        """Nothing."""

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Nothing happens."""


def piece(kind: str, index: int) -> str:
    """Name of a piece: minimum_00003."""
    return f"{kind}_{index:05d}"


def n_given(settings: Settings) -> int:
    """Structures that the settings name, from which the search begins."""
    if settings.starts.mode == "given" and settings.particle is None:
        return len(settings.system.starts)
    if settings.particle is None or settings.starts.mode == "one":
        return 1
    return len(settings.particle.starts_nm)


def n_minima(settings: Settings) -> int:
    """Structures that will be minimised in the end."""
    return n_given(settings) + (settings.starts.candidates if settings.starts.mode == "auto" else 0)
