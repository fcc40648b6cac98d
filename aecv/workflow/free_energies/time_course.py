"""Free energies of one run as functions of simulated time: do they still move?"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.seeds import seed_31bit
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.numerics.free_energy.weights import mbar_log_weights, normalised
from aecv.numerics.statistics.intervals import Interval
from aecv.results.formats.colvar import write_colvar
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.estimates import Estimates, inside_region, origins_of, passages
from aecv.workflow.free_energies.uncertainty import resample
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.weights.pool import BiasedSample, Pool

N_TIMES = 10
N_REPLICATES, MOST_FRAMES, LEAST_FRAMES = 40, 5000, 50
"""Of the bootstrap at each time, and of the frames that it takes: bands of a picture."""
WITHIN_KT = 10.0
"""F along the CV is compared with its final estimate where that is below this [kT]."""


def write_convergence(
    path: Path, samples: Samples, pool: Pool, bias: Bias, estimates: Estimates, system: MolecularSystem
) -> None:
    """Write estimates from all frames up to a time, for times of the run.

    Columns: time [ps] (of every walker); delta_f, delta_f_lower, delta_f_upper [kJ/mol], of the run alone
    with 95 % intervals, where a region is defined; xi_change [kJ/mol], root-mean-square difference between F
    of the extended variable up to then and at the end. Values that are not known yet are NaN.

    Frames up to a time are no sample of the bias of the whole run: MBAR is solved anew for each time, over
    the blocks or stages that had begun.
    """
    shares = (np.arange(N_TIMES) + 1.0) / N_TIMES
    columns: dict[str, ArrayLike] = {"time": shares * float(samples.time_ps.max())}
    inside = inside_region(samples.observables, system)
    if inside is not None:
        found = [_until(share, samples, inside, pool, bias, estimates, system) for share in shares]
        columns["delta_f"] = [np.nan if item is None else float(item.estimate) for item in found]
        columns["delta_f_lower"] = [np.nan if item is None else float(item.lower) for item in found]
        columns["delta_f_upper"] = [np.nan if item is None else float(item.upper) for item in found]
    columns["xi_change"] = _xi_change(bias, shares)
    write_colvar(path, columns, periodic=())


def _until(
    share: float,
    samples: Samples,
    inside: NDArray[np.bool_],
    pool: Pool,
    bias: Bias,
    estimates: Estimates,
    system: MolecularSystem,
) -> Interval | None:
    """Delta F from the frames up to a share of the time; None where these are too few."""
    sample, settings = pool.last_sample, system.spec.settings
    assert sample is not None
    thin = slice(None, None, max(1, -(-len(pool.last_frames) // MOST_FRAMES)))
    frames = pool.last_frames[thin]
    chosen = samples.progress[frames] <= share + 1e-9
    state = np.repeat(np.arange(len(sample.n_per_state)), sample.n_per_state)[thin][chosen]
    if chosen.sum() < LEAST_FRAMES:
        return None
    frames = frames[chosen]
    part = BiasedSample(
        energies=sample.energies[:, thin][:, chosen],
        n_per_state=np.bincount(state, minlength=len(sample.n_per_state)),
    )
    kt = bias.extended.kt
    weights = normalised(mbar_log_weights(part.energies, part.n_per_state, kt=kt).log_weights)
    begin = bias.begin(settings.pool.discard)
    return resample(
        part,
        weights,
        origins_of(samples, frames, inside),
        kt=kt,
        inside=inside[frames],
        passages=passages(samples, estimates.basins_inside, inside, since=begin, until=share),
        n_replicates=N_REPLICATES,
        seed=seed_31bit(settings.run.seed, "replicates", "until", round(100 * share)),
    ).delta_f()


def _xi_change(bias: Bias, shares: FloatArray) -> FloatArray:
    """Root-mean-square difference of F_kappa to the final one, over the bins both know, at each share."""
    final = bias.total.free_energy().on_main()
    change = np.full(len(shares), np.nan)
    for row, share in enumerate(shares):
        known = bias.history.shares <= share + 1e-9
        if not known.any():
            continue
        samples = bias.history.samples[np.flatnonzero(known)[-1]] - bias.prior.samples
        then = Accumulators(grid=bias.grid, samples=samples).free_energy().on_main()
        both = np.isfinite(then) & (final < WITHIN_KT * bias.extended.kt)
        if both.any():
            difference = (then - final)[both]
            change[row] = float(np.sqrt(np.mean((difference - difference.mean()) ** 2)))
    return change
