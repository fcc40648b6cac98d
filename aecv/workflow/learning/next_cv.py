"""Learning stage, second half: train the next CV on weighted frames, compare it with the last one."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SamplingError, SettingsError
from aecv.ground.files import write_json
from aecv.ground.progress import Progress
from aecv.ground.settings import Settings
from aecv.ground.shown import Shown
from aecv.models.cvs.cv import CV
from aecv.models.cvs.cv_files import export_cv
from aecv.models.family import model_of
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.training.components import Components
from aecv.models.training.train import TrainedAutoencoder, train_autoencoder
from aecv.molecules.subject import Subject
from aecv.numerics.extended_abf.abf import data_range
from aecv.numerics.free_energy.weights import effective_sample_size
from aecv.numerics.kernels.encoder import Encoder, encode
from aecv.numerics.statistics.regression_scores import nonlinear_r2, periodic_features, score, weighted_r2
from aecv.workflow.learning.threshold import Choice, consensus_restart
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.weights.pool import stride

logger = logging.getLogger(__name__)

PLAIN_TERMS = ("total", "reconstruction")
"""Terms of a loss that the reports hold anyway."""
LATENT = "latent"
"""Folder of the CV of all components, beside the CV of those that are biased."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Trained(Shown):
    """A training and what it was made from.

    Attributes:
        autoencoder: the training.
        n_frames: frames that it saw.
        n_effective: (sum w)^2 / sum w^2 of them.
        choice: the restart that was chosen, and how alike the good ones are.
        components: of that restart, `biased` in the order of the CV's; None where all are biased.
    """

    autoencoder: TrainedAutoencoder
    n_frames: int
    n_effective: float
    choice: Choice
    components: Components | None = None

    @property
    def loss(self) -> float:
        """Validation loss of the chosen restart [nm^2]."""
        return float(self.autoencoder.losses[self.choice.restart])

    @property
    def loss_spread(self) -> float:
        """Validation loss of the worst restart over that of the best."""
        return float(np.max(self.autoencoder.losses) / np.min(self.autoencoder.losses))


def train_cv(
    folder: Path,
    pool: FrameTable,
    system: Subject,
    *,
    place: str,
    seed: int,
    power: float,
    progress: Progress,
    previous: CV | None = None,
    hot: NDArray[np.floating] | None = None,
    more_frames: str = "begin a longer run (--ns)",
    n_threads: int = 1,
) -> Trained:
    """Train on weighted frames and export cv.pt, cv.npz, cv.json and training.json.

    Where only some components of the bottleneck are biased, these are the CV, and all of them are exported in
    the folder `LATENT`.

    Args:
        pool: frames with Boltzmann weights, in the order of time; training.max_frames of them train.
        place: what an error names.
        seed: of the training.
        power: of the weights that trains, see `training_power`.
        previous: a CV whose order and signs of components the new one takes.
        hot: frames of the hot run that train as well, with the weight starts.hot_share, shape
            (n, n_cv_atoms, 3) [nm]; None for none. They belong to no ensemble at the run's temperature, and
            nothing but the first CV sees them.
        more_frames: how there would be more, for an error.
        n_threads: that restarts of wide networks are shared out to.

    Raises:
        SamplingError: when too few frames are effective; the message says what to change.
        TrainingError: when the training fails.
    """
    settings = system.spec.settings
    frames = training_frames(pool, settings)
    positions, weights = frames.chosen, frames.weights
    n_effective = effective_sample_size(weights)
    if n_effective < settings.training.min_effective_frames:
        least = f"{settings.training.min_effective_frames:g}"
        short = (
            f"reweighted training needs >= {least} effective frames, got {n_effective:.1f} of {len(weights)}"
        )
        if np.ptp(weights) == 0:
            short = f"training needs >= {least} frames, got {len(weights)}"
        raise SamplingError(f"{place}: {short}; {more_frames}, or lower training.min_effective_frames")
    everything = with_hot(frames.weighted(weights**power), hot, settings.starts.hot_share)
    restarts, n = settings.training.restarts, len(everything.weights)
    title = f"{place}: training {restarts} restarts on {n} frames"
    with progress(title, settings.training.max_epochs, "epochs") as advance:
        trained = train_autoencoder(
            everything,
            system.cv_reference,
            autoencoder=settings.autoencoder,
            training=settings.training,
            seed=seed,
            on_epoch=lambda: advance(1),
            n_threads=n_threads,
        )
    choice = consensus_restart(trained, frames, settings.training.loss_tolerance)
    encoder = trained.restart_encoders[choice.restart]
    order, signs = list(range(encoder.n_components)), np.ones(encoder.n_components)
    if previous is not None:
        order, signs = matching(encode(encoder, positions), previous(positions), weights)
        encoder = encoder.of_components(order, signs)
    components = None
    if trained.components:
        components = trained.components[choice.restart].in_order(order, signs)
        logger.info("%s: %s", place, _told(components, settings.autoencoder.bias_components))
    seen = pool.chosen if hot is None else np.concatenate([pool.chosen, hot])
    _export(encoder, folder, seen, system)
    if components is not None:
        _export(components.encoder, folder / LATENT, seen, system)
    result = Trained(
        autoencoder=trained,
        n_frames=len(weights),
        n_effective=n_effective,
        choice=choice,
        components=components,
    )
    write_json(folder / "training.json", _training_report(result))
    logger.info(
        "%s: loss %.3g nm^2 on frames held out, %.1f %% of the variance explained (worst over best %.3f)",
        place,
        result.loss,
        100.0 * (1.0 - result.loss / trained.variance),
        result.loss_spread,
    )
    return result


def _export(encoder: Encoder, folder: Path, seen: NDArray[np.floating], system: Subject) -> None:
    """cv.pt, cv.npz and cv.json, with the range of some frames, shape (n, n_cv_atoms, 3) [nm]."""
    export_cv(
        encoder,
        folder,
        atom_indices=system.cv_atom_indices,
        cv_range=data_range(encode(encoder, seen), margin=system.spec.settings.eabf.margin),
        system=system.spec.name,
        system_hash=system.spec.hash,
    )


def _told(components: Components, asked: tuple[int, ...] | str | None) -> str:
    """Which components are biased and why, in a sentence."""
    chosen = " and ".join(map(str, sorted(components.biased)))
    why = "as asked" if isinstance(asked, tuple) else "the pair that reconstructs best"
    following = ""
    if components.next_pair is not None:
        following = f", {components.next_loss:.3g} with the next pair {components.next_pair}"
    return (
        f"of {len(components.importances)} components, the most important one 0, {chosen} "
        f"{'is' if len(components.biased) == 1 else 'are'} the CV, {why}: loss "
        f"{components.biased_loss:.3g} nm^2 with them alone{following}, {components.loss:.3g} with all"
    )


def with_hot(frames: FrameTable, hot: NDArray[np.floating] | None, share: float) -> FrameTable:
    """Frames and weights with those of the hot run at the end, which get a share of the weight."""
    if hot is None or not len(hot) or share == 0.0:
        return frames
    own = (1.0 - share) * frames.weights / frames.weights.sum()
    return frames.weighted(own).with_more(hot, np.full(len(hot), share / len(hot)))


def training_frames(pool: FrameTable, settings: Settings) -> FrameTable:
    """The pool, thinned to what trains, with Boltzmann weights."""
    step = stride(len(pool.weights), settings.training.max_frames)
    return pool if step == 1 else pool.at(slice(None, None, step))


def training_power(settings: Settings) -> float:
    """Power of the Boltzmann weights that trains."""
    return settings.pool.power if settings.pool.mode == "mbar" else 1.0


def check_model(system: Subject) -> None:
    """Ask a model what it needs before hours are spent on frames without it.

    Raises:
        SettingsError: when the loop cannot give it.
    """
    settings, known = system.spec.settings, system.observables.names
    needs = model_of(settings.autoencoder, 3 * len(system.cv_atom_indices)).needs
    place = f"autoencoder.model '{settings.autoencoder.model}'"
    if needs.lag_ps and settings.run.iterations > 1:
        raise SettingsError(
            f"{place}: needs pairs of frames of unbiased dynamics, those from iteration 1 on are biased; "
            "take --iters 1, or train on unbiased frames (aecv train)"
        )
    missing = [name for name in needs.columns if name not in known]
    if missing:
        raise SettingsError(
            f"{place}: needs the observable '{missing[0]}', the system has {', '.join(known) or 'none'}; "
            f"add [observables.{missing[0]}]"
        )


def _training_report(result: Trained) -> dict[str, Any]:
    trained = result.autoencoder
    more = {} if result.components is None else {"components": result.components.report()}
    if len(trained.terms) > len(PLAIN_TERMS):
        more["terms"] = dict(trained.terms)
    return {
        "n_frames": result.n_frames,
        "n_effective": result.n_effective,
        "losses_nm2": trained.losses,
        "loss_spread": result.loss_spread,
        "restart": result.choice.restart,
        "restart_score": result.choice.score,
        "restart_lowest": result.choice.lowest,
        "fraction_of_variance": result.loss / trained.variance,
        "train_nm2": trained.train_curves,
        "validation_nm2": trained.validation_curves,
    } | more


def matching(new: FloatArray, old: FloatArray, weights: FloatArray) -> tuple[list[int], FloatArray]:
    """The order and the signs in which a new CV's components fit those of the old one best.

    Components of an autoencoder come in any order and sign; scores do not see it, people's eyes do.

    Args:
        new, old: both CVs on the same frames, shape (n, d).
        weights: shape (n,).

    Returns:
        the new components in the order of the old, and 1 or -1 of each; as they are when d differs.
    """
    d = new.shape[1]
    if old.shape[1] != d:
        return list(range(d)), np.ones(d)
    share = weights / weights.sum()
    x, y = (z - share @ z for z in (new, old))
    correlation = (x * share[:, None]).T @ y / np.outer(np.sqrt(share @ x**2), np.sqrt(share @ y**2))
    order = max(permutations(range(d)), key=lambda p: sum(abs(correlation[p[c], c]) for c in range(d)))
    signs = np.sign([correlation[order[c], c] for c in range(d)])
    signs[signs == 0] = 1.0
    return list(order), signs


def compare(
    new: CV, old: CV | None, samples: Samples, weights: FloatArray, periodic: Sequence[str], seed: int
) -> dict[str, Any]:
    """Scores of the new CV on an iteration's frames: against the old CV and against the observables.

    Args:
        weights: Boltzmann weights of the frames, zero for those left out, shape (n,).
        periodic: names of observables that are angles.

    Returns:
        score, score_unweighted, score_nonlinear (None without old CV) and observables, as in
        `IterationRecord`.
    """
    kept = weights > 0
    xi, share = new(samples.cv_positions[kept]), weights[kept]
    result: dict[str, Any] = {"score": None, "score_unweighted": None, "score_nonlinear": None}
    if old is not None:
        before = old(samples.cv_positions[kept])
        result["score"] = score(xi, before, share)
        result["score_unweighted"] = score(xi, before, np.ones(len(xi)))
        result["score_nonlinear"] = float(nonlinear_r2(before, xi, share, seed=seed).min())
    observables: dict[str, dict[str, float]] = {}
    features = {}
    for name, values in samples.observables.items():
        column = values[kept][:, None]
        features[name] = periodic_features(column) if name in periodic else column
        observables[name] = {
            "linear": float(weighted_r2(xi, features[name], share).min()),
            "nonlinear": float(nonlinear_r2(xi, features[name], share, seed=seed).min()),
        }
    if features:
        everything = np.concatenate(list(features.values()), axis=1)
        observables["xi"] = {
            "linear": float(weighted_r2(everything, xi, share).min()),
            "nonlinear": float(nonlinear_r2(everything, xi, share, seed=seed).min()),
        }
    result["observables"] = observables
    return result
