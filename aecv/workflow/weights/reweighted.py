"""The frames that free energies are estimated from: those of the pool, or all that there are.

MBAR is solved on the pool, whose iterations are thinned in proportion to how slowly they forget. Its solution
gives every other frame of the same states a weight too,

    w(q) ~ (N_jb / n_jb) / sum_jb N_jb exp(f_jb - beta u_jb(xi_j(q))),

with N_jb frames of the state in the pool and n_jb frames that it has here. The f_jb stay those of the pool,
so that populations of basins, and Delta F, keep the error that they have in the pool; it is set by passages,
which thinning does not lose. Bins that walkers cross in passing, at the steep sides of a basin, are filled
by all frames: they are visited anew between two frames of an iteration that is slow. Of alanine dipeptide,
F(phi, psi) of two seeds after five iterations differs by 1.35 kJ/mol so, by 2.25 with the frames of the
pools (root mean square over 10 degree bins below 25 kJ/mol); against a reference:
benchmarks/compare_phi_psi.py.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import SamplingError
from aecv.numerics.free_energy.weights import normalised, pooled_log_weights
from aecv.workflow.weights.pool import BiasedIteration, Pool, Solution, stride

logger = logging.getLogger(__name__)


MOST_FRAMES = 1_000_000
"""About so many frames are taken of all iterations together: they need some 100 bytes and 0.2 ms each."""
_CHUNK = 20_000
"""Frames whose positions are held in double precision at once."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReweightedFrames:
    """Frames with Boltzmann weights and what free energies are along.

    Attributes:
        iteration, walker, frame: where each comes from, shape (n,).
        observables: name -> shape (n,).
        xi: the CV that the last of the iterations was biased along, shape (n, d).
        weights: Boltzmann weights, sum 1, shape (n,).
        of_pool: which of them the pool's frames are, in the pool's order, shape (n_pool,).
    """

    iteration: IntArray
    walker: IntArray
    frame: IntArray
    observables: dict[str, FloatArray]
    xi: FloatArray
    weights: FloatArray
    of_pool: IntArray


def frames_of_pool(pool: Pool, last: BiasedIteration) -> ReweightedFrames:
    """The pool's own frames and weights."""
    return ReweightedFrames(
        iteration=pool.iteration,
        walker=pool.walker,
        frame=pool.frame,
        observables=pool.observables,
        xi=last.cv(pool.cv_positions),
        weights=pool.weights,
        of_pool=np.arange(pool.n_frames),
    )


def all_frames(
    pool: Pool, iterations: Sequence[BiasedIteration], *, most: int = MOST_FRAMES
) -> ReweightedFrames:
    """All frames of the pool's states, or about `most` of them, those of the pool included.

    Args:
        pool: of `mbar_pool`.
        iterations: those that it was made from.

    Raises:
        SamplingError: for a pool that MBAR did not make.
    """
    if pool.solution is None:
        raise SamplingError("all frames: needs a pool that MBAR solved, got the frames of one iteration")
    parts = _parts(pool, pool.solution, iterations, most)
    logger.info(
        "free energies from %d frames of %d iterations, weighted by the solution of %d",
        sum(len(frames) for _, frames in parts), len(iterations), pool.n_frames,
    )  # fmt: skip
    observables: dict[str, list[FloatArray]] = {name: [] for name in pool.observables}
    log_weights, xi = [], []
    for state, (item, frames) in enumerate(parts):
        shift = np.log(pool.solution.n_per_state[state] / len(frames)) if len(frames) else 0.0
        positions = item.samples.cv_positions
        for chunk in _chunks(frames):
            logs, values = _weighed(positions[chunk], pool.solution, iterations)
            log_weights.append(logs + shift)
            xi.append(values)
        for name, series in observables.items():
            series.append(item.samples.observables[name][frames])
    iteration = np.concatenate([np.full(len(frames), item.index) for item, frames in parts])
    frame = np.concatenate([frames for _, frames in parts])
    return ReweightedFrames(
        iteration=iteration,
        walker=np.concatenate([item.samples.walker[frames] for item, frames in parts]),
        frame=frame,
        observables={name: np.concatenate(series) for name, series in observables.items()},
        xi=np.concatenate(xi),
        weights=normalised(np.concatenate(log_weights)),
        of_pool=_places(iteration, frame, pool),
    )


def _parts(
    pool: Pool, solution: Solution, iterations: Sequence[BiasedIteration], most: int
) -> list[tuple[BiasedIteration, IntArray]]:
    """Frames of each state, in the order of the states."""
    of_states = [
        (item, state.frames(item.samples))
        for item, own in zip(iterations, solution.states, strict=True)
        for state in own
    ]
    step = stride(sum(len(frames) for _, frames in of_states), most)
    if step == 1:
        return of_states
    return [
        (item, np.union1d(frames[::step], np.intersect1d(frames, pool.frame[pool.iteration == item.index])))
        for item, frames in of_states
    ]


def _chunks(frames: IntArray) -> Iterator[IntArray]:
    for first in range(0, len(frames), _CHUNK):
        yield frames[first : first + _CHUNK]


def _weighed(
    positions: NDArray[np.float32], solution: Solution, iterations: Sequence[BiasedIteration]
) -> tuple[FloatArray, FloatArray]:
    """Log weights of frames of one state, and the last iteration's CV."""
    along = [item.cv(positions.astype(float)) for item in iterations]
    rows = [state.marginal(xi) for xi, own in zip(along, solution.states, strict=True) for state in own]
    kt = iterations[-1].bias.extended.kt
    logs = pooled_log_weights(np.array(rows), solution.n_per_state, solution.free_energies, kt=kt)
    return logs, along[-1]


def _places(iteration: IntArray, frame: IntArray, pool: Pool) -> IntArray:
    """Where the pool's frames stand among these."""
    span = int(frame.max()) + 1
    keys = iteration * span + frame
    order = np.argsort(keys)
    return order[np.searchsorted(keys, pool.iteration * span + pool.frame, sorter=order)]
