"""The bias that an iteration begins with: the mean force that the pool's frames have along the new CV."""

import logging

import numpy as np

from aecv.ground.files import read_arrays
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable
from aecv.numerics.extended_abf.mean_force import mean_force_of_frames
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.store import RunDirectory

logger = logging.getLogger(__name__)

RELIABLE_FRAMES = 20.0
"""Effective frames near a bin from which its mean force counts as full_samples samples; the spread of one
sample, (kT kappa)^(1/2), then leaves about half a kJ/mol of error per bin width."""


def prior_of_pool(run: RunDirectory, iteration: int, cv: CV, extended: ExtendedVariable) -> Accumulators:
    """Samples that stand for what the frames of an iteration's pool say about a CV.

    A bin near RELIABLE_FRAMES or more effective frames starts with full_samples samples of their mean force,
    one near fewer with proportionally less; the iteration's own samples soon outnumber them.

    Args:
        iteration: whose pool (weights.npz) is read.
        cv: the CV that is going to be biased.
        extended: its coupling.
    """
    stored = read_arrays(run.iteration_dir(iteration) / "weights.npz")
    xi = np.empty((len(stored["frame"]), cv.n_components))
    for index in np.unique(stored["iteration"]):
        chosen = stored["iteration"] == index
        positions = Samples.load(run.iteration_dir(int(index)) / "samples.npz").cv_positions
        xi[chosen] = cv(positions[stored["frame"][chosen]])
    force, effective = mean_force_of_frames(
        xi, stored["weights"], extended.grid, kappa=np.array(extended.kappa), kt=extended.kt
    )
    # whole numbers, so that counts that are added and subtracted stay exact
    counts = np.floor(extended.full_samples * np.minimum(1.0, effective / RELIABLE_FRAMES))
    counts[effective < 1.0] = 0.0  # a bin that a single far frame reaches with its tail knows nothing
    prior = Accumulators.zeros(extended.grid)
    prior.n_lam[:] = counts
    prior.sum_lam[:] = counts[:, None] * force
    logger.info(
        "extended ABF: starts with the mean force of %d pooled frames in %d of %d bins",
        len(xi), int((counts > 0).sum()), extended.grid.size,
    )  # fmt: skip
    return prior
