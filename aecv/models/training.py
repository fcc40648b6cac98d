"""Weighted training of autoencoders on aligned coordinates."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from aecv.ground.errors import TrainingError
from aecv.ground.seeds import generator
from aecv.ground.settings import AutoencoderSettings, TrainingSettings
from aecv.models.autoencoder import Shape, StackedAutoencoders, principal_start
from aecv.models.training_data import Frames, prepare, systematic_resample
from aecv.numerics.encoder import Encoder

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

MIN_STEPS_PER_EPOCH = 100
START_SAMPLES = 20_000
WARM_UP = 0.1
"""Part of the optimiser steps during which the learning rate rises linearly, before it falls as a cosine."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedAutoencoder:
    """The best of several autoencoders, and what the others came to.

    Losses are sum_i w_i |y_i - y_hat_i|^2 / sum_i w_i [nm^2], summed over all coordinates.

    Attributes:
        encoder: the winner; its output has zero weighted mean and unit weighted standard deviation.
        decoder_weights: per layer, shape (n_out, n_in), of the map from xi to aligned coordinates [nm].
        decoder_biases: per layer, shape (n_out,).
        losses: validation loss of each restart's best weights [nm^2], shape (R,); inf where it diverged.
        train_losses: loss of the same weights on the training frames [nm^2], shape (R,).
        train_curves: mean loss during each epoch [nm^2], shape (R, n_epochs).
        validation_curves: validation loss after each epoch [nm^2], shape (R, n_epochs).
        variance: weighted variance of the aligned coordinates, summed over them [nm^2].
        best_restart: index of the lowest validation loss.
        n_epochs: epochs trained before the last restart stopped.
        n_validation: frames held out.
        restart_encoders: the encoder of every restart, for mutual scores; one that diverged is as it started,
            one that collapsed is replaced by the winner's.
    """

    encoder: Encoder
    decoder_weights: tuple[FloatArray, ...]
    decoder_biases: tuple[FloatArray, ...]
    losses: FloatArray
    train_losses: FloatArray
    train_curves: FloatArray
    validation_curves: FloatArray
    variance: float
    best_restart: int
    n_epochs: int
    n_validation: int
    restart_encoders: tuple[Encoder, ...]

    @property
    def loss(self) -> float:
        """Validation loss of the winner [nm^2]."""
        return float(self.losses[self.best_restart])

    @property
    def fraction_of_variance(self) -> float:
        """Validation loss of the winner over the variance of the coordinates."""
        return self.loss / self.variance

    def decode(self, xi: ArrayLike) -> FloatArray:
        """Aligned coordinates [nm], shape (F, n_atoms, 3), that the decoder gives for xi, shape (F, d)."""
        values = np.asarray(xi, dtype=float)
        for w, b in zip(self.decoder_weights[:-1], self.decoder_biases[:-1], strict=True):
            values = np.tanh(values @ w.T + b)
        values = values @ self.decoder_weights[-1].T + self.decoder_biases[-1]
        return values.reshape(len(values), -1, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """Curves of an optimisation, as fractions of the variance, shape (R, n_epochs), and the best of each."""

    train: FloatArray
    validation: FloatArray
    best: FloatArray


def train_autoencoder(
    coordinates: ArrayLike,
    weights: ArrayLike,
    reference: ArrayLike,
    *,
    autoencoder: AutoencoderSettings,
    training: TrainingSettings,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> TrainedAutoencoder:
    """Train restarts of an autoencoder on weighted frames and keep the best.

    Minimises sum_i w_i |y_i - dec(enc(y_i))|^2 / sum_i w_i over aligned coordinates y_i by Adam; the
    validation loss, on contiguous blocks of frames held out, carries the same weights, stops each restart
    and chooses the winner. Frames of weight zero are left out before anything else. One torch thread;
    the same input and seed give the same arrays.

    Args:
        coordinates: raw or aligned positions in the order of time, shape (F, n_atoms, 3) [nm].
        weights: not negative, any normalisation, shape (F,).
        reference: what frames are aligned onto, shape (n_atoms, 3) [nm]; (0, 3) for no alignment.
        autoencoder: layer sizes.
        training: restarts, epochs and the like.
        seed: root of the random numbers.
        on_epoch: called after each epoch, for progress bars.

    Raises:
        TrainingError: for shapes that do not fit, NaN, negative weights, fewer than 100 frames with weight,
            coordinates that do not vary, or when every restart diverged.
        AlignmentError: when a frame has no unique rotation onto the reference.

    Source: Belkacemi et al., J. Chem. Theory Comput. 18, 59 (2022), doi:10.1021/acs.jctc.1c00415.
    """
    frames = prepare(coordinates, weights, reference, training=training, seed=seed)
    shape = Shape(n_inputs=frames.x.shape[1], hidden=autoencoder.hidden, latent=autoencoder.latent)
    samples = _start_samples(frames, generator(seed, "training", "samples"))
    starts = [
        principal_start(samples, shape, generator(seed, "training", "start", restart))
        for restart in range(training.restarts)
    ]
    network = StackedAutoencoders(shape, starts)
    with _one_thread():
        result = fit(network, frames, training, generator(seed, "training", "batches"), on_epoch)
        train_best = _weighted_loss(network, *_tensors(frames, ~frames.held_out))
    return _collect(network, frames, np.asarray(reference, dtype=float), result, train_best)


def fit(
    network: StackedAutoencoders,
    frames: Frames,
    training: TrainingSettings,
    rng: np.random.Generator,
    on_epoch: Callable[[], None] = lambda: None,
) -> Fit:
    """Optimise in place; on return the network holds each restart's best weights.

    Each epoch draws frames by systematic resampling in proportion to their weights, so that frame i
    appears floor or ceil of (its expected number) times, and shuffles them: the expected loss is the
    weighted one, with far less noise than weights inside small batches. With equal weights that is a pass
    over the data. An epoch has at least 100 steps, so that few frames still get enough of them.

    Raises:
        TrainingError: when every restart diverged.
    """
    x, w = _tensors(frames, ~frames.held_out)
    x_held_out, w_held_out = _tensors(frames, frames.held_out)
    n_batch = min(training.batch_size, max(len(x) // 20, 1))
    n_steps = max(round(len(x) / n_batch), MIN_STEPS_PER_EPOCH)
    optimiser = torch.optim.Adam(network.parameters(), lr=training.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, _one_cycle(n_steps * training.max_epochs))
    cumulative = np.cumsum(w.double().numpy())
    best, kept = np.full(network.n_stacked, np.inf), [p.detach().clone() for p in network.parameters()]
    stale = np.zeros(network.n_stacked, dtype=int)
    train, validation = [], []
    for _ in range(training.max_epochs):
        order = torch.from_numpy(systematic_resample(cumulative, n_steps * n_batch, rng))
        train.append(_epoch(network, x, order.view(n_steps, n_batch), optimiser, schedule))
        validation.append(_weighted_loss(network, x_held_out, w_held_out))
        improved = (validation[-1] < best) & (stale < training.patience)
        best = np.where(improved, validation[-1], best)
        stale = np.where(improved, 0, stale + 1)
        on_epoch()
        mask = torch.from_numpy(improved)
        for parameter, copy in zip(network.parameters(), kept, strict=True):
            copy[mask] = parameter.detach()[mask]
        if np.all(stale >= training.patience):
            break
    _check_losses(best, training)
    with torch.no_grad():
        for parameter, copy in zip(network.parameters(), kept, strict=True):
            parameter.copy_(copy)
    return Fit(train=np.transpose(train), validation=np.transpose(validation), best=best)


def _epoch(
    network: StackedAutoencoders,
    x: Tensor,
    batches: Tensor,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> FloatArray:
    """One epoch; returns each restart's mean loss per coordinate over the batches, shape (R,)."""
    total = torch.zeros(network.n_stacked)
    for batch in batches:
        inputs = x[batch]
        losses = (network(inputs) - inputs).square().mean(dim=(1, 2))
        optimiser.zero_grad(set_to_none=True)
        # The sum over coordinates, not their mean: Adam's epsilon then stays negligible beside gradients.
        (losses.sum() * x.shape[1]).backward()
        optimiser.step()
        schedule.step()
        total += losses.detach()
    return (total / len(batches)).double().numpy()


def _weighted_loss(network: StackedAutoencoders, x: Tensor, w: Tensor) -> FloatArray:
    """Weighted loss per coordinate, shape (R,), summed in float64."""
    total = torch.zeros(network.n_stacked, dtype=torch.float64)
    with torch.no_grad():
        for inputs, part in zip(x.split(5000), w.split(5000), strict=True):
            total += (network(inputs) - inputs).square().mean(dim=2).double() @ part.double()
    return (total / w.double().sum()).numpy()


def _one_cycle(n_steps: int) -> Callable[[int], float]:
    """Factor on the learning rate: linear warm-up, then half a cosine."""

    def factor(step: int) -> float:
        progress = min(step / n_steps, 1.0)
        if progress < WARM_UP:
            return max(progress / WARM_UP, 1e-3)
        return max(0.5 * (1 + float(np.cos(np.pi * (progress - WARM_UP) / (1 - WARM_UP)))), 1e-3)

    return factor


def _start_samples(frames: Frames, rng: np.random.Generator) -> FloatArray:
    train = np.flatnonzero(~frames.held_out)
    chosen = systematic_resample(np.cumsum(frames.weights[train]), min(START_SAMPLES, len(train)), rng)
    return frames.x[train[chosen]].astype(float)


def _tensors(frames: Frames, chosen: BoolArray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(frames.x[chosen]), torch.from_numpy(frames.weights[chosen])


def _check_losses(best: FloatArray, training: TrainingSettings) -> None:
    diverged = ~np.isfinite(best)
    if diverged.all():
        raise TrainingError(
            f"training: the loss of all {len(best)} restarts became NaN or infinite; "
            f"lower training.learning_rate, now {training.learning_rate}"
        )
    if diverged.any():
        _logger.warning("training: %d of %d restarts diverged and are left out", diverged.sum(), len(best))


def _collect(
    network: StackedAutoencoders, frames: Frames, reference: FloatArray, result: Fit, train_best: FloatArray
) -> TrainedAutoencoder:
    folded, best, problem = {}, result.best.copy(), None
    for index in range(network.n_stacked):
        try:
            folded[index] = _fold(network.layers(index), network.shape, frames, reference)
        except TrainingError as error:  # one collapsed restart must not cost the others
            best[index], problem = np.inf, error
    if problem is not None and not np.isfinite(best).any():
        raise problem
    winner = int(np.argmin(best))
    encoder, decoder = folded[winner]
    variance = frames.variance
    return TrainedAutoencoder(
        encoder=encoder,
        decoder_weights=tuple(w for w, _ in decoder),
        decoder_biases=tuple(b for _, b in decoder),
        losses=best * variance,
        train_losses=np.where(np.isfinite(best), train_best, np.inf) * variance,
        train_curves=result.train * variance,
        validation_curves=result.validation * variance,
        variance=variance,
        best_restart=winner,
        n_epochs=result.train.shape[1],
        n_validation=int(frames.held_out.sum()),
        restart_encoders=tuple(folded.get(index, folded[winner])[0] for index in range(network.n_stacked)),
    )


def _fold(
    layers: Sequence[tuple[FloatArray, FloatArray]], shape: Shape, frames: Frames, reference: FloatArray
) -> tuple[Encoder, list[tuple[FloatArray, FloatArray]]]:
    """Normalisation of inputs and outputs moved into the first and last layers of encoder and decoder."""
    encoder, decoder = list(layers[: shape.n_encoder_layers]), list(layers[shape.n_encoder_layers :])
    code = frames.x.astype(float)
    for w, b in encoder[:-1]:
        code = np.tanh(code @ w.T + b)
    code = code @ encoder[-1][0].T + encoder[-1][1]
    centre = frames.weights @ code
    spread = np.sqrt(frames.weights @ (code - centre) ** 2)
    if not np.all(spread > 1e-6):
        raise TrainingError(
            f"training: a component of the bottleneck does not vary (standard deviations {spread}); "
            "use fewer (autoencoder.latent)"
        )
    w, b = encoder[-1]
    encoder[-1] = (w / spread[:, None], (b - centre) / spread)
    w, b = encoder[0]
    encoder[0] = (w / frames.scale, b - w @ frames.mean / frames.scale)
    w, b = decoder[0]
    decoder[0] = (w * spread, b + w @ centre)
    w, b = decoder[-1]
    decoder[-1] = (w * frames.scale, b * frames.scale + frames.mean)
    return (
        Encoder(
            reference=reference, weights=tuple(w for w, _ in encoder), biases=tuple(b for _, b in encoder)
        ),
        decoder,
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small batched products are fastest on one thread, and repeat exactly."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
