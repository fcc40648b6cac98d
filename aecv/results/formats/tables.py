"""Rows of numbers in text files: what PLUMED's and Colvars' formats have in common.

Beside numpy's readers: a file that is cut off, within a number too, is told with the line where it ends.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import StoreError


def read_lines(path: Path, *, kind: str) -> list[str]:
    """The lines of a text file that its writer finished: the last one has its end too.

    A file that was cut within a number still parses, and holds another number.

    Raises:
        StoreError: when it is missing, unreadable, empty or cut off within a line.
    """
    lines, is_whole = read_last_line_too(path, kind=kind)
    if not is_whole:
        raise StoreError(
            f"{path}: cut off in line {len(lines)}, which has no line end; make the {kind} file anew, or end "
            "that line where it is whole"
        )
    return lines


def read_last_line_too(path: Path, *, kind: str) -> tuple[list[str], bool]:
    """The lines of a text file, and whether the last one has its line end: a live file's may be half written.

    Raises:
        StoreError: when it is missing, unreadable or empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: needs a readable {kind} file, got: {error}") from error
    if not text.strip():
        raise StoreError(f"{path}: needs a {kind} file with content, got an empty one")
    # not str.splitlines, for which a form feed ends a line as well
    lines = text.replace("\r\n", "\n").split("\n")
    return (lines[:-1], True) if not lines[-1] else (lines, False)


def check_complete(path: Path, numbers: Sequence[int], n_promised: int, promise: str) -> None:
    """Refuse a table with another number of rows than its header says.

    Args:
        path: for messages.
        numbers: the line number of each row.
        n_promised: rows that the header promises.
        promise: what the header says, for messages.

    Raises:
        StoreError: with the place where it ends, or that there are too many.
    """
    n = len(numbers)
    if n < n_promised:
        place = f"cut off after row {n} of {n_promised}, line {numbers[-1] if n else 0}"
        raise StoreError(f"{path}: {place}: its header promises {promise}; make the file anew")
    if n > n_promised:
        raise StoreError(
            f"{path}, line {numbers[n_promised]}: needs {n_promised} rows, as its header promises {promise}; "
            f"has {n}; make the file anew"
        )


def parse_rows(
    path: Path, rows: Sequence[str], numbers: Sequence[int], *, n_columns: int, kind: str
) -> FloatArray:
    """Numbers of text rows, shape (len(rows), n_columns).

    Args:
        path: for messages.
        rows: one text per row.
        numbers: the line number of each row, for messages.
        n_columns: how many numbers every row needs.
        kind: the format's name, for messages.

    Raises:
        StoreError: with the line number of the first row that does not hold n_columns numbers.
    """
    if not rows:
        return np.empty((0, n_columns))
    try:
        table = np.loadtxt(rows, ndmin=2, comments=None)
        if table.shape == (len(rows), n_columns):
            return np.asarray(table, dtype=float)
    except ValueError:
        pass
    for number, row in zip(numbers, rows, strict=True):
        if (problem := _problem(row, n_columns)) is not None:
            raise StoreError(f"{path}, line {number}: a {kind} row needs {n_columns} numbers, got {problem}")
    raise StoreError(f"{path}: needs {kind} rows of {n_columns} numbers; write the file again")


def format_rows(table: FloatArray, formats: Sequence[str], *, breaks: Iterable[int] = ()) -> str:
    """Text of a table, one row per line, with an empty line before each row in `breaks`.

    Args:
        table: shape (n_rows, n_columns).
        formats: a % format per column.
        breaks: row indices.
    """
    pattern = " " + " ".join(formats)
    lines = [pattern % tuple(row) for row in table.tolist()]
    for row in breaks:
        lines[row] = "\n" + lines[row]
    return "\n".join(lines) + ("\n" if lines else "")


def _problem(row: str, n_columns: int) -> str | None:
    words = row.split()
    if len(words) != n_columns:
        return f"{len(words)} words"
    for word in words:
        try:
            float(word)
        except ValueError:
            return f"'{word}'"
    return None
