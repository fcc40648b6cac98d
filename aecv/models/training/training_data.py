"""Frames made ready for training: aligned, standardised, split into training and validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import TrainingError
from aecv.ground.seeds import generator
from aecv.ground.settings import TrainingSettings
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.networks.model import Needs
from aecv.numerics.kernels.encoder import MOST_NUMBERS, align, chunks

MIN_FRAMES = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Training data: rows of a table, standardised when read: x = (y - mean) / scale, mean square of x 1.

    One scale for all coordinates leaves the metric of the loss as it is. Replicas share one table, each with
    its own rows, mean and scale.

    Attributes:
        table: aligned coordinates y [nm], shape (n, D); float32 where it is large.
        rows: of the table, in the order of time, shape (F,).
        weights: positive, shape (F,).
        held_out: frames for validation, shape (F,).
        mean: weighted mean of the aligned coordinates [nm], shape (D,).
        scale: root of the weighted variance averaged over coordinates [nm].
        later: row of the table a lag later than a row, shape (n,); None where the model needs none.
        columns: name -> numbers of each row of the table, shape (n, q); those that the model needs.
    """

    table: NDArray[np.floating]
    rows: IntArray
    weights: FloatArray
    held_out: BoolArray
    mean: FloatArray
    scale: float
    later: IntArray | None = None
    columns: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def variance(self) -> float:
        """Summed over coordinates [nm^2]."""
        return float(self.scale**2 * self.n_inputs)

    @property
    def n_inputs(self) -> int:
        return int(self.table.shape[1])

    def x(self, chosen: Any = slice(None)) -> NDArray[np.float32]:
        """Standardised coordinates of some of the frames, shape (n, D)."""
        return self.at(self.rows[chosen])

    def at(self, rows: IntArray) -> NDArray[np.float32]:
        """Those of rows of the table."""
        return ((self.table[rows] - self.mean) / self.scale).astype(np.float32)

    def parts(self) -> list[slice]:
        """Slices of the frames, of which each is small enough to be copied in float64."""
        return chunks(len(self.rows), self.n_inputs)


def prepare_replicas(
    frames: FrameTable,
    reference: ArrayLike,
    *,
    replicas: Sequence[IntArray],
    training: TrainingSettings,
    seeds: Sequence[int],
    needs: Needs = Needs(),  # noqa: B008 (frozen)
) -> list[Frames]:
    """Check, align and standardise frames, and choose the validation blocks; all replicas share one table.

    Args:
        frames, reference, replicas, training, seeds: as `train_replicas`.
        needs: what the model needs of them; frames without what it needs are left out.

    Raises:
        TrainingError: as `train_replicas`.
    """
    w = _checked(frames, reference)
    later = _later(frames, needs)
    usable = (w > 0) & (later >= 0)
    if usable.sum() < MIN_FRAMES:
        raise TrainingError(
            f"training: needs >= {MIN_FRAMES} frames with positive weight, got {usable.sum()}; "
            "give it more frames"
        )
    used = np.union1d(frames.index[usable], later[usable])
    own = frames.positions if len(used) == len(frames.positions) else frames.positions[used]
    _check_finite(own)
    is_large = own.size > MOST_NUMBERS  # rounding to float32, 1e-7 nm, is far below what moves
    y = align(reference, own, np.float32 if is_large else np.float64).reshape(len(used), -1)
    place = np.full(len(frames.positions), -1)
    place[used] = np.arange(len(used))
    after = np.full(len(used), -1)
    after[place[frames.index[usable]]] = place[later[usable]]
    extra: dict[str, Any] = {
        "later": after if needs.lag_ps else None,
        "columns": {name: _column(frames.columns[name][used]) for name in needs.columns},
    }
    result = []
    for replica, seed in zip(replicas, seeds, strict=True):
        chosen = replica[usable[replica]]
        found = _standardised(y, place[frames.index[chosen]], w[chosen], training, seed)
        result.append(replace(found, **extra))
    return result


def _later(frames: FrameTable, needs: Needs) -> IntArray:
    """Row of each frame's later one, or of itself where the model asks for none.

    Raises:
        TrainingError: when the frames lack what the model needs.
    """
    missing = [name for name in needs.columns if name not in frames.columns]
    if missing:
        raise TrainingError(
            f"training: the model needs the column '{missing[0]}' of its frames, there is "
            f"{', '.join(frames.columns) or 'none'}; give it as an observable or a file of numbers"
        )
    if not needs.lag_ps:
        return frames.index
    later = frames.lagged(needs.lag_ps)
    if not np.any(later >= 0):
        known = (
            f"times are {frames.spacing_ps:g} ps apart"
            if frames.spacing_ps > 0
            else "no times of unbiased dynamics are known"
        )
        raise TrainingError(
            f"training: the model needs pairs of frames {needs.lag_ps:g} ps apart on one unbroken, unbiased "
            f"trajectory, there is none ({known}); bring such frames, or choose another lag"
        )
    return later


def _column(values: FloatArray) -> NDArray[np.float32]:
    """Shape (n, q)."""
    return values.reshape(len(values), -1).astype(np.float32)


def block_bootstrap(n_frames: int, n_blocks: int, rng: np.random.Generator) -> IntArray:
    """Indices of a resampled data set: as many contiguous blocks as there are, drawn with replacement.

    A block stands for what is independent of the others; frames inside one are not. The order of time is
    kept, so that copies of a frame are neighbours and contiguous validation blocks stay apart from the rest.

    Returns:
        sorted indices, about n_frames of them.

    Source: Carlstein, Ann. Stat. 14, 1171 (1986), doi:10.1214/aos/1176350057 (blocks without overlap).
    """
    n_blocks = min(n_blocks, n_frames)
    copies = np.bincount(rng.integers(n_blocks, size=n_blocks), minlength=n_blocks)
    return np.repeat(np.arange(n_frames), copies[np.arange(n_frames) * n_blocks // n_frames])


def validation_blocks(n_frames: int, n_blocks: int, fraction: float, rng: np.random.Generator) -> BoolArray:
    """Frames held out: contiguous blocks, one drawn from each of round(fraction n_blocks) groups of blocks.

    Neighbours in time are alike, so shuffled frames would hide overfitting; one block per group spreads
    them over walkers and iterations.

    Returns:
        shape (n_frames,), True where held out.
    """
    n_blocks = min(n_blocks, n_frames)
    n_held_out = min(max(round(fraction * n_blocks), 1), n_blocks - 1)
    chosen = [rng.choice(group) for group in np.array_split(np.arange(n_blocks), n_held_out)]
    return np.isin(np.arange(n_frames) * n_blocks // n_frames, chosen)


def systematic_resample(cumulative: FloatArray, n: int, rng: np.random.Generator) -> IntArray:
    """n indices in random order, index i about n w_i / sum w times."""
    marks = (np.arange(n) + rng.random()) / n * cumulative[-1]
    return rng.permutation(np.minimum(np.searchsorted(cumulative, marks, side="right"), len(cumulative) - 1))


def _standardised(
    y: NDArray[np.floating],
    rows: IntArray,
    w: FloatArray,
    training: TrainingSettings,
    seed: int,
) -> Frames:
    w = w / w.sum()
    parts = chunks(len(rows), y.shape[1])
    mean = np.sum([w[part] @ y[rows[part]] for part in parts], axis=0)
    squares = np.sum([w[part] @ (y[rows[part]] - mean) ** 2 for part in parts], axis=0)
    scale = float(np.sqrt(np.mean(squares)))
    if not scale > 1e-9:
        raise TrainingError(
            f"training: coordinates need to vary, got a spread of {scale:.1e} nm after alignment"
        )
    held_out = validation_blocks(
        len(rows),
        training.validation_blocks,
        training.validation_fraction,
        generator(seed, "training", "blocks"),
    )
    return Frames(table=y, rows=rows, weights=w, held_out=held_out, mean=mean, scale=scale)


def _checked(frames: FrameTable, reference: ArrayLike) -> FloatArray:
    """Weights of the chosen frames, shape (F,)."""
    shape, w = np.shape(frames.positions), np.asarray(frames.weights, dtype=float)
    n_atoms = len(np.asarray(reference)) or (shape[1] if len(shape) == 3 else 1)
    n_frames = shape[0] if frames.rows is None and shape else len(frames.index)
    if len(shape) != 3 or shape[1:] != (n_atoms, 3) or w.shape != (n_frames,):
        raise TrainingError(
            f"training: needs coordinates (F, {n_atoms}, 3) and weights (F,), got {shape} and {w.shape}"
        )
    if not np.all(np.isfinite(w)) or np.any(w < 0):
        raise TrainingError("training: weights need to be finite and not negative; check the free energy")
    return w


def _check_finite(positions: NDArray[np.floating]) -> None:
    bad = ~np.all(np.isfinite(positions), axis=(1, 2))
    if bad.any():
        raise TrainingError(
            f"training: coordinates need to be finite, got NaN or infinity in {bad.sum()} of "
            f"{len(positions)}; the simulation exploded, or a trajectory file is damaged"
        )
