"""What an iteration's weights and their replicates say: of the pool, and of the iteration alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import BoolArray, FloatArray
from aecv.ground.regions import in_region
from aecv.ground.seeds import seed_31bit
from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy.support import Course
from aecv.numerics.statistics.diagnostics import basin_visits
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.uncertainty import Origins, Resampled, resample
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.weights.pool import BiasedIteration, Pool
from aecv.workflow.weights.reweighted import ReweightedFrames, frames_of_pool


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimates:
    """Weights with their bootstrap replicates.

    Attributes:
        frames: what the pool's free energies are estimated from.
        pooled: of these frames.
        alone: of the last iteration's frames, those of `Pool.last_frames`.
        basins_inside: which starts lie in the region of [delta_f], shape (n_starts,); None without one.
    """

    frames: ReweightedFrames
    pooled: Resampled
    alone: Resampled
    basins_inside: BoolArray | None


def estimate(
    pool: Pool,
    iterations: Sequence[BiasedIteration],
    basins_inside: BoolArray | None,
    system: MolecularSystem,
    *,
    place: int | str,
    n_replicates: int,
    frames: ReweightedFrames | None = None,
) -> Estimates:
    """Bootstrap the pool and its last iteration.

    Args:
        pool: what is resampled.
        iterations: those of the pool, the last one last.
        basins_inside: which starts lie in the region of [delta_f], shape (n_starts,); None without one.
        place: the iteration's number or the production's name, for the random stream.
        n_replicates: of the bootstrap.
        frames: what free energies are estimated from; None for the pool's own frames.
    """
    settings = system.spec.settings
    kt = thermal_energy(settings.dynamics.temperature_k)
    passages = [_passages(item, basins_inside, system) for item in iterations]
    slow = {
        item.index: _slow(item.samples, inside_region(item.samples.observables, system))
        for item in iterations
    }
    last = iterations[-1].samples
    assert pool.sample is not None
    assert pool.last_sample is not None
    pooled = resample(
        pool.sample,
        pool.weights,
        Origins(run=pool.iteration, walker=pool.walker, progress=pool.progress, slow=_at_frames(pool, slow)),
        kt=kt,
        inside=inside_region(pool.observables, system),
        passages=_sum(passages),
        n_replicates=n_replicates,
        seed=seed_31bit(settings.run.seed, "replicates", "pool", place),
        least_visits=settings.free_energy.least_visits,
    )
    own = pool.last_frames
    alone = resample(
        pool.last_sample,
        pool.last_weights[own],
        origins_of(last, own, inside_region(last.observables, system)),
        kt=kt,
        inside=inside_region({name: values[own] for name, values in last.observables.items()}, system),
        passages=passages[-1],
        n_replicates=n_replicates,
        seed=seed_31bit(settings.run.seed, "replicates", "alone", place),
        least_visits=settings.free_energy.least_visits,
    )
    frames = frames or frames_of_pool(pool, iterations[-1])
    inside = inside_region(frames.observables, system)
    course = Course.of(frames.iteration, frames.walker, frames.frame)
    return Estimates(
        frames=frames,
        pooled=pooled.of_more_frames(frames.weights, inside, frames.of_pool, course),
        alone=alone,
        basins_inside=basins_inside,
    )


def origins_of(samples: Samples, frames: NDArray[np.int64], inside: BoolArray | None) -> Origins:
    """Where some frames of one iteration come from."""
    return Origins(
        run=np.zeros(len(frames), dtype=np.int64),
        walker=samples.walker[frames],
        progress=samples.progress[frames],
        slow=tuple(values[frames] for values in _slow(samples, inside)),
    )


def _slow(samples: Samples, inside: BoolArray | None) -> tuple[FloatArray, ...]:
    """What is slow in an iteration, and being in the region, which Delta F is about."""
    return samples.slow if inside is None else (*samples.slow, inside.astype(float))


def inside_region(observables: Mapping[str, FloatArray], system: MolecularSystem) -> BoolArray | None:
    """Which frames lie in the region of [delta_f], shape (n,); None where none is defined."""
    return in_region(observables, system.spec.settings)


def passages(
    samples: Samples,
    basins_inside: BoolArray | None,
    inside: BoolArray,
    *,
    since: float = 0.0,
    until: float = 1.0,
) -> tuple[int, int]:
    """How often walkers entered and left the region between two shares of the time.

    From basin to basin, where starts lie on both sides, so that steps to and fro across the border do not
    count; else every change of side.
    """
    past = (samples.progress > since) & (samples.progress <= until + 1e-9)
    walker, inside = samples.walker[past], inside[past]
    if basins_inside is not None and basins_inside.any() and not basins_inside.all():
        return basin_visits(samples.basin[past], walker, len(basins_inside)).crossings(basins_inside)
    same = walker[1:] == walker[:-1]
    entered = int(np.sum(inside[1:] & ~inside[:-1] & same))
    left = int(np.sum(~inside[1:] & inside[:-1] & same))
    return entered, left


def _passages(
    item: BiasedIteration, basins_inside: BoolArray | None, system: MolecularSystem
) -> tuple[int, int] | None:
    inside = inside_region(item.samples.observables, system)
    if inside is None:
        return None
    # a passage among frames without weight says nothing about those that have one
    return passages(
        item.samples, basins_inside, inside, since=item.bias.begin(system.spec.settings.pool.discard)
    )


def _sum(found: Sequence[tuple[int, int] | None]) -> tuple[int, int] | None:
    known = [pair for pair in found if pair is not None]
    return (sum(pair[0] for pair in known), sum(pair[1] for pair in known)) if known else None


def _at_frames(pool: Pool, slow: dict[int, tuple[FloatArray, ...]]) -> tuple[FloatArray, ...]:
    """Slow series of the iterations at the pool's frames; where an iteration has fewer, 0."""
    most = max(len(series) for series in slow.values())
    columns = np.zeros((most, pool.n_frames))
    for index, series in slow.items():
        mine = pool.iteration == index
        for row, values in enumerate(series):
            columns[row, mine] = values[pool.frame[mine]]
    return tuple(columns)
