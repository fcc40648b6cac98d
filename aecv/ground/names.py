"""Names that become parts of files: observables and systems, held against each other before anything runs.

An observable names fes_NAME.dat, with another one fes_A_B.dat and production_A_B.png, a column of colvar.dat,
and figures of the report, in which - stands for _. File systems may take Phi for phi.
"""

import re
from collections.abc import Collection
from itertools import combinations

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
"""What may become part of a path, a column or a TOML key."""
MOST_LETTERS = 60
"""Of a name: files are called by two of them, and many file systems end at 255."""
RESERVED = ("time", "frame", "weight", "walker", "xi")
"""Columns of colvar.dat and of `aecv apply`, and keys of the record, that an observable must not take."""
_PREFIXES = ("xi_", "lam_", "lambda_")
"""Of columns and files of the CV and its extended variable."""
_PICTURES = ("delta_f", "profiles", "walkers")
"""production_*.png that are of no pair of observables."""
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}
"""Names that Windows keeps for devices; a folder cannot have them."""


def check_folder_name(name: str) -> str:
    """A system's name, which its run's folder gets.

    Raises:
        ValueError: when it is no plain word, too long, or one that some file systems do not take.
    """
    # not re.match, whose $ takes a line end
    if not re.fullmatch(NAME, name):
        raise ValueError("needs to begin with a letter and to have letters, digits, _ and - alone")
    if len(name) > MOST_LETTERS:
        raise ValueError(f"needs at most {MOST_LETTERS} letters, has {len(name)}")
    if name.lower() in _DEVICES:
        raise ValueError(f"'{name}' is the name of a device on Windows, where no folder can have it")
    return name


def check_observable_names(names: Collection[str]) -> None:
    """Refuse observables whose files, columns or figures would be one another's.

    Raises:
        ValueError: for the first clash, with both names.
    """
    for name in names:
        folded = _folded(name)
        if not re.fullmatch(NAME, name) or folded in RESERVED or folded.startswith(_PREFIXES):
            raise ValueError(
                f"observables.{name}: needs a name of letters, digits, _ and - that is none of "
                f"{', '.join(RESERVED)}, {', '.join(f'{prefix}*' for prefix in _PREFIXES)}"
            )
        if len(name) > MOST_LETTERS:
            raise ValueError(f"observables.{name[:20]}...: needs at most {MOST_LETTERS} letters")
    taken = {_folded(stem): f"the file production_{stem}.png" for stem in _PICTURES}
    for name in names:
        if (other := taken.get(_folded(name))) is not None and other.startswith("'"):
            raise ValueError(
                f"observables.{name}: its files could not be told from those of {other}; rename one"
            )
        taken[_folded(name)] = f"'{name}'"
    for first, second in combinations(names, 2):
        pair = f"'{first}' with '{second}'"
        other = taken.setdefault(_folded(f"{first}_{second}"), pair)
        if other != pair:
            raise ValueError(
                f"observables.{first}: the files of {pair} could not be told from those of {other}; "
                "rename one"
            )


def _folded(name: str) -> str:
    """As a file system without upper and lower case, or the report's page, sees a name."""
    return name.lower().replace("-", "_")
