"""Time series in PLUMED's COLVAR format: `#! FIELDS time phi ...` and one row per frame.

Source: the PLUMED manual, actions PRINT and READ; https://www.plumed.org/doc
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import StoreError
from aecv.ground.files import write_text
from aecv.results.formats.tables import format_rows, parse_rows, read_lines


def write_colvar(path: Path, columns: Mapping[str, ArrayLike], *, periodic: Collection[str] = ()) -> None:
    """Write named series of equal length.

    Args:
        path: usually colvar.dat.
        columns: per name an array of shape (n,); PLUMED tools want the first to be time [ps].
        periodic: names with a period of 2 pi, for which the header gets min_NAME and max_NAME.

    Raises:
        StoreError: for no columns, unequal lengths, a name with a space, or when the file cannot be written.
    """
    arrays = {name: np.asarray(values, dtype=float) for name, values in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not arrays or len(set(shapes.values())) != 1 or any(array.ndim != 1 for array in arrays.values()):
        raise StoreError(f"{path}: a COLVAR file needs columns of one length, got {shapes}")
    if bad := [name for name in arrays if len(name.split()) != 1]:
        raise StoreError(f"{path}: names of COLVAR fields need to be single words, got {bad}")
    header = f"#! FIELDS {' '.join(arrays)}\n"
    header += "".join(f"#! SET min_{n} -pi\n#! SET max_{n} pi\n" for n in arrays if n in periodic)
    # Ten digits: time to 1 fs over 1 ms, weights and xi far below their statistical error.
    table = np.stack(list(arrays.values()), axis=1)
    write_text(path, header + format_rows(table, ["%.10g"] * table.shape[1]))


def read_colvar(path: Path) -> dict[str, FloatArray]:
    """Read every field of a COLVAR file.

    A header that comes again, as after a restart of PLUMED, is skipped when it names the same fields.

    Returns:
        Per field an array of shape (n,), in the order of the header.

    Raises:
        StoreError: with the line, when the file is missing, has no FIELDS header, changes its fields, is cut
            off within a row, or has a row that does not hold one number per field.
    """
    fields: list[str] = []
    rows: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(read_lines(path, kind="COLVAR"), start=1):
        words = line.split()
        if words[:2] == ["#!", "FIELDS"]:
            if fields and words[2:] != fields:
                raise StoreError(
                    f"{path}, line {number}: needs the same fields throughout ({' '.join(fields)}), got "
                    f"{' '.join(words[2:])}; split the file"
                )
            fields = words[2:]
        elif words and not words[0].startswith("#"):
            rows.append(line)
            numbers.append(number)
    if not fields:
        raise StoreError(f"{path}: a COLVAR file needs a line '#! FIELDS time ...', found none")
    if len(set(fields)) != len(fields):
        raise StoreError(f"{path}: a COLVAR file needs fields of different names, got {' '.join(fields)}")
    table = parse_rows(path, rows, numbers, n_columns=len(fields), kind="COLVAR")
    return {name: table[:, column] for column, name in enumerate(fields)}
