"""Bootstrap replicates of MBAR weights.

Units of frames are resampled, a frame has the multiplicity m_n of its unit, and MBAR is solved anew, since
its free energies f_k are part of the error:

    w_n ~ m_n / sum_k N'_k exp(f'_k - u_k(x_n)),   N'_k = sum of m_n over the frames of state k.

Source: Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008), doi:10.1063/1.2978177.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import GridError
from aecv.numerics.free_energy.weights import MbarResult, every_nth, mbar_log_weights
from aecv.numerics.statistics.sampling_units import Units

_TOLERANCE = 1e-6
"""Largest accepted |sum of a state's weights - 1| of a replicate."""

_MAX_STEPS = 30
"""Newton steps per replicate; 3 to 6 are usual."""

_DAMPING = 1e-10
"""Share of the Hessian's mean diagonal that keeps it invertible where states share no frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Replicates:
    """Weights of thinned frames, of all of them and of each bootstrap replicate.

    Attributes:
        frames: which of the frames are used, shape (n,).
        weights: their Boltzmann weights, sum 1, shape (n,).
        replicates: the same of each replicate, shape (n_replicates, n); 0 for units that were not drawn.
        n_units, n_strata: what was resampled; `interval` asks for them.
        n_unsolved: replicates with MBAR equations that are not solved to 1e-6; they have the last iterate.
    """

    frames: IntArray
    weights: FloatArray
    replicates: FloatArray
    n_units: int
    n_strata: int
    n_unsolved: int


def resampled_weights(
    bias_energies: ArrayLike,
    n_per_state: ArrayLike,
    units: Units,
    *,
    kt: float,
    n_replicates: int = 200,
    max_frames: int = 20_000,
    seed: int | np.random.SeedSequence,
) -> Replicates:
    """Bootstrap replicates of MBAR weights in the unbiased state.

    Every stride-th frame of each state is used. Where frames are further apart than their correlation time
    this makes the error a little too large, never too small.

    Args:
        bias_energies: U_k(x_n) [kJ/mol], shape (K, N), frames in the order of their states, as
            `mbar_log_weights` takes them. K = 1 is a run with one frozen bias.
        n_per_state: N_k, shape (K,).
        units: of all N frames. A unit may have frames of several states.
        kt: thermal energy [kJ/mol].
        n_replicates: 200 give a standard error to 5 %.
        max_frames: about how many frames are used.
        seed: same seed, same arrays.

    Raises:
        GridError, SamplingError: as `mbar_log_weights`, or if units are of another number of frames.
    """
    energies, n = np.asarray(bias_energies, dtype=np.float64), np.asarray(n_per_state, dtype=np.int64)
    if energies.ndim != 2 or units.of_frame.shape != (energies.shape[1],):
        raise GridError(
            f"bootstrap: needs bias energies of shape (K, N) and the unit of each frame, got "
            f"{energies.shape} and units of {units.of_frame.shape}"
        )
    frames, counts = every_nth(n, max(1, -(-energies.shape[1] // max_frames)))
    full = mbar_log_weights(energies[:, frames], counts, kt=kt)
    sampled = np.flatnonzero(counts)
    shares = _state_shares(energies[np.ix_(sampled, frames)] / kt, counts[sampled], full, sampled)
    state = np.repeat(np.arange(len(sampled)), counts[sampled])
    kept = units.at(frames)
    weights, replicates, n_unsolved = full.weights, np.zeros((n_replicates, len(frames))), 0
    for row, drawn in zip(replicates, kept.multiplicities(n_replicates, seed), strict=True):
        m = drawn[kept.of_frame]
        used = np.flatnonzero(m)
        factor, solved = _denominator_factor(shares[:, used], m[used], state[used], counts[sampled])
        row[used] = m[used] * weights[used] / factor
        row /= row.sum()
        n_unsolved += not solved
    return Replicates(
        frames=frames,
        weights=weights,
        replicates=replicates,
        n_units=kept.n_units,
        n_strata=kept.n_strata,
        n_unsolved=n_unsolved,
    )


def _state_shares(u: FloatArray, counts: IntArray, full: MbarResult, sampled: IntArray) -> FloatArray:
    """Share of each sampled state in each frame, N_k exp(f_k - u_k) over its sum, shape (n_sampled, n).

    Replicates only multiply these by a factor per state, so that nothing overflows.
    """
    exponents = (np.log(counts) + full.free_energies[sampled])[:, None] - u + full.log_weights
    shares = np.exp(exponents)
    return np.asarray(shares / shares.sum(axis=0))


def _denominator_factor(
    shares: FloatArray, m: FloatArray, state: IntArray, counts: IntArray
) -> tuple[FloatArray, bool]:
    """New over old MBAR denominator of every frame, sum_k r_k share_kn, and whether it is converged.

    r_k = exp(y_k), up to a common factor, minimises sum_n m_n ln sum_k r_k share_kn - sum_k N'_k y_k, which
    is convex, by Newton steps that are halved until they descend, from the full solution r_k = N'_k / N_k.
    """
    target = np.asarray(np.bincount(state, weights=m, minlength=len(counts)), dtype=np.float64)
    drawn = np.flatnonzero(target)  # a state that lost all its frames is no state of the replicate
    a, target = shares[drawn], target[drawn]
    y = np.log(target / counts[drawn])
    factor = np.exp(y) @ a
    if len(drawn) == 1:
        return factor, True
    for _ in range(_MAX_STEPS):
        p = a * (np.exp(y)[:, None] / factor)
        sums = p @ m
        residual = sums - target
        if np.abs(residual / target).max() <= _TOLERANCE:
            return factor, True
        hessian = np.diag(sums) - (p * m) @ p.T
        scale = sums.mean()
        # A constant added to y changes nothing: scale fixes it. The damping is for states without overlap.
        step = np.linalg.solve(hessian + scale / len(y) + _DAMPING * scale * np.eye(len(y)), residual)
        y, factor = _descended(y, step, a, m, target, factor)
    return factor, False


def _descended(
    y: FloatArray, step: FloatArray, a: FloatArray, m: FloatArray, target: FloatArray, factor: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """y - step, with the step halved until the objective does not grow, and its denominators."""
    before = m @ np.log(factor) - target @ y
    # Near the solution the decrease drowns in rounding.
    slack = 1e-12 * (abs(before) + m.sum())
    for _ in range(30):
        trial = y - step
        new = np.exp(trial) @ a
        with np.errstate(divide="ignore"):
            after = m @ np.log(new) - target @ trial
        if after <= before + slack:
            return trial, new
        step = 0.5 * step
    return y, factor
