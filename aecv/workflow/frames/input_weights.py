"""Weights of a user's frames: from a column of numbers, of their logarithms, or of the bias of a run."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import SamplingError, SettingsError
from aecv.ground.files import is_file, sha256, why_no_file
from aecv.ground.units import BOLTZMANN_KJ_MOL_K
from aecv.numerics.free_energy.weights import effective_sample_size
from aecv.results.formats.user_tables import UserTable, is_time, read_user_table

logger = logging.getLogger(__name__)

KJ_MOL = {"kJ/mol": 1.0, "kcal/mol": 4.184, "eV": 96.48533212331}
"""Units of a bias [kJ/mol]."""
BIAS_UNITS = (*KJ_MOL, "kT")
_BIASES = ("bias", "rbias")
_ALONE = "give a file of one column without times, a row per frame"


@dataclass(frozen=True, kw_only=True, eq=False)
class Weights:
    """Statistical weights of frames: where their numbers are, and what these mean.

    A row belongs to the frame with its time where both have time stamps (a column named `time`), else rows
    and frames follow each other. What stands in `bias` gives w = exp(+(V_1 + V_2 + ...) / kT).

    Attributes:
        source: a file (text, COLVAR, .csv, .xvg, .npy, .npz), or an array of shape (n,).
        column: name of the column, or its number from 1; needed where the file has several.
        bias: columns that hold a bias in place of weights; taken together.
        is_log: whether the numbers are ln w.
        bias_unit: "kJ/mol", "kcal/mol", "eV" or "kT".
        temperature_k: of the biased run, for kT; None for the system's dynamics.temperature_k.

    Raises:
        SettingsError: when these contradict each other.

    Example:
        >>> import aecv
        >>> weights = aecv.Weights(source="COLVAR", bias=["opes.bias"], bias_unit="kJ/mol")
        >>> frames = aecv.FrameFiles(trajectories="traj.xtc", weights=weights)
    """

    source: "Path | str | ArrayLike"
    column: str | int | None = None
    bias: Sequence[str | int] = ()
    is_log: bool = False
    bias_unit: str = "kJ/mol"
    temperature_k: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.bias, str):
            object.__setattr__(self, "bias", tuple(part.strip() for part in self.bias.split(",")))
        if self.bias and (self.column is not None or self.is_log):
            raise SettingsError(
                "weights: a bias gives the weights alone; name no column of weights or log weights beside it"
            )
        if self.bias_unit not in BIAS_UNITS:
            raise SettingsError(f"weights: a bias has one of {', '.join(BIAS_UNITS)}, got '{self.bias_unit}'")
        if self.temperature_k is not None and not 0 < self.temperature_k < np.inf:
            raise SettingsError(f"weights: needs a temperature above 0 K, got {self.temperature_k:g}")
        if not self.bias and (self.bias_unit != "kJ/mol" or self.temperature_k is not None):
            raise SettingsError("weights: a unit and a temperature are of a bias; name its column too")

    @property
    def path(self) -> Path | None:
        """The file; None for an array."""
        return Path(self.source) if isinstance(self.source, (str, Path)) else None

    @property
    def name(self) -> str:
        """What messages call it."""
        return "weights" if self.path is None else str(self.path)

    def identity(self) -> dict[str, str]:
        """What a run that begins with them depends on.

        Raises:
            SamplingError: without the file.
        """
        said: dict[str, str] = {}
        if self.path is not None:
            if not is_file(self.path):
                raise SamplingError(f"{self.path}: needs a file, {why_no_file(self.path)}")
            said["weights"] = sha256(self.path)
        else:
            from aecv.models.cvs.description import array_hash

            said["weights"] = array_hash(np.asarray(self.source, dtype=float))
        # nothing more for a plain file of weights: runs that began with one go on
        if self.column is not None:
            said["weights column"] = str(self.column)
        if self.is_log:
            said["weights are"] = "logarithms"
        if self.bias:
            temperature = "" if self.temperature_k is None else f" at {self.temperature_k:g} K"
            said["weights bias"] = f"{','.join(map(str, self.bias))} [{self.bias_unit}]{temperature}"
        return said


WeightsLike = Weights | Path | str | NDArray
"""What says where weights are: a file of one column, an array, or `Weights`."""


def as_weights(given: "Weights | Path | str | ArrayLike") -> Weights:
    """`Weights` of whatever names them."""
    return given if isinstance(given, Weights) else Weights(source=given)


def check_weights(weights: Weights) -> None:
    """Read the numbers, before hours are spent on what comes before they are used.

    Raises:
        SamplingError: for a file that cannot be read or lacks the column.
    """
    _chosen(weights, _table(weights))


def frame_weights(
    weights: Weights,
    *,
    kept: IntArray,
    times_ps: FloatArray,
    temperature_k: float,
    observables: Mapping[str, FloatArray] = MappingProxyType({}),
) -> FloatArray:
    """Weights of frames, sum 1, shape (n_kept,).

    Args:
        weights: where they are.
        kept: numbers of the frames that count among those that were read, shape (n_kept,).
        times_ps: of all frames that were read [ps], NaN where they have none, shape (n_read,).
        temperature_k: for kT of a bias, unless the weights name their own.
        observables: of the frames that count, name -> shape (n_kept,) [nm or rad]; a column of the file
            that has the name of one and other values is warned of: it may be the file of other frames.

    Raises:
        SamplingError: when they are not one number per frame, finite, not negative and not all zero.
    """
    table = _table(weights)
    columns = _chosen(weights, table)
    rows = rows_of_frames(table, len(columns[0]), kept=kept, times_ps=times_ps, what="weight")
    numbers = np.stack(columns)[:, rows]
    _compare(table, rows, observables)
    if not weights.bias and not weights.is_log:
        return _normalised(weights, numbers[0])
    logarithms = _energies(weights, numbers, temperature_k).sum(axis=0) if weights.bias else numbers[0]
    # a weight may be 0, a bias is a number
    fits = ~np.isnan(logarithms) & (logarithms < np.inf) & ((logarithms > -np.inf) | (not weights.bias))
    if not fits.all() or not np.isfinite(logarithms).any():
        what = "a bias that is finite" if weights.bias else "logarithms of weights that are finite or -inf"
        raise SamplingError(f"{weights.name}: needs {what}; {_extent(logarithms, fits)}")
    # the largest is 1: exp of a bias of 2000 kT overflows
    return _normalised(weights, np.exp(logarithms - logarithms.max()))


def _compare(table: UserTable | None, rows: IntArray, observables: Mapping[str, FloatArray]) -> None:
    """Warn of columns that are called like an observable and have other values than it."""
    if table is None or not table.is_named:
        return
    other = []
    for name, values in observables.items():
        if name in table.columns and len(table.columns[name]) > rows.max():
            apart = np.abs(table.columns[name][rows] - values)
            apart = np.minimum(apart, np.abs(2.0 * np.pi - apart))  # of an angle, through the seam
            width = np.abs(values - np.median(values))
            # coordinates of 0.001 nm give an angle to 0.02 rad; of other frames this is 1.4 widths
            if np.median(apart) > 0.03 + 0.3 * np.median(width):
                other.append(f"{name} (by {np.median(apart):.2g})")
    if other:
        logger.warning(
            "%s: most of its values of %s differ from those of the frames; is it the file of these frames, "
            "in nm and radians?",
            table.path, " and ".join(other),
        )  # fmt: skip


def frame_column(path: Path, name: str | None, *, kept: IntArray, times_ps: FloatArray) -> FloatArray:
    """A number per frame from a file, by time or row by row as `frame_weights`; shape (n_kept,).

    Args:
        path: the file.
        name: of the column, or its number; None for the only one.
        kept, times_ps: as there.

    Raises:
        SamplingError: as there; the numbers may be any.
    """
    table = read_user_table(path)
    values = _only(table, "FILE:COLUMN") if name is None else table.column(name)
    return values[rows_of_frames(table, len(values), kept=kept, times_ps=times_ps, what="number")]


def rows_of_frames(
    table: UserTable | None, n_rows: int, *, kept: IntArray, times_ps: FloatArray, what: str
) -> IntArray:
    """Numbers of the rows that belong to frames, shape (n_kept,).

    By time stamps where both have them: a row that a restart wrote again counts in its last version. Row by
    row where the rows have the times of all frames, or one of the two has none.

    Raises:
        SamplingError: when there is no row for a frame, or more than one that may be meant.
    """
    name = "weights" if table is None else str(table.path)
    row_times = None if table is None else table.time_ps
    if row_times is not None and len(row_times) != n_rows:
        row_times = None  # of an .npz: the times of something else
    is_timed = row_times is not None and np.isfinite(times_ps[kept]).all()
    if row_times is None or not is_timed:
        if n_rows != len(times_ps):
            raise SamplingError(_wrong_count(table, what, n_rows, len(times_ps), len(kept)))
        return kept
    if not np.isfinite(row_times).all():
        raise SamplingError(
            f"{name}: needs finite times, that of row {int(np.argmin(np.isfinite(row_times)))} is not"
        )
    if n_rows == len(times_ps) and np.all(np.abs(row_times - times_ps) <= _tolerance(row_times, times_ps)):
        return kept
    return _by_time(name, row_times, times_ps[kept], what)


def _by_time(name: str, row_times: FloatArray, frame_times: FloatArray, what: str) -> IntArray:
    cuts = np.flatnonzero(np.diff(row_times) <= 0) + 1
    begins = row_times[np.concatenate([[0], cuts])]
    if np.any(begins[1:] <= begins[0]) and len(cuts):
        raise SamplingError(
            f"{name}: its times begin again at {begins[1:].min():g} ps, as those of several runs, of which a "
            f"time does not tell the frame; {_ALONE}"
        )
    if len(np.unique(frame_times)) != len(frame_times):
        raise SamplingError(
            f"{name}: needs frames of different times to find their {what}s, several have the same; {_ALONE}"
        )
    # stable: of equal times the last row comes last
    order = np.argsort(row_times, kind="stable")
    times, tolerance = row_times[order], _tolerance(row_times, frame_times)
    at = np.searchsorted(times, frame_times + tolerance, side="right") - 1
    missing = (at < 0) | (np.abs(times[np.maximum(at, 0)] - frame_times) > tolerance)
    if missing.any():
        first = float(frame_times[missing][0])
        raise SamplingError(
            f"{name}: needs a {what} at the time of every frame, has none for {int(missing.sum())} of "
            f"{len(frame_times)} (the first at {first:g} ps; rows from {times[0]:g} to {times[-1]:g} ps, "
            f"{_spacing(times):g} ps apart); take the frames that it covers, or, where each row "
            f"belongs to the frame of its place, {_ALONE}"
        )
    n_again = int(np.sum(np.diff(times) <= tolerance))
    again = f"; of {n_again} that a restart wrote again the last" if n_again else ""
    logger.info(
        "%s: %d of its %d rows belong to the frames by time, %g to %g ps%s",
        name, len(frame_times), len(row_times), frame_times.min(), frame_times.max(), again,
    )  # fmt: skip
    return order[at]


def _spacing(times: FloatArray) -> float:
    steps = np.diff(np.unique(times))
    return float(np.median(steps)) if len(steps) else 1.0


def _tolerance(row_times: FloatArray, frame_times: FloatArray) -> float:
    """Below which two times are one [ps]: rows have six digits behind the point, frames single precision."""
    largest = float(np.abs(frame_times).max(initial=0.0))
    return min(1e-3 * _spacing(row_times) + 2e-7 * largest, 0.4 * _spacing(row_times))


def _table(weights: Weights) -> UserTable | None:
    if weights.path is None:
        return None
    table = read_user_table(weights.path)
    if table.n_cut:
        logger.warning("%s: its last row has no line end, it was being written; it is left out", table.path)
    return table


def _chosen(weights: Weights, table: UserTable | None) -> list[FloatArray]:
    """The columns that are meant."""
    if table is None:
        values = np.asarray(weights.source)
        if values.ndim != 1 or values.dtype.kind not in "fiub":
            raise SamplingError(f"weights: needs numbers of shape (n,), got {values.dtype} of {values.shape}")
        return [values.astype(float)]
    if weights.bias:
        return [table.column(str(name)) for name in weights.bias]
    if weights.column is not None:
        name = table.name_of(str(weights.column))
        if table.is_named and is_time(name):
            raise SamplingError(f"{table.path}: needs weights, its column {weights.column} is '{name}'")
        return [table.columns[name]]
    return [_only(table, "--weights-column", bias="--bias-column")]


def _only(table: UserTable, choice: str, *, bias: str | None = None) -> FloatArray:
    """The only column, or why it is not known which is meant.

    Args:
        choice: how a column is named.
        bias: how a column that holds a bias is named; None where any column will do.
    """
    names = list(table.columns)
    biases = [name for name in names if name.rpartition(".")[2].lower() in _BIASES] if table.is_named else []
    if len(names) > 1:
        way = choice if table.is_named else f"{choice}, counted from 1"
        or_bias = f", or a bias ({', '.join(biases[-3:])}) with {bias}" if bias and biases else ""
        raise SamplingError(
            f"{table.path}: needs one column, has {table.listed}; say which with {way}{or_bias}"
        )
    if bias and (biases or table.time_ps is not None):
        advice = f"give a bias with {bias}" if biases else "give those of the frames"
        raise SamplingError(f"{table.path}: needs weights, its only column is named {names[0]}; {advice}")
    return table.columns[names[0]]


def _wrong_count(table: UserTable | None, what: str, n_rows: int, n_frames: int, n_kept: int) -> str:
    text = f"{'weights' if table is None else table.path}: needs a {what} for each of {n_frames} frames"
    text += f", before any of them is left out, has {n_rows}" if n_kept < n_frames else f", has {n_rows}"
    if table is not None and table.time_ps is not None:
        return f"{text}; its times help where the trajectory has time stamps too (.xtc, .trr), this has none"
    if table is not None and len(table.columns) > 1 and not table.is_named:
        return f"{text}; where a column of it is the time, name the columns in a first line (time weight)"
    return text


def _energies(weights: Weights, numbers: FloatArray, temperature_k: float) -> FloatArray:
    """V / kT."""
    if weights.bias_unit == "kT":
        return numbers
    kt = BOLTZMANN_KJ_MOL_K * (temperature_k if weights.temperature_k is None else weights.temperature_k)
    return numbers * (KJ_MOL[weights.bias_unit] / kt)


def _normalised(weights: Weights, numbers: FloatArray) -> FloatArray:
    if not np.isfinite(numbers).all() or numbers.min(initial=0.0) < 0 or numbers.max(initial=0.0) == 0:
        raise SamplingError(
            f"{weights.name}: needs weights that are finite, not negative and not all zero; "
            f"{_extent(numbers, np.isfinite(numbers) & (numbers >= 0))}"
        )
    shares = numbers / numbers.max()  # sums of numbers near 1e308 overflow
    shares = np.asarray(shares / shares.sum())
    logger.info(
        "%s: %d weights, %.1f effective frames", weights.name, len(shares), effective_sample_size(shares)
    )
    return shares


def _extent(numbers: FloatArray, fits: NDArray[np.bool_]) -> str:
    """Which are wrong."""
    bad = np.flatnonzero(~fits)
    if not len(bad):
        return "all are 0"
    more = f", and {len(bad) - 1} more are wrong" if len(bad) > 1 else ""
    return f"that of frame {bad[0]} is {numbers[bad[0]]:g}{more}"
