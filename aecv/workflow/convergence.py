"""Free energies of one run as functions of simulated time: do they still move?"""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.numerics.abf import Accumulators
from aecv.results.colvar import write_colvar
from aecv.sampling.system import MolecularSystem
from aecv.workflow.estimates import Estimates, inside_region, passages
from aecv.workflow.pool import Pool
from aecv.workflow.samples import Bias, Samples

FloatArray = NDArray[np.float64]

N_TIMES = 20
WITHIN_KT = 10.0
"""F along the CV is compared with its final estimate where that is below this [kT]."""


def write_convergence(
    path: Path, samples: Samples, pool: Pool, bias: Bias, estimates: Estimates, system: MolecularSystem
) -> None:
    """Write estimates from all frames up to a time, for times of the run.

    Columns: time [ps] (of every walker); delta_f, delta_f_lower, delta_f_upper [kJ/mol], of the run alone
    with 95 % intervals that know of the passages up to then, where a region is defined; xi_change [kJ/mol],
    root-mean-square difference between F of the extended variable up to then and at the end. Values that are
    not known yet are NaN.
    """
    shares = (np.arange(N_TIMES) + 1.0) / N_TIMES
    columns: dict[str, ArrayLike] = {"time": shares * float(samples.time_ps.max())}
    inside = inside_region(samples.observables, system)
    if inside is not None:
        progress = samples.progress[pool.last_frames]
        begin = bias.begin(system.spec.settings.pool.discard)
        found = [
            estimates.alone.delta_f(
                progress <= share + 1e-9,
                passages=passages(samples, estimates.basins_inside, inside, since=begin, until=share),
            )
            for share in shares
        ]
        columns["delta_f"] = [float(item.estimate) if item else np.nan for item in found]
        columns["delta_f_lower"] = [float(item.lower) if item else np.nan for item in found]
        columns["delta_f_upper"] = [float(item.upper) if item else np.nan for item in found]
    columns["xi_change"] = _xi_change(bias, shares)
    write_colvar(path, columns, periodic=())


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
