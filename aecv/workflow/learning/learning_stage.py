"""Learning stage: weigh the frames of an iteration, train the next CV, score it, and write it all down."""

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.files import read_arrays, write_arrays, write_json
from aecv.ground.progress import Progress, timed
from aecv.ground.seeds import seed_31bit
from aecv.ground.settings import Settings
from aecv.models.cvs.cv import CV
from aecv.models.inputs.frame_table import FrameTable
from aecv.sampling.processes.workers import Later, ThisProcess, Workers
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies import analysis
from aecv.workflow.free_energies.analysis import Analysis, analyse
from aecv.workflow.free_energies.basins import KnownStarts
from aecv.workflow.free_energies.coverage import Coverage, assess
from aecv.workflow.free_energies.estimates import estimate
from aecv.workflow.learning.next_cv import LATENT, Trained, compare, train_cv, training_frames, training_power
from aecv.workflow.learning.threshold import MOST_FRAMES, Threshold, bootstrap_threshold
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.store import Places, RunDirectory
from aecv.workflow.run_folder.timing import Timing
from aecv.workflow.weights.pool import (
    BiasedIteration,
    Pool,
    first_pooled,
    mbar_pool,
    plain_pool,
    unbiased_pool,
)

logger = logging.getLogger(__name__)

N_REPLICATES = 100
"""Of the bootstrap behind the error bars of an iteration: its standard errors are good to 7 %."""

CV_FILES = ("cv.pt", "cv.npz", "cv.json")
OUTPUTS = ("weights.npz", "coverage.json", *CV_FILES, "training.json", "score.json", "record.json")
DERIVED = ("weights.npz", "coverage.json", *analysis.DERIVED)
"""Patterns of what is made of the frames without any training, and can be made again."""


def outputs(settings: Settings, folder: Path) -> tuple[str, ...]:
    """What the stage has written: `OUTPUTS`, free energies, and the CV of all components where some are left
    out."""
    autoencoder = settings.autoencoder
    names = (*OUTPUTS, *analysis.written(folder))
    if autoencoder.n_biased == autoencoder.latent:
        return names
    return (*names, *(f"{LATENT}/{name}" for name in CV_FILES))


def learn(
    run: RunDirectory,
    iteration: int,
    previous: Sequence[CV],
    system: MolecularSystem,
    progress: Progress,
    *,
    workers: Workers | None = None,
) -> None:
    """Do the stage for one iteration.

    Args:
        previous: the CVs of all earlier iterations; iteration k was biased along previous[k - 1].
        workers: processes that are free; one of them does the bootstrap beside the training. None for this
            one alone. They change no result.

    Raises:
        SamplingError, TrainingError: as `learning.train_cv` and `threshold.bootstrap_threshold`.
    """
    began = time.perf_counter()
    folder = run.iteration_dir(iteration)
    samples = Samples.load(folder / "samples.npz")
    pool, coverage, found = weigh(run, iteration, previous, samples, system)
    old = previous[-1] if previous else None
    hot = None
    if iteration == 0 and system.spec.settings.starts.hot_share:
        hot = read_arrays(folder / "starts.npz")["hot_cv_positions"]
    settings = system.spec.settings
    frames = _table(pool, samples, is_biased=iteration > 0)
    measured = FrameTable(samples.cv_positions, pool.last_weights)
    with _bootstrap(iteration, frames, measured, system, workers or ThisProcess()) as bootstrap:
        trained = train_cv(
            folder,
            frames,
            system,
            place=f"iteration {iteration}",
            seed=seed_31bit(settings.run.seed, "training", iteration),
            power=training_power(settings),
            progress=progress,
            previous=old,
            hot=hot,
        )
        new = load_cv(folder)
        seed = seed_31bit(system.spec.settings.run.seed, "score", iteration)
        scores = compare(new, old, samples, pool.last_weights, system.observables.periodic_names, seed)
        threshold = _threshold(f"iteration {iteration}", scores["score"], bootstrap, system)
    write_json(folder / "score.json", scores | threshold.report())
    record = _record(
        iteration,
        samples,
        Timing.load(folder),
        found,
        coverage,
        trained,
        scores | threshold.fields(),
        system,
        time.perf_counter() - began,
    )
    write_json(folder / "record.json", record.as_dict())
    _warn(record)


def weigh(
    run: RunDirectory,
    iteration: int,
    previous: Sequence[CV],
    samples: Samples,
    system: MolecularSystem,
) -> tuple[Pool, Coverage, Analysis]:
    """The weighted frames of an iteration, what its walkers covered and its free energies, also as files.

    The first part of the stage; the same frames give the same files (`DERIVED`).
    """
    folder = run.iteration_dir(iteration)
    with timed(f"iteration {iteration}: weights of {samples.n_frames} frames and what is pooled with them"):
        pool, biased = weighted_pool(run, iteration, previous, samples, system)
    last = biased[-1] if biased else None
    write_arrays(
        folder / "weights.npz",
        iteration=pool.iteration,
        frame=pool.frame,
        weights=pool.weights,
        last_weights=pool.last_weights,
    )
    starts = KnownStarts.load(run, system)
    coverage = assess(samples, None if last is None else last.bias, starts.n_starts, system)
    write_json(folder / "coverage.json", coverage.as_dict())
    with timed(f"iteration {iteration}: free energies and their errors"):
        estimates = None
        if biased:
            estimates = estimate(
                pool, biased, starts.inside, system, place=iteration, n_replicates=N_REPLICATES
            )
        found = analyse(folder, pool, samples, last, estimates, system)
    return pool, coverage, found


def weigh_again(run: RunDirectory, iteration: int, previous: Sequence[CV], system: MolecularSystem) -> None:
    """Make the files of `DERIVED` again; for the arguments see `learn`."""
    weigh(run, iteration, previous, Samples.load(run.iteration_dir(iteration) / "samples.npz"), system)


def weighted_pool(
    run: Places, iteration: int, previous: Sequence[CV], samples: Samples, system: MolecularSystem
) -> tuple[Pool, list[BiasedIteration]]:
    """The weighted frames that an iteration knows, and the biased iterations that they come from.

    Args:
        iteration: its number; frames and bias of earlier ones are read from their folders.
        previous: CVs; iteration k was biased along previous[k - 1].
        samples: the frames of this iteration.
    """
    settings = system.spec.settings.pool
    if iteration == 0:
        return unbiased_pool(samples, settings.max_frames), []
    biased = [
        BiasedIteration.stored(run.iteration_dir(k), k, previous[k - 1])
        for k in range(first_pooled(iteration, settings), iteration + 1)
    ]
    biased[-1] = replace(biased[-1], samples=samples)
    if settings.mode == "none":
        return plain_pool(biased[-1], settings), biased[-1:]
    return mbar_pool(biased, settings), biased


def _table(pool: Pool, samples: Samples, *, is_biased: bool) -> FrameTable:
    """The pool as it trains; biased frames have no time: what lies between them is no natural dynamics."""
    _, series = np.unique([pool.iteration, pool.walker], axis=1, return_inverse=True)
    return FrameTable(
        pool.cv_positions,
        pool.weights,
        series=series.reshape(-1),
        time_ps=None if is_biased else samples.time_ps[pool.frame],
        columns=pool.observables,
    )


def _bootstrap(
    iteration: int,
    pool: FrameTable,
    measured: FrameTable,
    system: MolecularSystem,
    workers: Workers,
) -> AbstractContextManager[Later[Threshold] | None]:
    """The bootstrap behind s_min, for when it is needed; None where there is no score, or s_min is given."""
    settings = system.spec.settings
    if iteration == 0 or settings.convergence.s_min != "bootstrap":
        return nullcontext()
    return workers.begin(
        partial(
            bootstrap_threshold,
            training_frames(pool, settings).compact(),
            measured.thinned(MOST_FRAMES).compact(),
            system.cv_reference,
            settings=settings,
            power=training_power(settings),
            seed=seed_31bit(settings.run.seed, "bootstrap", iteration),
        )
    )


def _threshold(
    place: str, score: float | None, bootstrap: Later[Threshold] | None, system: MolecularSystem
) -> Threshold:
    """What the iteration's score has to reach; bootstrapped only where the score may reach it."""
    convergence = system.spec.settings.convergence
    if score is None:
        return Threshold(s_min=None)
    if bootstrap is None:
        return Threshold(s_min=float(convergence.s_min))
    if score < convergence.floor:
        return Threshold(s_min=None)
    with timed(f"{place}: s_min from {convergence.replicas} trainings on resampled frames"):
        return bootstrap.result()


def _record(
    iteration: int,
    samples: Samples,
    timing: Timing,
    found: Analysis,
    coverage: Coverage,
    trained: Trained,
    scores: dict[str, Any],
    system: MolecularSystem,
    learning_s: float,
) -> IterationRecord:
    components = trained.components
    dynamics, wall_s = system.spec.settings.dynamics, timing.wall_s
    # frames that a user gave cost no dynamics
    n_simulated = samples.n_frames if timing.simulated else 0
    ns = n_simulated * system.spec.settings.sampling.frame_ps / 1000.0
    return IterationRecord(
        index=iteration,
        **scores,
        **asdict(found),
        problems=coverage.problems,
        n_effective=trained.n_effective,
        n_frames=trained.n_frames,
        loss=trained.loss,
        loss_spread=trained.loss_spread,
        explained_variance=1.0 - trained.loss / trained.autoencoder.variance,
        restart_score=trained.choice.score,
        restart_lowest=trained.choice.lowest,
        n_inverted=samples.n_inverted,
        n_turned=samples.n_turned,
        ns=ns,
        steps_per_s=timing.steps_per_s(ns, dynamics.timestep_ps),
        wall_s=wall_s + learning_s,
        biased_components=None if components is None else components.biased,
        importances=None if components is None else tuple(components.importances.tolist()),
        biased_loss=None if components is None else components.biased_loss,
    )


def _warn(record: IterationRecord) -> None:
    """Say what a person should know about an iteration's frames."""
    for problem in record.problems:
        logger.warning("iteration %d: %s", record.index, problem)
    if record.n_islands is not None and record.n_islands > 1:
        logger.warning(
            "iteration %d: lambda visited %d unconnected regions; free energies are given on the "
            "one with most samples",
            record.index,
            record.n_islands,
        )
