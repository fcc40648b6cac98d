"""Weighted training of autoencoders on aligned coordinates."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import TrainingError
from aecv.ground.seeds import generator
from aecv.ground.settings import AutoencoderSettings, TrainingSettings
from aecv.ground.shown import Shown
from aecv.models.family import model_of, stack_of
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.networks.layers import Chain, Layers, feed_forward
from aecv.models.networks.model import Batch, Model
from aecv.models.training.components import Components, rank_components
from aecv.models.training.device import device_of
from aecv.models.training.optimisation import Fit, fit, one_thread, rows_of
from aecv.models.training.training_data import Frames, prepare_replicas, systematic_resample
from aecv.numerics.kernels.encoder import MOST_NUMBERS, Encoder

START_SAMPLES = 20_000

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrainedAutoencoder(Shown):
    """The best of several autoencoders, and what the others came to.

    Losses are sum_i w_i |y_i - y_hat_i|^2 / sum_i w_i [nm^2], summed over all coordinates.

    Attributes:
        encoder: the winner with all its components; they have zero weighted mean and unit weighted standard
            deviation.
        losses: validation loss of each restart's best weights [nm^2], shape (R,); inf where it diverged.
        train_losses: loss of the same weights on the training frames [nm^2], shape (R,).
        train_curves: mean loss during each epoch [nm^2], shape (R, n_epochs).
        validation_curves: validation loss after each epoch [nm^2], shape (R, n_epochs).
        variance: weighted variance of the aligned coordinates, summed over them [nm^2].
        best_restart: index of the lowest of the totals.
        n_epochs: epochs trained before the last restart stopped.
        n_validation: frames held out.
        restart_encoders: the encoder of every restart, of the components that are biased, for mutual scores;
            one that diverged is as it started, one that collapsed is replaced by the winner's.
        restart_decoders: the decoder of every restart, from all components to aligned coordinates [nm].
        terms: name -> each term of the validation loss of every restart, of the total and the reconstruction
            too, per coordinate and in units of its variance, shape (R,).
        components: of every restart; where some are left out, else empty. Encoders and decoders are then
            sorted by importance.
    """

    encoder: Encoder
    losses: FloatArray
    train_losses: FloatArray
    train_curves: FloatArray
    validation_curves: FloatArray
    variance: float
    best_restart: int
    n_epochs: int
    n_validation: int
    restart_encoders: tuple[Encoder, ...]
    restart_decoders: tuple[Layers, ...]
    terms: Mapping[str, FloatArray] = field(default_factory=dict)
    components: tuple[Components, ...] = ()

    @property
    def totals(self) -> FloatArray:
        """What was minimised, on the frames held out, shape (R,); inf where it diverged. Chooses restarts.

        The loss in other units where the model has no other terms.
        """
        return np.where(np.isfinite(self.losses), self.terms["total"], np.inf) if self.terms else self.losses

    @property
    def loss(self) -> float:
        """Validation loss of the winner [nm^2]."""
        return float(self.losses[self.best_restart])

    @property
    def fraction_of_variance(self) -> float:
        """Validation loss of the winner over the variance of the coordinates."""
        return self.loss / self.variance

    def decode(self, xi: ArrayLike) -> FloatArray:
        """Aligned coordinates [nm], shape (F, n_atoms, 3), from all components, shape (F, latent)."""
        values = feed_forward(self.restart_decoders[self.best_restart], np.asarray(xi, dtype=float))
        return values.reshape(len(values), -1, 3)


def train_autoencoder(
    frames: FrameTable,
    reference: ArrayLike,
    *,
    autoencoder: AutoencoderSettings,
    training: TrainingSettings,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
    n_threads: int = 1,
) -> TrainedAutoencoder:
    """Train restarts of an autoencoder on weighted frames and keep the best.

    Minimises the total of the model's terms, of the autoencoder sum_i w_i |y_i - dec(enc(y_i))|^2 / sum_i w_i
    over aligned coordinates y_i, by SOAP; the same total on contiguous blocks of frames held out, with the
    same weights, stops each restart and chooses the winner. Frames of weight zero are left out before
    anything else. The same input and seed give the same arrays, on any number of threads.

    Args:
        frames: raw or aligned positions in the order of time, weights, and what else the model needs.
        reference: what frames are aligned onto, shape (n_atoms, 3) [nm]; (0, 3) for no alignment.
        autoencoder: layer sizes.
        training: restarts, epochs and the like.
        seed: root of the random numbers.
        on_epoch: called after each epoch, for progress bars.
        n_threads: that restarts are shared out to where networks are wide (a side over 256).

    Raises:
        TrainingError: for shapes that do not fit, NaN, negative weights, fewer than 100 frames with weight,
            coordinates that do not vary, or when every restart diverged.
        AlignmentError: when a frame has no unique rotation onto the reference.

    Source: Belkacemi et al., J. Chem. Theory Comput. 18, 59 (2022), doi:10.1021/acs.jctc.1c00415.
    """
    everything = np.arange(len(frames.weights))
    (trained,) = _train(frames, reference, [everything], autoencoder, training, [seed], on_epoch, n_threads)
    if isinstance(trained, TrainingError):
        raise trained
    return trained


def train_replicas(
    frames: FrameTable,
    reference: ArrayLike,
    *,
    replicas: Sequence[IntArray],
    autoencoder: AutoencoderSettings,
    training: TrainingSettings,
    seeds: Sequence[int],
    on_epoch: Callable[[], None] = lambda: None,
) -> list[TrainedAutoencoder]:
    """Train on several selections of the frames side by side, at the cost of as many restarts on one.

    Replica g is `train_autoencoder` of frames.at(replicas[g]) with seeds[g]: its
    own normalisation, validation blocks, starts and batches. Only the number of steps of an epoch is common,
    that of the replicas' mean size. Nothing begins from a network that was trained before. Products of a
    larger stack round differently, and training amplifies it: the same arrays come only from the same stack.

    Args:
        frames, reference, autoencoder, training, on_epoch: as `train_autoencoder`.
        replicas: indices of the chosen frames, in the order of time; a frame may be there several times.
        seeds: root of the random numbers of each replica.

    Returns:
        one training per replica; those of which every restart diverged or collapsed are left out.

    Raises:
        TrainingError, AlignmentError: as `train_autoencoder`; for divergence when it happened everywhere.
    """
    results = _train(frames, reference, replicas, autoencoder, training, seeds, on_epoch)
    problems = [result for result in results if isinstance(result, TrainingError)]
    if len(problems) == len(results):
        raise problems[0]
    if problems:
        _logger.warning(
            "training: %d of %d replicas are left out: %s", len(problems), len(results), problems[0]
        )
    return [result for result in results if not isinstance(result, TrainingError)]


def _train(
    table: FrameTable,
    reference: ArrayLike,
    replicas: Sequence[IntArray],
    autoencoder: AutoencoderSettings,
    training: TrainingSettings,
    seeds: Sequence[int],
    on_epoch: Callable[[], None],
    n_threads: int = 1,
) -> list[TrainedAutoencoder | TrainingError]:
    """A training per replica, or why there is none."""
    origin, device = np.asarray(reference, dtype=float), device_of(training.device)
    model = model_of(autoencoder, table.positions[:1].size)
    data_sets = prepare_replicas(
        table, origin, replicas=replicas, training=training, seeds=seeds, needs=model.needs
    )
    networks: list[nn.Module] = []
    for frames, seed in zip(data_sets, seeds, strict=True):
        start = _start_samples(frames, generator(seed, "training", "samples"))
        rngs = [generator(seed, "training", "start", restart) for restart in range(training.restarts)]
        networks += model.networks(start, rngs)
    stack = stack_of(model, [network.to(device) for network in networks])
    with one_thread():
        batches = [generator(seed, "training", "batches") for seed in seeds]
        result = fit(stack, data_sets, training, batches, on_epoch, n_threads)
        train_best = rows_of(data_sets, device, held_out=False).losses(stack)["reconstruction"]
    collected: list[TrainedAutoencoder | TrainingError] = []
    for index, frames in enumerate(data_sets):
        own = slice(index * training.restarts, (index + 1) * training.restarts)
        trained = [stack.network(restart).cpu() for restart in range(own.start, own.stop)]
        try:
            found = _collect(model, trained, frames, origin, result.of(own), train_best[own])
            collected.append(_with_chosen(found, frames, autoencoder))
        except TrainingError as error:
            collected.append(error)
    return collected


def _start_samples(frames: Frames, rng: np.random.Generator) -> Batch:
    train = np.flatnonzero(~frames.held_out)
    n = min(START_SAMPLES, MOST_NUMBERS // frames.n_inputs * 2, len(train))
    chosen = systematic_resample(np.cumsum(frames.weights[train]), n, rng)
    rows = frames.rows[train[chosen]]
    return Batch(
        x=torch.from_numpy(frames.at(rows).astype(float)),
        later=None if frames.later is None else torch.from_numpy(frames.at(frames.later[rows]).astype(float)),
        columns={name: torch.from_numpy(own[rows]) for name, own in frames.columns.items()},
    )


def _collect(
    model: Model,
    networks: Sequence[nn.Module],
    frames: Frames,
    reference: FloatArray,
    result: Fit,
    train_best: FloatArray,
) -> TrainedAutoencoder:
    folded, best, problem = {}, result.best.copy(), None
    for index, own in enumerate(networks):
        try:
            folded[index] = _fold(model.encoder(own), model.decoders(own), frames, reference)
        except TrainingError as error:  # one collapsed restart must not cost the others
            best[index], problem = np.inf, error
    if not np.isfinite(best).any():
        raise problem or TrainingError(f"training: the losses of all {len(best)} restarts diverged")
    winner = int(np.argmin(best))
    kept = [folded.get(index, folded[winner]) for index in range(len(networks))]
    variance = frames.variance
    return TrainedAutoencoder(
        encoder=folded[winner][0],
        losses=np.where(np.isfinite(best), result.terms["reconstruction"], np.inf) * variance,
        train_losses=np.where(np.isfinite(best), train_best, np.inf) * variance,
        train_curves=result.train * variance,
        validation_curves=result.validation * variance,
        variance=variance,
        best_restart=winner,
        n_epochs=result.train.shape[1],
        n_validation=int(frames.held_out.sum()),
        restart_encoders=tuple(encoder for encoder, _ in kept),
        terms=result.terms,
        restart_decoders=tuple(next(iter(decoders.values())) for _, decoders in kept),
    )


def _with_chosen(
    trained: TrainedAutoencoder, frames: Frames, autoencoder: AutoencoderSettings
) -> TrainedAutoencoder:
    """Components sorted by importance, and encoders of those that are biased; where all are, as they came."""
    if autoencoder.n_biased == autoencoder.latent:
        return trained
    wanted = autoencoder.bias_components or "auto"
    pairs = zip(trained.restart_encoders, trained.restart_decoders, strict=True)
    found = tuple(rank_components(encoder, decoder, frames, wanted) for encoder, decoder in pairs)
    return replace(
        trained,
        encoder=found[trained.best_restart].encoder,
        restart_encoders=tuple(own.encoder.of_components(own.biased) for own in found),
        restart_decoders=tuple(own.decoder for own in found),
        components=found,
    )


def _fold(
    chain: Chain, decoders: Mapping[str, Chain], frames: Frames, reference: FloatArray
) -> tuple[Encoder, dict[str, Layers]]:
    """Normalisation of inputs and outputs moved into the first and last layers of encoder and decoders."""
    encoder = list(chain.layers())
    code = np.concatenate([feed_forward(encoder, frames.x(part).astype(float)) for part in frames.parts()])
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
    folded: dict[str, Layers] = {}
    for name, own in decoders.items():
        decoder = list(own.layers())
        w, b = decoder[0]
        decoder[0] = (w * spread, b + w @ centre)
        w, b = decoder[-1]
        decoder[-1] = (w * frames.scale, b * frames.scale + frames.mean)
        folded[name] = decoder
    weights, biases = zip(*encoder, strict=True)
    return Encoder(reference=reference, weights=weights, biases=biases), folded
