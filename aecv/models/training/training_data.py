"""Frames made ready for training: aligned, standardised, split into training and validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import TrainingError
from aecv.ground.seeds import generator
from aecv.ground.settings import TrainingSettings
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
    """

    table: NDArray[np.floating]
    rows: IntArray
    weights: FloatArray
    held_out: BoolArray
    mean: FloatArray
    scale: float

    @property
    def variance(self) -> float:
        """Summed over coordinates [nm^2]."""
        return float(self.scale**2 * self.n_inputs)

    @property
    def n_inputs(self) -> int:
        return int(self.table.shape[1])

    def x(self, chosen: Any = slice(None)) -> NDArray[np.float32]:
        """Standardised coordinates of some of the frames, shape (n, D)."""
        return ((self.table[self.rows[chosen]] - self.mean) / self.scale).astype(np.float32)

    def parts(self) -> list[slice]:
        """Slices of the frames, of which each is small enough to be copied in float64."""
        return chunks(len(self.rows), self.n_inputs)


def prepare(
    coordinates: ArrayLike,
    weights: ArrayLike,
    reference: ArrayLike,
    *,
    training: TrainingSettings,
    seed: int,
) -> Frames:
    """Check, align and standardise frames, and choose the validation blocks; arguments of the training."""
    everything = np.arange(np.shape(coordinates)[0] if np.ndim(coordinates) else 0)
    (frames,) = prepare_replicas(
        coordinates, weights, reference, replicas=[everything], training=training, seeds=[seed]
    )
    return frames


def prepare_replicas(
    coordinates: ArrayLike,
    weights: ArrayLike,
    reference: ArrayLike,
    *,
    replicas: Sequence[IntArray],
    training: TrainingSettings,
    seeds: Sequence[int],
) -> list[Frames]:
    """For every replica what `prepare` gives for coordinates[replica] and weights[replica], aligned once.

    Raises:
        TrainingError: as `train_replicas`.
    """
    positions, w = _checked(coordinates, weights, reference)
    used = np.flatnonzero(w > 0)
    if len(used) < MIN_FRAMES:
        raise TrainingError(
            f"training: needs >= {MIN_FRAMES} frames with positive weight, got {len(used)}; "
            "give it more frames"
        )
    own = positions if len(used) == len(w) else positions[used]
    _check_finite(own)
    is_large = own.size > MOST_NUMBERS  # rounding to float32, 1e-7 nm, is far below what moves
    y = align(reference, own, np.float32 if is_large else np.float64).reshape(len(used), -1)
    row = np.cumsum(w > 0) - 1
    result = []
    for replica, seed in zip(replicas, seeds, strict=True):
        chosen = replica[w[replica] > 0]
        result.append(_standardised(y, row[chosen], w[chosen], training, seed))
    return result


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
    y: NDArray[np.floating], rows: IntArray, w: FloatArray, training: TrainingSettings, seed: int
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


def _checked(
    coordinates: ArrayLike, weights: ArrayLike, reference: ArrayLike
) -> tuple[NDArray[np.floating], FloatArray]:
    positions, w = np.asarray(coordinates), np.asarray(weights, dtype=float)
    n_atoms = len(np.asarray(reference)) or (positions.shape[1] if positions.ndim == 3 else 1)
    if positions.ndim != 3 or positions.shape[1:] != (n_atoms, 3) or w.shape != (len(positions),):
        raise TrainingError(
            f"training: needs coordinates (F, {n_atoms}, 3) and weights (F,), "
            f"got {positions.shape} and {w.shape}"
        )
    if not np.all(np.isfinite(w)) or np.any(w < 0):
        raise TrainingError("training: weights need to be finite and not negative; check the free energy")
    return positions, w


def _check_finite(positions: NDArray[np.floating]) -> None:
    bad = ~np.all(np.isfinite(positions), axis=(1, 2))
    if bad.any():
        raise TrainingError(
            f"training: coordinates need to be finite, got NaN or infinity in {bad.sum()} of "
            f"{len(positions)}; the simulation exploded, or a trajectory file is damaged"
        )
