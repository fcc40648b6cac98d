"""The one tree of errors that aecv raises for reasons a user can do something about.

A message says: place, what is needed, what came, what to do.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class AecvError(Exception):
    """Base of every error that aecv raises on purpose.

    Example:
        >>> import aecv
        >>> try:
        ...     aecv.load_system("ala3")
        ... except aecv.AecvError as error:
        ...     print(str(error).rpartition("; ")[2])
        did you mean 'ala2'?
    """


class SettingsError(AecvError):
    """A setting, its file or a command-line override cannot be used."""


class ForeseenError(SettingsError):
    """Settings with which a run is known to fail later, by arithmetic alone.

    Attributes:
        changes: dotted settings and values with which it would not; empty where none are known.
    """

    def __init__(self, message: str, changes: Mapping[str, Any] | None = None) -> None:
        self.changes = dict(changes or {})
        told = ", ".join(f"{key} = {value}" for key, value in self.changes.items())
        super().__init__(f"{message}; {told} would do" if told else message)


class MolecularSystemError(AecvError):
    """A molecular system cannot be found, read or built."""


class UnknownResiduesError(MolecularSystemError):
    """A force field does not know residues of a structure as they are."""


class GridError(AecvError):
    """An array or point does not fit its grid."""


class CVError(AecvError):
    """A collective variable cannot be loaded, exported or evaluated."""


class AlignmentError(CVError):
    """The optimal rotation onto the reference is not unique for a configuration."""


class SimulationError(AecvError):
    """Molecular dynamics failed: it exploded, or its bias is not what it should be."""


class ExplosionError(SimulationError):
    """Molecular dynamics left what is physical; another try with a shorter time step may pass.

    Attributes:
        positions: of all atoms when they were last looked at and sound [nm], shape (N, 3); None where that is
            not known.
        after: of all atoms afterwards; None where these are not known.
    """

    def __init__(self, message: str, positions: Any = None, after: Any = None) -> None:
        super().__init__(message, positions, after)
        self.positions = positions
        self.after = after

    def __str__(self) -> str:
        return str(self.args[0])


class SamplingError(AecvError):
    """There are too few (effective) samples for an estimate."""


class TrainingError(AecvError):
    """An autoencoder could not be trained."""


class StoreError(AecvError):
    """A run directory cannot be created, read, resumed or written."""


class MissingPackageError(AecvError, ImportError):
    """An optional package is not installed."""


class WriteError(StoreError):
    """A file or folder cannot be written.

    Attributes:
        reason: what the operating system says.
        remedy: what helps against it.
    """

    def __init__(self, path: Any, reason: str, remedy: str) -> None:
        super().__init__(path, reason, remedy)
        self.path, self.reason, self.remedy = path, reason, remedy

    def __str__(self) -> str:
        return f"{self.path}: cannot be written ({self.reason}); {self.remedy}"


def listed(items: Iterable[str], most: int = 4, *, separator: str = ", ") -> str:
    """The first of several names, and how many more there are."""
    names = list(items)
    return separator.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def first_line(error: BaseException) -> str:
    """What an exception of a library says, in a line; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
