"""Numbers per frame from files that a user brings: text of any program, COLVAR, .csv, .xvg, .npy and .npz.

Columns have names where the file gives them: in a header line, in the last comment before the numbers (as
numpy writes it), in PLUMED's `#! FIELDS`, in the legends and axes of an .xvg, or as keys of an .npz. Else
they are counted from 1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SamplingError, StoreError, first_line, suggestion
from aecv.ground.files import StoredArrays, is_file, why_no_file
from aecv.results.formats.tables import parse_rows, read_last_line_too

_TIME = re.compile(r"time(?:[\s_/(\[]+(fs|ps|ns|us|µs|ms|s))?[\s)\]]*", re.IGNORECASE)
_PS = {None: 1.0, "fs": 1e-3, "ps": 1.0, "ns": 1e3, "us": 1e6, "µs": 1e6, "ms": 1e9, "s": 1e12}
_LEGEND = re.compile(r'@\s*s(\d+)\s+legend\s+"(.*)"')
_AXIS = re.compile(r'@\s*([xy])axis\s+label\s+"(.*)"')
_SHOWN = 12
"""Names that a message lists."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UserTable:
    """Columns of numbers.

    Attributes:
        path: the file.
        columns: by name, or by number from 1 where they have none, each of shape (n,).
        is_named: whether the names are the file's own.
        n_cut: rows left out at the end because they have no line end: 1 for a COLVAR that was being written.
    """

    path: Path
    columns: dict[str, FloatArray]
    is_named: bool
    n_cut: int = 0

    def column(self, name: str) -> FloatArray:
        """A column by its name, or by its number from 1; the errors are those of `name_of`."""
        return self.columns[self.name_of(name)]

    def name_of(self, name: str) -> str:
        """The name of a column that is given by it, or by its number from 1.

        Raises:
            SamplingError: for one that is not there.
        """
        if name in self.columns:
            return name
        if name.isdecimal() and 0 < int(name) <= len(self.columns):
            return list(self.columns)[int(name) - 1]
        raise SamplingError(
            f"{self.path}: needs a column '{name}', has {self.listed}{suggestion(name, self.columns)}"
        )

    @property
    def listed(self) -> str:
        """The columns, for a message."""
        names = list(self.columns)
        if not self.is_named:
            return f"{len(names)} without names" if len(names) > 1 else "one without a name"
        more = f" ... ({len(names)} in all)" if len(names) > _SHOWN else ""
        last = names[-2:] if more else []  # a bias stands at the end of what PLUMED prints
        return ", ".join(names[: _SHOWN - 2]) + more + (f", {', '.join(last)}" if last else "")

    @property
    def time_ps(self) -> FloatArray | None:
        """The column named time, shape (n,) [ps]; None where there is none.

        A unit behind the name counts, as GROMACS writes it at the axis of an .xvg: `time (ns)`; else it is
        ps.
        """
        if self.is_named:
            for name, values in self.columns.items():
                if (found := _TIME.fullmatch(name)) is not None:
                    unit = found[1].lower() if found[1] else None
                    return values * _PS[unit]
        return None


def is_time(name: str) -> bool:
    """Whether a column is called as times are."""
    return _TIME.fullmatch(name) is not None


def read_user_table(path: Path) -> UserTable:
    """The columns of a file.

    Raises:
        SamplingError: when it is missing, damaged, or holds anything else than a number per column and row.
    """
    if not is_file(path):  # of a device there is no end
        raise SamplingError(f"{path}: needs a file, {why_no_file(path)}")
    try:
        if path.suffix.lower() == ".npy":
            return _array(path)
        return _archive(path) if path.suffix.lower() == ".npz" else _text(path)
    except StoreError as error:
        raise SamplingError(str(error)) from error


def _array(path: Path) -> UserTable:
    try:
        # mapped: a header that promises more than the file holds takes no memory
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises a dozen kinds for a damaged file
        raise SamplingError(f"{path}: needs a readable .npy file, got: {first_line(error)}") from error
    if not isinstance(found, np.ndarray):
        raise SamplingError(
            f"{path}: needs one array, holds an archive of them; give its name the ending .npz"
        )
    if found.dtype.names:
        fields = {name: found[name] for name in found.dtype.names}
        return UserTable(path=path, columns=_numbers(path, fields), is_named=True)
    if found.ndim not in (1, 2):
        raise SamplingError(
            f"{path}: needs one number per frame, shape (n,), or columns of them, (n, k); got {found.shape}"
        )
    columns = found[:, None] if found.ndim == 1 else found
    named = {str(index + 1): columns[:, index] for index in range(columns.shape[1])}
    return UserTable(path=path, columns=_numbers(path, named), is_named=False)


def _archive(path: Path) -> UserTable:
    stored = StoredArrays(path)
    arrays = {name: stored[name] for name in stored}
    fitting = {
        name: array for name, array in arrays.items() if array.ndim == 1 and array.dtype.kind in "fiub"
    }
    if not fitting:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise SamplingError(f"{path}: needs an array with one number per frame, shape (n,); has {shapes}")
    return UserTable(path=path, columns=_numbers(path, fitting), is_named=True)


def _numbers(path: Path, arrays: dict[str, np.ndarray]) -> dict[str, FloatArray]:
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise SamplingError(f"{path}: needs numbers, column {name} has {array.dtype}")
    return {name: np.array(array, dtype=float) for name, array in arrays.items()}


def _text(path: Path) -> UserTable:
    lines, is_whole = read_last_line_too(path, kind="text")
    names: list[str] = []
    comment: list[str] = []
    legends: dict[int, str] = {}
    axes: dict[str, str] = {}
    rows: list[str] = []
    numbers: list[int] = []
    is_colvar = False
    for number, line in enumerate(lines, start=1):
        words = _words(line)
        if words[:2] == ["#!", "FIELDS"]:
            is_colvar = True
            names = _same_header(path, number, names, words[2:])
        elif found := _LEGEND.match(line.strip()):
            legends[int(found[1])] = found[2]
        elif found := _AXIS.match(line.strip()):
            axes[found[1]] = found[2]
        elif not words or words[0].startswith(("#", "@", "&")):
            is_comment = bool(words) and not rows and words[0].startswith("#")
            comment = _words(line.strip().lstrip("# \t")) if is_comment else comment
        elif not any(map(_is_number, words)):
            names = _same_header(path, number, names or (["numbers"] if rows else []), words)
        else:
            rows.append(" ".join(words))
            numbers.append(number)
    n_cut = int(is_colvar and not is_whole and numbers[-1:] == [len(lines)])
    rows, numbers = rows[: len(rows) - n_cut], numbers[: len(numbers) - n_cut]
    if not rows:
        raise SamplingError(f"{path}: needs .npy or text with one number per frame, got: no line of numbers")
    n_columns = len(names) or len(rows[0].split())
    table = parse_rows(path, rows, numbers, n_columns=n_columns, kind="text")
    names = names or _of_xvg(axes, legends, n_columns)
    if not names and len(comment) == n_columns and not any(map(_is_number, comment)):
        names = comment
    if len(set(names)) != len(names):
        raise SamplingError(f"{path}: needs columns of different names, has {' '.join(names)}")
    keys = names or [str(index + 1) for index in range(n_columns)]
    return UserTable(
        path=path,
        columns={key: table[:, index] for index, key in enumerate(keys)},
        is_named=bool(names),
        n_cut=n_cut,
    )


def _of_xvg(axes: dict[str, str], legends: dict[int, str], n_columns: int) -> list[str]:
    """Names of the columns of an .xvg: what stands at its axes, and in its legends; empty of other files."""
    known = max(legends, default=-1) + 2
    if n_columns < 2 or known > n_columns or ("x" not in axes and known != n_columns):
        return []
    one = axes.get("y", "") if n_columns == 2 else ""
    others = [legends.get(index) or one or f"s{index}" for index in range(n_columns - 1)]
    return [axes.get("x", "time") or "x", *others]


def _words(line: str) -> list[str]:
    for separator in (",", ";"):
        if separator in line and not line.lstrip().startswith("#!"):
            return [word.strip().strip('"') for word in line.strip().rstrip(separator).split(separator)]
    return line.split()


def _same_header(path: Path, number: int, known: Sequence[str], found: list[str]) -> list[str]:
    """A header that comes again, as after a restart, names the same columns."""
    if known and list(known) != found:
        raise SamplingError(
            f"{path}, line {number}: needs the same columns throughout ({' '.join(known)}), got "
            f"{' '.join(found)}; split the file"
        )
    return found


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
