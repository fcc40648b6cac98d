"""Weights of biased frames under the unbiased Boltzmann measure."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import GridError, SamplingError
from aecv.numerics.free_energy.integration import FreeEnergy

PRESOLVE_FRAMES = 20_000
"""MBAR is solved first on about so many frames: that gives a start from which all frames need few steps."""

_MBAR_TOLERANCE = 1e-6
"""Largest accepted |sum of a state's weights - 1|; the solver itself reaches about 1e-12."""


def normalised(log_weights: ArrayLike) -> FloatArray:
    """Weights of sum 1 from log weights with any additive constant.

    Args:
        log_weights: shape (n,); -inf gives weight 0.

    Returns:
        shape (n,).

    Raises:
        SamplingError: if there is no finite log weight, or any is NaN or +inf.
    """
    logs = np.asarray(log_weights, dtype=np.float64)
    top = logs.max(initial=-np.inf)
    if not np.isfinite(top):
        raise SamplingError(
            f"weights: need log weights below +inf of which one is finite, got a largest of {top} among "
            f"{logs.size}; check that frames lie on the visited part of the grid and energies are numbers"
        )
    w = np.exp(logs - top)
    result: FloatArray = w / w.sum()
    return result


def effective_sample_size(weights: ArrayLike) -> float:
    """Kish's effective number of samples, (sum w)^2 / sum w^2; 0 if all weights are 0.

    Frames that are correlated in time count here as if they were not.

    Args:
        weights: shape (n,), >= 0, any normalisation.

    Source: Kish, Survey Sampling, Wiley (1965).
    """
    w = np.asarray(weights, dtype=np.float64)
    top = w.max(initial=0.0)
    if top == 0.0:
        return 0.0
    scaled = w / top
    return float(scaled.sum() ** 2 / np.square(scaled).sum())


def eabf_weights(lam: ArrayLike, free_energy: FreeEnergy, *, kt: float) -> FloatArray:
    """Weights exp(-F(lambda) / kT) of frames of a converged extended-ABF run, sum 1.

    The biased system has the law exp(-(V_ext - F(lambda)) / kT); this weight takes F out again, and the
    integral of exp(-V_ext / kT) over lambda is proportional to exp(-V / kT).

    Args:
        lam: extended coordinate of every frame [CV], shape (n, n_dims).
        free_energy: F on the grid of lambda; multilinear between bin centres.
        kt: thermal energy [kJ/mol].

    Returns:
        shape (n,); exactly 0 where lambda is off the grid, in an unvisited bin or on another island than
        the one with most samples, since F is not known there.

    Raises:
        GridError: if lam does not have shape (n, n_dims).
        SamplingError: if no frame has a weight.

    Source: Belkacemi et al., J. Chem. Theory Comput. 18, 59 (2022), doi:10.1021/acs.jctc.1c00415.
    """
    energies = free_energy.interpolate(lam)
    return normalised(np.where(np.isnan(energies), -np.inf, -energies / kt))


@dataclass(frozen=True, kw_only=True, eq=False)
class MbarResult:
    """What MBAR says about a pool of frames of several bias potentials.

    Attributes:
        log_weights: log weights of the frames in the unbiased state, normalised to sum 1, shape (N,).
        free_energies: -ln(Z_k / Z_unbiased) of every bias [kT], shape (K,).
    """

    log_weights: FloatArray
    free_energies: FloatArray

    @property
    def weights(self) -> FloatArray:
        """Weights of sum 1, shape (N,)."""
        return normalised(self.log_weights)

    @property
    def n_effective(self) -> float:
        """Effective sample size of the unbiased state."""
        return effective_sample_size(self.weights)


def mbar_log_weights(bias_energies: ArrayLike, n_per_state: ArrayLike, *, kt: float) -> MbarResult:
    """Weights of pooled frames in the unbiased state by the multistate Bennett acceptance ratio.

    w_n ~ 1 / sum_k N_k exp(f_k - U_k(x_n) / kT), with f_k = -ln sum_n w_n exp(-U_k(x_n) / kT) solved
    self-consistently by pymbar's solvers. Unbiased frames are a state of bias energy 0.

    Args:
        bias_energies: U_k(x_n), what bias k adds to the energy of frame n [kJ/mol], shape (K, N). Frames are
            ordered by the state that they were sampled in: first N_0 of state 0, then N_1 of state 1 ...
        n_per_state: N_k, shape (K,), sum N; 0 is allowed, the state then only gets a free energy.
        kt: thermal energy [kJ/mol].

    Raises:
        GridError: for shapes that do not match.
        SamplingError: without frames, for energies that are not finite, or if the equations do not converge.

    Source: Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008), doi:10.1063/1.2978177;
        on extended ABF: Hulm et al., J. Chem. Phys. 157, 024110 (2022), doi:10.1063/5.0095554.
    """
    energies, n = np.asarray(bias_energies, dtype=np.float64), np.asarray(n_per_state, dtype=np.int64)
    if energies.ndim != 2 or n.shape != (energies.shape[0],) or n.sum() != energies.shape[1] or (n < 0).any():
        raise GridError(
            f"mbar: needs bias energies of shape (K, N) and K counts >= 0 of sum N, got {energies.shape} and "
            f"counts of shape {n.shape} and sum {n.sum()}"
        )
    if not n.any():
        raise SamplingError("mbar: needs frames, got none; pool at least one run")
    if not np.isfinite(energies).all():
        raise SamplingError("mbar: bias energies need to be finite; check the frames for NaN")
    reduced = energies / kt
    sampled = np.flatnonzero(n)
    u, counts = reduced[sampled], n[sampled].astype(np.float64)
    f = _solve_mbar(u, counts)
    log_denominator = _log_denominator(u, counts, f)
    _check_converged(u, f, log_denominator)

    log_norm = float(logsumexp(-log_denominator))
    log_weights = -log_denominator - log_norm
    free_energies = -np.array([logsumexp(log_weights - row) for row in reduced])
    return MbarResult(log_weights=log_weights, free_energies=free_energies)


def pooled_log_weights(
    bias_energies: ArrayLike, n_per_state: ArrayLike, free_energies: ArrayLike, *, kt: float
) -> FloatArray:
    """Log weights of any frames by the solution that MBAR found on others, -ln sum_k N_k exp(f_k - u_k(x)).

    Args:
        bias_energies: U_k(x_n) [kJ/mol], shape (K, n).
        n_per_state: N_k of the frames that MBAR was solved on, shape (K,).
        free_energies: f_k that it gave [kT], shape (K,).

    Returns:
        shape (n,), with the same additive constant for all frames.
    """
    counts, f = np.asarray(n_per_state, dtype=np.float64), np.asarray(free_energies, dtype=np.float64)
    sampled = np.flatnonzero(counts)
    u = np.asarray(bias_energies, dtype=np.float64)[sampled] / kt
    return -_log_denominator(u, counts[sampled], f[sampled])


def shared_weight(
    bias_energies: ArrayLike, n_per_state: ArrayLike, result: MbarResult, groups: ArrayLike, *, kt: float
) -> FloatArray:
    """How much of the equilibrium weight of each group of states lies on frames of other groups.

    W_gn = sum_(k in g) N_k w_n exp(f_k - U_k(x_n) / kT), normalised over all frames. A group that shares
    nothing has a free energy that hangs on nothing. Blocks of one run always share with each other, which
    is why states are grouped.

    Args:
        bias_energies, n_per_state, kt: as `mbar_log_weights` got them.
        result: what it gave.
        groups: group of every state, 0 .. n_groups - 1, shape (K,).

    Returns:
        shape (n_groups,), in [0, 1]; NaN for a group without frames.
    """
    energies, n = np.asarray(bias_energies, dtype=np.float64), np.asarray(n_per_state, dtype=np.int64)
    group_of_state = np.asarray(groups, dtype=np.int64)
    group_of_frame = np.repeat(group_of_state, n)
    shared = np.full(int(group_of_state.max()) + 1, np.nan)
    for group in range(len(shared)):
        states = np.flatnonzero((group_of_state == group) & (n > 0))
        if not len(states):
            continue
        terms = result.log_weights + result.free_energies[states, None] - energies[states] / kt
        weights = np.exp(terms + np.log(n[states])[:, None]).sum(axis=0)
        shared[group] = weights[group_of_frame != group].sum() / weights.sum()
    return shared


def _solve_mbar(u: FloatArray, counts: FloatArray) -> FloatArray:
    """Reduced free energies of sampled states, f_0 = 0: on a thinned pool first, then polished on all frames.

    The MBAR objective is convex, so a trust region always descends, up to rounding; the adaptive iteration
    then reaches it. pymbar's default and robust protocols failed on, or took minutes for, pools whose biases
    differ by tens of kT. Its solver functions are called instead of its MBAR class, which reseeds NumPy's
    global generator.
    """
    if len(counts) == 1:
        return np.zeros(1)
    ends = np.cumsum(counts.astype(np.int64))
    # <u_k> over a state's own frames is below f_k (Jensen) but follows large offsets between the states.
    f = np.array([row[end - int(n) : end].mean() for row, end, n in zip(u, ends, counts, strict=True)])
    f -= f[0]
    thinned, n_thinned = every_nth(counts.astype(np.int64), max(1, int(counts.sum()) // PRESOLVE_FRAMES))
    with _quiet_pymbar() as solvers:
        f, _ = solvers.solve_mbar(
            u[:, thinned], n_thinned.astype(float), f, solver_protocol=_steps("trust-exact")
        )
        f, _ = solvers.solve_mbar(u, counts, f, solver_protocol=_steps("adaptive", "trust-exact", "adaptive"))
    return np.asarray(f, dtype=np.float64)


def _steps(*methods: str) -> tuple[dict[str, Any], ...]:
    """pymbar's solver protocol, each method starting where the last one stopped; pymbar alters it."""
    known: dict[str, dict[str, Any]] = {
        "trust-exact": {"tol": 1e-6, "options": {"maxiter": 200}},
        "adaptive": {"tol": 1e-8, "options": {"maxiter": 30, "min_sc_iter": 0}},
    }
    return tuple({"method": name, "continuation": True, **deepcopy(known[name])} for name in methods)


def every_nth(counts: IntArray, stride: int) -> tuple[IntArray, IntArray]:
    """Indices of every stride-th frame of every state, and how many these are per state, shape (K,)."""
    ends = np.cumsum(counts)
    chosen = [np.arange(end - size, end, stride) for end, size in zip(ends, counts, strict=True)]
    return np.concatenate(chosen), np.array([len(c) for c in chosen], dtype=np.int64)


def _log_denominator(u: FloatArray, counts: FloatArray, f: FloatArray) -> FloatArray:
    """ln sum_k N_k exp(f_k - u_k(x_n)), shape (N,)."""
    return np.asarray(logsumexp((np.log(counts) + f)[:, None] - u, axis=0), dtype=np.float64)


def _check_converged(u: FloatArray, f: FloatArray, log_denominator: FloatArray) -> None:
    """At the solution the weights of every sampled state add up to 1."""
    sums = np.array([np.exp(f_k - row - log_denominator).sum() for f_k, row in zip(f, u, strict=True)])
    worst = np.abs(sums - 1.0).max()
    if not worst <= _MBAR_TOLERANCE:
        raise SamplingError(
            f"mbar: needs state weights that add up to 1 within {_MBAR_TOLERANCE:g}, got {worst:.3g} off; "
            "some runs share too few configurations with the others: sample longer or leave them out"
        )


@contextmanager
def _quiet_pymbar() -> Iterator[Any]:
    """pymbar's solvers with its log below errors silenced: it advertises JAX and comments every step."""
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # Imported here because it speaks on import, and takes half a second that only pooling needs.
        from pymbar import mbar_solvers

        yield mbar_solvers
    finally:
        logger.setLevel(level)
