"""Samples, gradients and free energies on a CV grid in Colvars' multicolumn format (.count, .grad, .pmf).

A header gives per dimension the lower boundary, bin width, number of bins and whether it is periodic; then a
row per bin holds its centre and its values, the last dimension fastest, with an empty line before each start
of the last dimension. Source: Colvars, src/colvargrid_def.h (read_multicol, write_multicol).
"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError, StoreError
from aecv.ground.files import write_text
from aecv.ground.grid import Grid
from aecv.results.formats.tables import check_complete, format_rows, parse_rows, read_lines


def write_count(path: Path, grid: Grid, counts: ArrayLike) -> None:
    """Write samples per bin, shape (size,); as `write_multicolumn`."""
    write_multicolumn(path, grid, np.asarray(counts)[:, None], integers=True)


def write_gradient(path: Path, grid: Grid, gradient: ArrayLike) -> None:
    """Write a gradient [kJ/mol/CV], shape (size, n_dims); NaN becomes 0, Colvars' value of unvisited bins."""
    write_multicolumn(path, grid, np.nan_to_num(np.asarray(gradient, dtype=float)))


def write_pmf(path: Path, grid: Grid, values: ArrayLike) -> None:
    """Write a free energy at the bin centres [kJ/mol], shape (size,); NaN becomes inf.

    Colvars' own .pmf files have their points at bin edges and no empty bins; theirs and these are read by
    the same tools, but one cannot be a restart file of the other.
    """
    free_energy = np.asarray(values, dtype=float)
    write_multicolumn(path, grid, np.where(np.isnan(free_energy), np.inf, free_energy)[:, None])


def write_multicolumn(
    path: Path,
    grid: Grid,
    values: ArrayLike,
    *,
    integers: bool = False,
) -> None:
    """Write values per bin.

    Args:
        path: where to.
        grid: the bins.
        values: shape (size, n_values), flat in C order.
        integers: whether to write whole numbers.

    Raises:
        GridError: when there is not one row per bin.
        StoreError: when the file cannot be written.
    """
    table = np.asarray(values)
    if table.ndim != 2 or len(table) != grid.size:
        raise GridError(f"{path}: values need shape ({grid.size}, n), got {table.shape}")
    header = f"# {grid.n_dims}\n"
    for lower, width, n_bins, flag in zip(grid.lower, grid.widths, grid.n_bins, grid.periodic, strict=True):
        header += f"# {lower:.17g} {width:.17g} {n_bins:10d}  {int(flag)}\n"
    formats = ["%.14e"] * grid.n_dims + ["%d" if integers else "%.14e"] * table.shape[1]
    rows = format_rows(
        np.hstack([grid.center_points(), table]), formats, breaks=range(0, grid.size, grid.n_bins[-1])
    )
    write_text(path, header + rows)


def read_multicolumn(path: Path) -> tuple[Grid, FloatArray, tuple[bool, ...]]:
    """Read a multicolumn file.

    Returns:
        The grid, the values, shape (size, n_values), flat in C order, inf as NaN; and the periodic flags.

    Raises:
        StoreError: when the file is missing, its header is malformed, or its rows do not fill the grid.
    """
    lines = read_lines(path, kind="Colvars grid")
    header = [line.split()[1:] for line in lines if line.lstrip().startswith("#")]
    try:
        n_dims = int(header[0][0])
        axes = [(float(a), float(b), int(c), bool(int(d))) for a, b, c, d in header[1 : n_dims + 1]]
        if len(axes) != n_dims:
            raise ValueError(f"{len(axes)} axes for {n_dims} dimensions")
        grid = Grid(
            lower=tuple(lower for lower, _, _, _ in axes),
            upper=tuple(lower + width * bins for lower, width, bins, _ in axes),
            n_bins=tuple(bins for _, _, bins, _ in axes),
            periodic=tuple(flag for _, _, _, flag in axes),
        )
    except (IndexError, ValueError, GridError) as error:
        raise StoreError(
            f"{path}: needs the Colvars header '# n' and n lines '# lower width bins periodic', got: {error}"
        ) from error
    rows = [
        (k, line) for k, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")
    ]
    numbers, texts = [number for number, _ in rows], [text for _, text in rows]
    check_complete(path, numbers, grid.size, f"{' x '.join(map(str, grid.n_bins))} bins")
    n_columns = max(len(texts[0].split()), grid.n_dims + 1)
    table = parse_rows(path, texts, numbers, n_columns=n_columns, kind="Colvars grid")
    if np.abs(table[:, : grid.n_dims] - grid.center_points()).max() > 1e-3 * grid.widths.min():
        raise StoreError(
            f"{path}: needs the bins in order, last dimension fastest; this file has another order"
        )
    values = table[:, grid.n_dims :]
    return grid, np.where(np.isfinite(values), values, np.nan), grid.periodic
