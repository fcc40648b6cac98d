"""Optimisation of networks side by side, each on its own weighted frames."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import TrainingError
from aecv.ground.settings import TrainingSettings
from aecv.models.networks.model import Batch, Stack
from aecv.models.training.soap import LONGEST_SIDE, Soap
from aecv.models.training.training_data import Frames, systematic_resample

CPU = torch.device("cpu")
MIN_STEPS_PER_EPOCH = 100
WARM_UP = 0.1
"""Part of the optimiser steps during which the learning rate rises linearly, before it falls as a cosine."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """What an optimisation came to, per coordinate: of an autoencoder fractions of the variance.

    Attributes:
        train, validation: the total after each epoch, shape (R, n_epochs).
        best: the lowest validation total, which is that of the weights that are kept, shape (R,).
        terms: name -> each term of the loss of the same weights on the same frames, shape (R,).
    """

    train: FloatArray
    validation: FloatArray
    best: FloatArray
    terms: Mapping[str, FloatArray]

    def of(self, chosen: slice) -> "Fit":
        """The same of some of the networks."""
        return Fit(
            train=self.train[chosen],
            validation=self.validation[chosen],
            best=self.best[chosen],
            terms={name: values[chosen] for name, values in self.terms.items()},
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """One part, training or held out, of the frames of G data sets, as tensors.

    Attributes:
        table: aligned coordinates y [nm] of all sets, shape (n_rows, D); a batch is (y - mean) / scale.
        mean: of each set [nm], shape (G, 1, D), and `scale` [nm], shape (G, 1, 1).
        index: row of each frame of a set, shape (G, n), the sets filled up to the longest one.
        weights: shape (G, n); 0 where `index` is filled up.
        cumulative: running sum of a set's own weights, per set.
        later, columns: of the rows of the table, see `Frames`.
    """

    table: Tensor
    mean: Tensor
    scale: Tensor
    index: Tensor
    weights: Tensor
    cumulative: tuple[FloatArray, ...]
    later: Tensor | None
    columns: Mapping[str, Tensor]

    def at(self, index: Tensor) -> Tensor:
        """Standardised inputs, shape (G, B, D), of rows per set, shape (G, B)."""
        return (self.table[index] - self.mean).div_(self.scale).float()

    def of(self, chosen: slice) -> "Rows":
        """The same of some of the sets."""
        return replace(
            self,
            mean=self.mean[chosen],
            scale=self.scale[chosen],
            index=self.index[chosen],
            weights=self.weights[chosen],
            cumulative=self.cumulative[chosen],
        )

    def draw(self, n: int, rngs: Sequence[np.random.Generator]) -> Tensor:
        """Rows drawn per set in proportion to the weights, shape (G, n)."""
        parts = zip(self.index, self.cumulative, rngs, strict=True)
        drawn = [(own, torch.from_numpy(systematic_resample(c, n, rng))) for own, c, rng in parts]
        return torch.stack([own[rows.to(own.device)] for own, rows in drawn])

    def batch(
        self, index: Tensor, stack: Stack, noise: torch.Generator, weights: Tensor | None = None
    ) -> Batch:
        """Rows per set, shape (G, B), and their weights, for every network of each set."""
        n, n_noise = stack.n_stacked, stack.n_noise
        return Batch(
            x=_spread(self.at(index), n),
            weights=None if weights is None else _spread(weights, n),
            later=None if self.later is None else _spread(self.at(self.later[index]), n),
            columns={name: _spread(own[index], n) for name, own in self.columns.items()},
            noise=torch.randn((n, index.shape[1], n_noise), generator=noise).to(self.table.device)
            if n_noise
            else None,
        )

    def losses(self, stack: Stack) -> dict[str, FloatArray]:
        """Weighted terms per coordinate of every network on the frames of its set, shape (R,), in float64.

        With the same noise every time: what is compared between epochs and restarts differs by them alone.
        """
        n, noise = stack.n_stacked, torch.Generator().manual_seed(0)
        total: dict[str, Tensor] = {}
        for rows, part in zip(self.index.split(1000, dim=1), self.weights.split(1000, dim=1), strict=True):
            for name, value in stack.losses(self.batch(rows, stack, noise, part)).items():
                total[name] = total.get(name, 0.0) + value
        norm = _spread(self.weights.sum(dim=1), n)
        return {name: (value / norm).numpy(force=True) for name, value in total.items()}


def rows_of(data_sets: Sequence[Frames], device: torch.device = CPU, *, held_out: bool) -> Rows:
    """The frames of every set that are held out, or those that are not, on a device; one table is for all."""
    chosen = [np.flatnonzero(frames.held_out == held_out) for frames in data_sets]
    weights = [frames.weights[rows] for frames, rows in zip(data_sets, chosen, strict=True)]
    index = torch.zeros((len(chosen), max(map(len, chosen))), dtype=torch.int64)
    filled = torch.zeros(index.shape, dtype=torch.float64)
    for k, (own, frames, rows) in enumerate(zip(weights, data_sets, chosen, strict=True)):
        index[k, : len(own)] = torch.from_numpy(frames.rows[rows])
        filled[k, : len(own)] = torch.from_numpy(own)
    shared, mean = data_sets[0], np.stack([frames.mean for frames in data_sets])[:, None]
    scale = torch.tensor([frames.scale for frames in data_sets], dtype=torch.float64)
    return Rows(
        table=torch.from_numpy(shared.table).to(device),
        mean=torch.from_numpy(mean).to(device),
        scale=scale[:, None, None].to(device),
        index=index.to(device),
        weights=filled.to(device),
        cumulative=tuple(np.cumsum(own) for own in weights),
        later=None if shared.later is None else torch.from_numpy(shared.later).to(device),
        columns={name: torch.from_numpy(own).to(device) for name, own in shared.columns.items()},
    )


def fit(
    stack: Stack,
    data_sets: Sequence[Frames],
    training: TrainingSettings,
    rngs: Sequence[np.random.Generator],
    on_epoch: Callable[[], None] = lambda: None,
    n_threads: int = 1,
) -> Fit:
    """Optimise in place; on return the stack holds each network's best weights.

    Each epoch draws frames by systematic resampling in proportion to their weights, so that frame i
    appears floor or ceil of (its expected number) times, and shuffles them: the expected loss is the
    weighted one, with far less noise than weights inside small batches. With equal weights that is a pass
    over the data. An epoch has at least 100 steps, so that few frames still get enough of them.

    Args:
        stack: R networks; R is a multiple of the number of data sets.
        data_sets: the first R/G networks learn from the first of the G sets, and so on. Steps per epoch
            and the size of a batch follow from the mean size of the sets.
        training: epochs, patience, batch size and learning rate.
        rngs: source of the batches, one per data set.
        on_epoch: called after each epoch.
        n_threads: that wide networks are shared out to; the arrays do not depend on it.

    Raises:
        TrainingError: when every network diverged.
    """
    device = stack.parameters[0].device
    seen, held_out = (rows_of(data_sets, device, held_out=asked) for asked in (False, True))
    n_frames = sum(map(len, seen.cumulative)) // len(data_sets)
    n_batch = min(training.batch_size, max(n_frames // 20, 1))
    n_steps = max(round(n_frames / n_batch), MIN_STEPS_PER_EPOCH)
    parts = _parts(stack, seen, held_out, rngs[0])
    rate = _one_cycle(n_steps * training.max_epochs)
    best, kept = np.full(stack.n_stacked, np.inf), [p.clone() for p in stack.parameters]
    stale = np.zeros(stack.n_stacked, dtype=int)
    train, validation = [], []
    terms: dict[str, FloatArray] = {}
    with _workers(n_threads if len(parts) > 1 else 1) as each:
        for epoch in range(training.max_epochs):
            batches = seen.draw(n_steps * n_batch, rngs).view(len(data_sets), n_steps, n_batch)
            rates = [training.learning_rate * rate(epoch * n_steps + step) for step in range(n_steps)]
            ended = list(each(partial(_Part.epoch, batches=batches, rates=rates), parts))
            train.append(np.concatenate([losses for losses, _ in ended]))
            found = {name: np.concatenate([own[name] for _, own in ended]) for name in ended[0][1]}
            validation.append(found["total"])
            improved = (validation[-1] < best) & (stale < training.patience)
            best = np.where(improved, validation[-1], best)
            terms = {k: np.where(improved, own, terms.get(k, np.inf)) for k, own in found.items()}
            stale = np.where(improved, 0, stale + 1)
            on_epoch()
            mask = torch.from_numpy(improved).to(device)
            for parameter, copy in zip(stack.parameters, kept, strict=True):
                copy[mask] = parameter[mask]
            if np.all(stale >= training.patience):
                break
    _check_losses(best, training)
    for parameter, copy in zip(stack.parameters, kept, strict=True):
        parameter.copy_(copy)
    return Fit(train=np.transpose(train), validation=np.transpose(validation), best=best, terms=terms)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Networks that go through the epochs by themselves."""

    stack: Stack
    sets: slice
    seen: Rows
    held_out: Rows
    optimiser: Soap
    noise: torch.Generator

    def epoch(self, batches: Tensor, rates: Sequence[float]) -> tuple[FloatArray, dict[str, FloatArray]]:
        """One epoch; each network's mean total per coordinate over the batches, and its terms after them.

        Args:
            batches: rows per set, step and frame, shape (G, n_steps, B).
            rates: learning rate of each step.
        """
        total = torch.zeros(self.stack.n_stacked, device=self.seen.table.device)
        for batch, rate in zip(batches[self.sets].unbind(dim=1), rates, strict=True):
            # The sum over coordinates, not their mean: the optimiser's epsilon stays negligible beside
            # gradients.
            losses, gradients = self.stack.losses_and_gradients(
                self.seen.batch(batch, self.stack, self.noise)
            )
            self.optimiser.step(gradients, rate)
            total += losses
        mean = total / (len(rates) * self.seen.table.shape[1])
        return mean.double().numpy(force=True), self.held_out.losses(self.stack)


def _parts(stack: Stack, seen: Rows, held_out: Rows, rng: np.random.Generator) -> list[_Part]:
    """All networks together, which is fastest where they are small; wide ones one by one."""
    n, n_sets = stack.n_stacked, len(seen.cumulative)
    is_wide = max(max(parameter.shape[1:]) for parameter in stack.parameters) > LONGEST_SIDE
    pieces = [slice(k, k + 1) for k in range(n)] if is_wide else [slice(0, n)]
    parts = []
    for piece in pieces:
        sets = slice(piece.start * n_sets // n, -(-piece.stop * n_sets // n))
        own, noise = stack.part(piece), torch.Generator()
        if stack.n_noise:  # others draw the numbers that they always drew
            noise.manual_seed(int(rng.integers(2**62)))
        parts.append(
            _Part(
                stack=own,
                sets=sets,
                seen=seen.of(sets),
                held_out=held_out.of(sets),
                optimiser=Soap(own.parameters),
                noise=noise,
            )
        )
    return parts


@contextmanager
def _workers(n_threads: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A map over so many threads, of which each lets torch have one."""
    if n_threads == 1:
        yield map
        return
    with ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield pool.map


def _spread(inputs: Tensor, n_stacked: int) -> Tensor:
    """What each of G data sets has, shape (G, ...), for every network of each, shape (R, ...)."""
    return inputs.repeat_interleave(n_stacked // len(inputs), dim=0)


def _one_cycle(n_steps: int) -> Callable[[int], float]:
    """Factor on the learning rate: linear warm-up, then half a cosine."""

    def factor(step: int) -> float:
        progress = min(step / n_steps, 1.0)
        if progress < WARM_UP:
            return max(progress / WARM_UP, 1e-3)
        return max(0.5 * (1 + float(np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))), 1e-3)

    return factor


def _check_losses(best: FloatArray, training: TrainingSettings) -> None:
    diverged = ~np.isfinite(best)
    if diverged.all():
        raise TrainingError(
            f"training: the loss of all {len(best)} networks became NaN or infinite; "
            f"lower training.learning_rate, now {training.learning_rate}"
        )
    if diverged.any():
        _logger.warning("training: %d of %d networks diverged, left out", diverged.sum(), len(best))


@contextmanager
def one_thread() -> Iterator[None]:
    """Small batched products are fastest on one thread, and repeat exactly."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
