"""Free energies on a grid in PLUMED's format, as its sum_hills writes them.

The first field runs fastest and, in two or three dimensions, an empty line stands where it starts again.
For a coordinate that is not periodic min and max are its first and last point and nbins the number of points;
for a periodic one max is min plus the period. Unvisited points hold inf, as PLUMED writes them.

A standard error is a last column named `uncertainty`, as in the block averages of PLUMED's
FES_from_Reweighting.py. It stands behind the derivatives, because programs that count columns look for
these right after the free energy. PLUMED itself refuses a grid with a column that it does not know, so a file
that PLUMED shall read back as a bias goes without.

Sources: PLUMED 2, src/tools/Grid.cpp, src/tools/IFile.cpp and
user-doc/tutorials/others/opes-metad/FES_from_Reweighting.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import StoreError
from aecv.ground.files import write_text
from aecv.ground.shown import Shown
from aecv.results.formats.tables import check_complete, format_rows, parse_rows, read_lines

ERROR_FIELD = "uncertainty"
"""Name of the column of standard errors, PLUMED's."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FesFile(Shown):
    """A free energy read from a file.

    Attributes:
        names: of the coordinates.
        axes: points along every coordinate.
        periodic: per coordinate.
        values: free energy [kJ/mol], shape (n_0, n_1, ...); NaN where the file has inf or nan.
        derivative: dF/ds_c, shape (n_0, n_1, ..., n_dims), or None.
        error: standard error [kJ/mol], shape (n_0, n_1, ...), NaN where the file has inf or nan; or None.
    """

    names: tuple[str, ...]
    axes: tuple[FloatArray, ...]
    periodic: tuple[bool, ...]
    values: FloatArray
    derivative: FloatArray | None
    error: FloatArray | None


def write_fes(
    path: Path,
    axes: Sequence[ArrayLike],
    values: ArrayLike,
    names: Sequence[str],
    periodic: Sequence[bool],
    derivative: ArrayLike | None = None,
    *,
    error: ArrayLike | None = None,
    field: str = "file.free",
) -> None:
    """Write a free energy.

    Args:
        path: usually fes.dat.
        axes: evenly spaced points (bin centres) per coordinate, each of shape (n_c,).
        values: free energy [kJ/mol], shape (n_0, n_1, ...) or flat in C order; NaN where unknown.
        names: of the coordinates.
        periodic: per coordinate; a periodic axis covers one period without repeating its end.
        derivative: dF/ds_c, shape (n_0, n_1, ..., n_dims) or (size, n_dims); written as der_NAME.
        error: standard error of F [kJ/mol], shape (n_0, n_1, ...) or flat; NaN (written as inf) if unknown.
        field: the name of the free energy; PLUMED's sum_hills calls it file.free.

    Raises:
        StoreError: when shapes do not fit, an axis is not even, or the file cannot be written.
    """
    points = [np.asarray(axis, dtype=float) for axis in axes]
    shape, size = tuple(len(axis) for axis in points), int(np.prod([len(axis) for axis in points]))
    if not len(points) == len(names) == len(periodic) or np.size(values) != size:
        raise StoreError(
            f"{path}: a fes file needs a name and a flag per axis and {size} values, got {len(names)} names, "
            f"{len(periodic)} flags and {np.size(values)} values for {len(points)} axes"
        )
    columns = [*np.meshgrid(*points, indexing="ij"), _fitting(path, field, values, shape)]
    labels = [*names, field]
    if derivative is not None:
        parts = _fitting(path, "derivative", derivative, (*shape, len(points)))
        columns += [parts[..., dim] for dim in range(len(points))]
        labels += [f"der_{name}" for name in names]
    if error is not None:
        columns.append(_fitting(path, "error", error, shape))
        labels.append(ERROR_FIELD)
    header = f"#! FIELDS {' '.join(labels)}\n"
    for name, axis, is_periodic in zip(names, points, periodic, strict=True):
        header += _axis_header(path, name, axis, is_periodic)
    breaks = range(shape[0], size, shape[0]) if len(points) > 1 else ()
    formats = ["%14.9f"] * len(points) + ["%.10g"] * (len(columns) - len(points))
    table = np.stack([column.ravel(order="F") for column in columns], axis=1)
    write_text(path, header + format_rows(table, formats, breaks=breaks))


def read_fes(path: Path) -> FesFile:
    """Read what `write_fes` or PLUMED wrote.

    Raises:
        StoreError: when the file is missing, its header is incomplete, it is cut off, or its rows do not fill
            the grid that the header tells.
    """
    fields: list[str] = []
    constants: dict[str, str] = {}
    rows: list[tuple[int, str]] = []
    for number, line in enumerate(read_lines(path, kind="fes"), start=1):
        words = line.split()
        if words[:2] == ["#!", "FIELDS"]:
            fields = words[2:]
        elif words[:2] == ["#!", "SET"] and len(words) == 4:
            constants[words[2]] = words[3]
        elif words and not words[0].startswith("#"):
            rows.append((number, line))
    names = tuple(name for name in fields if f"nbins_{name}" in constants)
    if not names or len(fields) <= len(names):
        raise StoreError(f"{path}: a fes file needs '#! FIELDS' and '#! SET nbins_NAME' lines, got {fields}")
    numbers = [number for number, _ in rows]
    table = parse_rows(path, [text for _, text in rows], numbers, n_columns=len(fields), kind="fes")
    axes = tuple(np.unique(table[:, dim]) for dim in range(len(names)))
    periodic = tuple(constants.get(f"periodic_{name}") == "true" for name in names)
    shape = tuple(
        _promised(path, name, axis, constants, periodic=flag)
        for name, axis, flag in zip(names, axes, periodic, strict=True)
    )
    check_complete(path, numbers, int(np.prod(shape)), f"{' x '.join(map(str, shape))} points")
    if tuple(len(axis) for axis in axes) != shape:
        raise StoreError(
            f"{path}: needs the {' x '.join(map(str, shape))} points that its header tells, once each, has "
            f"{' and '.join(map(str, map(len, axes)))} different values of {' and '.join(names)}"
        )
    column = len(names)
    table[:, column:] = np.where(np.isfinite(table[:, column:]), table[:, column:], np.nan)
    named = {
        name: table[:, index].reshape(shape, order="F") for index, name in enumerate(fields) if index > column
    }
    parts = [named[f"der_{name}"] for name in names if f"der_{name}" in named]
    return FesFile(
        names=names,
        axes=axes,
        periodic=periodic,
        values=table[:, column].reshape(shape, order="F"),
        derivative=np.stack(parts, axis=-1) if len(parts) == len(names) else None,
        error=named.get(ERROR_FIELD),
    )


def _promised(
    path: Path, name: str, axis: FloatArray, constants: Mapping[str, str], *, periodic: bool
) -> int:
    """Points along an axis that the header tells: nbins, or one more where nbins counts intervals.

    Old versions of sum_hills count intervals; where an axis ends, at its max, tells which it is.
    """
    try:
        n = int(constants[f"nbins_{name}"])
        lower, upper = (_bound(constants[f"{end}_{name}"]) for end in ("min", "max"))
    except (KeyError, ValueError) as error:
        raise StoreError(
            f"{path}: needs '#! SET' lines with numbers for nbins_{name}, min_{name} and max_{name}, got "
            f"{error}"
        ) from error
    if periodic or n < 1 or len(axis) < 2:
        return n
    spacing = float(np.median(np.diff(axis)))
    return n + 1 if abs(lower + n * spacing - upper) < 0.5 * spacing else n


def _bound(text: str) -> float:
    """A number, or pi with its sign, as PLUMED writes them."""
    return {"pi": np.pi, "-pi": -np.pi}.get(text) or float(text)


def edges_of(centers: FloatArray) -> FloatArray:
    """Edges of even bins from their centres, shape (n,) -> (n + 1,)."""
    half = 0.5 * (centers[1] - centers[0])
    return np.append(centers - half, centers[-1] + half)


def _axis_header(path: Path, name: str, axis: FloatArray, periodic: bool) -> str:
    steps = np.diff(axis)
    if len(axis) < 2 or steps.min() <= 0 or np.ptp(steps) > 1e-6 * steps.mean():
        raise StoreError(f"{path}: axis '{name}' needs at least 2 evenly spaced increasing points")
    upper = axis[0] + len(axis) * steps.mean() if periodic else axis[-1]
    return (
        f"#! SET min_{name} {axis[0]:.10g}\n#! SET max_{name} {upper:.10g}\n"
        f"#! SET nbins_{name} {len(axis)}\n#! SET periodic_{name} {'true' if periodic else 'false'}\n"
    )


def _fitting(path: Path, what: str, values: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """An array in the shape of the grid, with inf where it is unknown."""
    array = np.asarray(values, dtype=float)
    if array.size != int(np.prod(shape)):
        raise StoreError(f"{path}: {what} needs shape {shape} or as many values, got shape {array.shape}")
    return np.where(np.isnan(array), np.inf, array).reshape(shape)
