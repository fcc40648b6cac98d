"""Frames that train the next CV, and their Boltzmann weights.

Pool "mbar": frames of all biased iterations. The stages b of frozen bias of iteration j are states with the
effective potential

    U_jb(q) = V(q) + u_jb(xi_j(q)),
    u_jb(xi) = -kT ln int dlam exp(-beta [sum_c kappa_c/2 (xi_c - lam_c)^2 - B_jb(lam)])

where B_jb is known exactly, and MBAR gives each frame

    w(q) ~ 1 / sum_jb N_jb exp(f_jb - beta u_jb(xi_j(q))).

Iteration j alone is the same over its own stages. Frames taken while the bias adapted are left out. An
iteration that adapts throughout is cut into blocks of time instead, B_jb integrates the bias force as it was
in the middle of the block, and the frames of its first `discard` share are left out.

MBAR takes frames for independent. Those of an iteration whose walkers went from basin to basin only now and
then are not, and would count as if they knew its populations: each iteration is therefore thinned in
proportion to its statistical inefficiency.

Once there are later ones, the first `exploration` biased iterations leave the pool: their CV comes from
basins that no frame connected, hides what lies between them, and lets walkers pass once and not return.

Pool "none": the scheme of the reference work, frames of the last iteration alone with
w ~ exp(-beta F_kappa(lam)). F_kappa is an estimate, and taken as exact: replicates of these weights know the
spread of the frames, and not that of F_kappa.

Sources: Shirts, Chodera, J. Chem. Phys. 129, 124105 (2008), doi:10.1063/1.2978177; for extended-system
data Hulm, Dietschreit, Ochsenfeld, J. Chem. Phys. 157, 024110 (2022), doi:10.1063/5.0095554.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.settings import PoolSettings
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.marginal import MarginalBias
from aecv.numerics.free_energy.weights import eabf_weights, mbar_log_weights, normalised, shared_weight
from aecv.numerics.statistics.correlation import statistical_inefficiency
from aecv.sampling.dynamics.walkers import BiasRule
from aecv.workflow.run_folder.samples import Bias, Samples

logger = logging.getLogger(__name__)

Part = tuple[int, Samples, NDArray[np.int64]]
"""Number of an iteration, its samples, and some of its frames."""

SMALL_OVERLAP = 1e-3
"""Share of a state's weight on other states' frames under which MBAR was seen to be off by up to 1 kT."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BiasedIteration:
    """One biased iteration as the pool needs it.

    Attributes:
        index: number of the iteration.
        samples: its frames.
        bias: its bias.
        cv: the CV that was biased.
    """

    index: int
    samples: Samples
    bias: Bias
    cv: CV

    @classmethod
    def stored(cls, folder: Path, index: int, cv: CV) -> "BiasedIteration":
        """That of a folder, whose frames are read when they are asked for."""
        samples, bias = Samples.stored(folder / "samples.npz"), Bias.load(folder / "bias.npz")
        return cls(index=index, samples=samples, bias=bias, cv=cv)


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A part of an iteration whose bias was the same.

    Attributes:
        low, high: shares of the iteration's time; its frames have low < progress <= high.
        marginal: its effective potential on xi.
    """

    low: float
    high: float
    marginal: MarginalBias

    def frames(self, samples: Samples) -> NDArray[np.int64]:
        """Indices of its frames."""
        progress = samples.progress
        return np.flatnonzero((progress > self.low) & (progress <= self.high))


@dataclass(frozen=True, kw_only=True, eq=False)
class BiasedSample:
    """What MBAR gets: frames in the order of their states.

    Attributes:
        energies: u_jb(xi_j(q_n)) of every state and frame [kJ/mol], shape (n_states, n).
        n_per_state: frames of each state, shape (n_states,).
    """

    energies: FloatArray
    n_per_state: NDArray[np.int64]

    @classmethod
    def of_weights(cls, weights: FloatArray, kt: float) -> "BiasedSample":
        """The one state whose frames have these weights, all > 0.

        Its replicates keep the weights of a frame, so that errors made of them omit those of the weights.
        """
        return cls(energies=kt * np.log(weights / weights.max())[None], n_per_state=np.array([len(weights)]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Solution:
    """What MBAR found, for the weights of further frames.

    Attributes:
        states: of each iteration.
        n_per_state: frames of each state that it was solved on, shape (n_states,).
        free_energies: f_jb [kT], shape (n_states,).
    """

    states: tuple[tuple[State, ...], ...]
    n_per_state: NDArray[np.int64]
    free_energies: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Weighted frames.

    Attributes:
        iteration, frame, walker: where each comes from, shape (n,).
        progress: its time as a share of its iteration, shape (n,).
        cv_positions: shape (n, n_cv_atoms, 3) [nm], in order of iteration, block, walker and time.
        observables: name -> shape (n,).
        weights: Boltzmann weights, sum 1, shape (n,).
        sample: what the weights were made from; None for unbiased frames.
        solution: of MBAR; None where it was not asked.
        last_frames: frames of the last iteration that have a weight in it alone, shape (m,).
        last_sample: what these weights were made from; None for unbiased frames.
        last_weights: Boltzmann weights of all frames of the last iteration as a sample of that iteration's
            biased ensemble alone, sum 1, zero for those left out.
    """

    iteration: NDArray[np.int64]
    frame: NDArray[np.int64]
    walker: NDArray[np.int64]
    progress: FloatArray
    cv_positions: NDArray[np.floating]
    observables: dict[str, FloatArray]
    weights: FloatArray
    sample: BiasedSample | None
    solution: Solution | None
    last_frames: NDArray[np.int64]
    last_sample: BiasedSample | None
    last_weights: FloatArray

    @property
    def n_frames(self) -> int:
        return len(self.weights)


def unbiased_pool(samples: Samples, max_frames: int) -> Pool:
    """The frames of an unbiased iteration, all with the same weight, or of a user with the weights given."""
    given = samples.weights
    own = np.ones(samples.n_frames) if given is None else given
    kept = np.flatnonzero(own > 0)
    frames = kept[:: stride(len(kept), max_frames)]
    return _pool(
        [(0, samples, frames)],
        weights=own[frames] / own[frames].sum(),
        sample=None,
        last_frames=kept,
        last_sample=None,
        last_weights=own / own.sum(),
    )


def plain_pool(iteration: BiasedIteration, settings: PoolSettings) -> Pool:
    """The frames of one biased iteration with weights exp(-beta min(F_kappa(lam), ceiling)).

    Above the ceiling lambda is not pushed: the bias is flat there.
    """
    samples, bias = iteration.samples, iteration.bias
    free = bias.total.free_energy()
    capped = replace(free, values=np.minimum(free.values, bias.ceiling_kj_mol))
    last_weights = eabf_weights(samples.lam, capped, kt=bias.extended.kt)
    last_weights = np.where(samples.progress > settings.discard, last_weights, 0.0)
    last_weights /= last_weights.sum()
    kept = np.flatnonzero(last_weights > 0)
    frames = kept[:: stride(len(kept), settings.max_frames)]
    weights = last_weights[frames] / last_weights[frames].sum()
    return _pool(
        [(iteration.index, samples, frames)],
        weights=weights,
        sample=BiasedSample.of_weights(weights, bias.extended.kt),
        last_frames=kept,
        last_sample=BiasedSample.of_weights(last_weights[kept], bias.extended.kt),
        last_weights=last_weights,
    )


def mbar_pool(iterations: Sequence[BiasedIteration], settings: PoolSettings) -> Pool:
    """The frames of several biased iterations with MBAR weights; the last one is the newest."""
    kt = iterations[-1].bias.extended.kt
    states = [_states(item, settings) for item in iterations]
    parts, sample = _sample(iterations, states, settings)
    result = mbar_log_weights(sample.energies, sample.n_per_state, kt=kt)
    groups = np.repeat(np.arange(len(iterations)), [len(own) for own in states])
    overlap = shared_weight(sample.energies, sample.n_per_state, result, groups, kt=kt)
    if len(iterations) > 1 and overlap.min() < SMALL_OVERLAP:
        logger.warning(
            "pool: of %d iterations the one that shares least with the others shares %.1e of its weight "
            "(wanted: more than %g); differences between regions may be off by several kJ/mol: run on",
            len(iterations),
            overlap.min(),
            SMALL_OVERLAP,
        )
    last = iterations[-1].samples
    alone, own = _sample(
        iterations[-1:], states[-1:], settings.model_copy(update={"max_frames": last.n_frames})
    )
    last_weights, last_frames = np.zeros(last.n_frames), np.concatenate([frames for _, _, frames in alone])
    last_weights[last_frames] = normalised(mbar_log_weights(own.energies, own.n_per_state, kt=kt).log_weights)
    return _pool(
        parts,
        weights=normalised(result.log_weights),
        sample=sample,
        solution=Solution(
            states=tuple(map(tuple, states)),
            n_per_state=sample.n_per_state,
            free_energies=result.free_energies,
        ),
        last_frames=last_frames,
        last_sample=own,
        last_weights=last_weights,
    )


def _sample(
    iterations: Sequence[BiasedIteration], states: Sequence[Sequence[State]], settings: PoolSettings
) -> tuple[list[Part], BiasedSample]:
    """Frames of each state, thinned by iteration, and the energies of all of them in all states."""
    kept = [
        (index, item, state.frames(item.samples))
        for index, (item, own) in enumerate(zip(iterations, states, strict=True))
        for state in own
    ]
    slowness = relative_slowness([(item, own[0].low) for item, own in zip(iterations, states, strict=True)])
    step = stride(int(sum(len(frames) / slowness[index] for index, _, frames in kept)), settings.max_frames)
    parts = [
        (item.index, item.samples, thinned(frames, step * slowness[index])) for index, item, frames in kept
    ]
    positions = _gathered(parts, lambda samples: samples.cv_positions)
    rows = []
    for item, own in zip(iterations, states, strict=True):
        xi = item.cv(positions)
        rows += [state.marginal(xi) for state in own]
    counts = np.array([len(frames) for _, _, frames in parts], dtype=np.int64)
    return parts, BiasedSample(energies=np.array(rows), n_per_state=counts)


def _gathered(parts: Sequence[Part], array: Callable[..., NDArray[Any]]) -> NDArray[Any]:
    """An array of the samples at the frames of all parts; that of an iteration is read once, and let go."""
    rows: list[NDArray[Any]] = []
    source, values = None, np.empty(0)
    for _, samples, frames in parts:
        if samples is not source:
            source, values = samples, array(samples)
        rows.append(values[frames])
    return np.concatenate(rows)


def relative_slowness(items: Sequence[tuple[BiasedIteration, float]]) -> FloatArray:
    """Statistical inefficiency of each iteration, after a share of its time, over the smallest, >= 1."""
    found = []
    for item, low in items:
        samples = item.samples
        settled = samples.progress > low
        n_walkers = len(np.unique(samples.walker))
        rows = [values[settled].reshape(n_walkers, -1) for values in samples.slow]
        # neither one frame per walker nor what never changes tells a time scale
        known = [statistical_inefficiency(r) for r in rows if r.shape[1] > 1 and np.ptp(r) > 0]
        found.append(max(known, default=1.0))
    return np.asarray(np.array(found) / min(found))


def thinned(frames: NDArray[np.int64], step: float) -> NDArray[np.int64]:
    """About every step-th of the frames, and at least one."""
    n = max(1, round(len(frames) / step)) if len(frames) else 0
    return frames[(np.arange(n) * len(frames)) // max(n, 1)]


def first_pooled(iteration: int, settings: PoolSettings) -> int:
    """The oldest biased iteration whose frames count in an iteration's pool."""
    return min(1 + settings.exploration, iteration) if settings.mode == "mbar" else iteration


def stride(n: int, most: int) -> int:
    """Smallest stride that leaves at most `most` of n."""
    return max(1, -(-n // most))


def _states(item: BiasedIteration, settings: PoolSettings) -> list[State]:
    """The states of an iteration: its frozen stages, or blocks of time with the bias in their middle."""
    bias, extended = item.bias, item.bias.extended
    if len(bias.potentials):
        edges, potentials = bias.stage_edges, list(bias.potentials)
    else:
        edges = np.linspace(settings.discard, 1.0, settings.blocks + 1)
        rule = BiasRule(ceiling_kj_mol=bias.ceiling_kj_mol, full_samples=extended.full_samples)
        potentials = [rule.potential(bias.snapshot(middle)) for middle in 0.5 * (edges[1:] + edges[:-1])]
    kappa = np.array(extended.kappa)
    return [
        State(low=low, high=high, marginal=MarginalBias(bias.grid, potential, kappa, extended.kt))
        for low, high, potential in zip(edges[:-1].tolist(), edges[1:].tolist(), potentials, strict=True)
    ]


def _pool(
    parts: Sequence[Part],
    *,
    weights: FloatArray,
    sample: BiasedSample | None,
    last_frames: NDArray[np.int64],
    last_sample: BiasedSample | None,
    last_weights: FloatArray,
    solution: Solution | None = None,
) -> Pool:
    names = tuple(parts[0][1].observables)
    return Pool(
        iteration=np.concatenate([np.full(len(frames), index) for index, _, frames in parts]),
        frame=np.concatenate([frames for _, _, frames in parts]),
        walker=_gathered(parts, lambda samples: samples.walker),
        progress=_gathered(parts, lambda samples: samples.progress),
        cv_positions=_gathered(parts, lambda samples: samples.cv_positions),
        observables={
            name: _gathered(parts, lambda samples, name=name: samples.observables[name]) for name in names
        },
        weights=weights,
        sample=sample,
        solution=solution,
        last_frames=last_frames,
        last_sample=last_sample,
        last_weights=last_weights,
    )
