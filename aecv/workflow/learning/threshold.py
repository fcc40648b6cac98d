"""How alike two CVs are that differ by chance alone: the threshold of the score, by bootstrap.

The CV of an iteration depends on which frames it happened to see and on where its training began. Training
again on resampled frames, with the same number of them, repeats both kinds of chance; how these CVs score
against each other is what a score between iterations can reach when nothing else differs.

The threshold is a low quantile of these scores: nine in ten of them are better. Each replica is
one network, while the CV of an iteration is the one of 16 restarts that agrees best with the others: of
alanine dipeptide, 8e4 frames, replicas made with all 16 restarts score 0.994 to 0.998 among each other, at
sixteen times the cost, single networks 0.976 to 0.994 in the median and 0.948 to 0.989 in the lowest tenth,
which hangs on one or two networks that went astray (one of eight is in 14 of 56 scores). The threshold is
lenient, hence convergence.floor; more convergence.replica_restarts make it stricter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import TrainingError
from aecv.ground.seeds import generator, seed_31bit
from aecv.ground.settings import Settings
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.training.train import TrainedAutoencoder, train_replicas
from aecv.models.training.training_data import block_bootstrap
from aecv.numerics.kernels.encoder import encode
from aecv.numerics.statistics.regression_scores import mutual_scores

MOST_FRAMES = 20_000
"""Frames on which scores are measured: R^2 of as many frames is exact to far better than it differs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The restart that was chosen, and how alike those are that are as good.

    Attributes:
        restart: its index.
        score: its median score with the others; None where there are no others.
        lowest: the lowest score among them all; None likewise.
    """

    restart: int
    score: float | None
    lowest: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Threshold:
    """What a score has to reach, and where it comes from.

    Attributes:
        s_min: the threshold; None where there is no score, or one so low that none was looked for.
        bootstrap: what gave it; None where it is a given number.
    """

    s_min: float | None
    bootstrap: "Bootstrap | None" = None

    def fields(self) -> dict[str, Any]:
        """What the record keeps of it."""
        found = self.bootstrap
        return {
            "s_min": self.s_min,
            "s_min_replicas": None if found is None else len(found.losses),
            "s_min_quantile": None if found is None else found.quantile,
        }

    def report(self) -> dict[str, Any]:
        """All of it, for score.json."""
        found = self.bootstrap
        return self.fields() | {
            "replica_scores": None if found is None else found.scores,
            "replica_losses_nm2": None if found is None else found.losses,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Bootstrap:
    """CVs of resampled frames.

    Attributes:
        scores: of every replica's CV (row) on every other's (column), shape (B, B).
        losses: validation loss of every replica's chosen restart [nm^2], shape (B,).
        quantile: of the scores between different replicas that is the threshold.
    """

    scores: FloatArray
    losses: FloatArray
    quantile: float


def consensus_restart(trained: TrainedAutoencoder, frames: FrameTable, tolerance: float) -> Choice:
    """The restart that is most like the others, among those whose total loss is as good as the best one.

    Restarts end at slightly different CVs whose losses differ by less than these CVs do: which of them has
    the lowest loss is chance, and chance again in the next iteration. The one with the highest median score
    against the others repeats itself. No CV of another iteration enters.

    Args:
        trained: all restarts.
        frames: where scores are measured, for example the frames that trained them.
        tolerance: share by which a total (of all terms of the loss) may exceed the lowest one.
    """
    lowest = np.min(trained.totals)
    good = np.flatnonzero(trained.totals <= lowest + tolerance * abs(lowest))
    if len(good) < 2:
        return Choice(restart=trained.best_restart, score=None, lowest=None)
    some = frames.thinned(MOST_FRAMES)
    values = [encode(trained.restart_encoders[restart], some.chosen) for restart in good]
    scores = mutual_scores(values, some.weights)
    others = np.array([np.delete(scores[:, k], k) for k in range(len(good))])
    medians = np.median(others, axis=1)
    chosen = int(np.argmax(medians))
    return Choice(restart=int(good[chosen]), score=float(medians[chosen]), lowest=float(scores.min()))


def bootstrap_threshold(
    pool: FrameTable,
    measured: FrameTable,
    reference: FloatArray,
    *,
    settings: Settings,
    power: float,
    seed: int,
    on_epoch: Callable[[], None] = lambda: None,
) -> Threshold:
    """Train on resampled frames and take a quantile of the mutual scores.

    Frames are resampled in contiguous blocks, training.validation_blocks of them, to the number there are.
    Every replica is trained from scratch, as the CV itself is but with convergence.replica_restarts
    restarts, of which one is chosen as the CV's is.

    Args:
        pool: the frames that train the CV with their Boltzmann weights, in the order of time.
        measured: frames and Boltzmann weights with which the iteration's score is measured.
        reference: what frames are aligned onto, shape (n_atoms, 3) [nm].
        settings: the sections autoencoder, training and convergence.
        power: power of the pool's weights that trains.
        seed: root of the random numbers.
        on_epoch: called after each epoch.

    Raises:
        TrainingError: when fewer than two replicas could be trained; otherwise as `train_replicas`.

    Source: the idea of Belkacemi et al., J. Chem. Theory Comput. 18, 59 (2022), doi:10.1021/acs.jctc.1c00415.
    """
    training, convergence = settings.training, settings.convergence
    n = convergence.replicas
    trainings = train_replicas(
        pool.weighted(pool.weights**power),
        reference,
        replicas=[
            block_bootstrap(len(pool.weights), training.validation_blocks, generator(seed, "bootstrap", k))
            for k in range(n)
        ],
        autoencoder=settings.autoencoder,
        training=training.model_copy(update={"restarts": convergence.replica_restarts}),
        seeds=[seed_31bit(seed, "replica", k) for k in range(n)],
        on_epoch=on_epoch,
    )
    if len(trainings) < 2:
        raise TrainingError(
            f"s_min: needs two replicas that can be trained, got {len(trainings)} of {n}; lower "
            "training.learning_rate, or give convergence.s_min as a number"
        )
    some = measured.thinned(MOST_FRAMES)
    values, losses = [], []
    for trained in trainings:
        restart = consensus_restart(trained, pool, training.loss_tolerance).restart
        values.append(encode(trained.restart_encoders[restart], some.chosen))
        losses.append(trained.losses[restart])
    scores = mutual_scores(values, some.weights)
    return Threshold(
        s_min=score_quantile(scores, convergence.quantile),
        bootstrap=Bootstrap(scores=scores, losses=np.array(losses), quantile=convergence.quantile),
    )


def score_quantile(scores: FloatArray, quantile: float) -> float:
    """Quantile of the scores between different CVs, from their matrix of shape (B, B)."""
    between = scores[~np.eye(len(scores), dtype=bool)]
    return float(np.quantile(between, quantile))
