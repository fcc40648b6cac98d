"""Several walkers that share one ABF bias (multiple-walker ABF).

Walkers run side by side for a segment each, then their increments enter the common total in the order of
their index. The sums therefore do not depend on how many of them ran at once, or which was ready first.

Source: Minoukadeh, Chipot, Lelievre, J. Chem. Theory Comput. 6, 1008 (2010), doi:10.1021/ct900524t.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aecv.ground.errors import SettingsError
from aecv.numerics.abf import Accumulators
from aecv.sampling.dynamics import SegmentJob, SegmentResult, SegmentSeed, WalkerState

Executor = Callable[[Iterable[SegmentJob]], Iterable[SegmentResult]]
"""Runs jobs and yields their results in the order of the jobs."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How an iteration is cut into rounds of segments.

    Attributes:
        root, stage: name the random streams.
        n_walkers: walkers.
        frame_steps: steps between frames.
        segment_steps: steps of each round; a multiple of frame_steps.
    """

    root: int
    stage: str
    n_walkers: int
    frame_steps: int
    segment_steps: tuple[int, ...]

    @property
    def n_rounds(self) -> int:
        return len(self.segment_steps)

    @property
    def steps_per_walker(self) -> int:
        return sum(self.segment_steps)

    @property
    def frames_per_walker(self) -> int:
        return self.steps_per_walker // self.frame_steps


def make_plan(
    *,
    root: int,
    stage: str,
    n_walkers: int,
    total_ps: float,
    segment_ps: float,
    frame_ps: float,
    timestep_ps: float,
) -> Plan:
    """Cut a total simulation length over all walkers into equal rounds; the last one takes what is left.

    Raises:
        SettingsError: when a walker would not get a single frame.
    """
    frame_steps = round(frame_ps / timestep_ps)
    frames = int(total_ps / n_walkers / frame_ps * (1 + 1e-9))
    if frames < 1:
        raise SettingsError(
            f"sampling: {total_ps:g} ps over {n_walkers} walkers hold no frame every {frame_ps:g} ps; "
            "raise --ns, or lower sampling.walkers or sampling.frame_ps"
        )
    per_round = max(1, round(segment_ps / frame_ps))
    full, rest = divmod(frames, per_round)
    segments = [per_round] * full + ([rest] if rest else [])
    return Plan(
        root=root,
        stage=stage,
        n_walkers=n_walkers,
        frame_steps=frame_steps,
        segment_steps=tuple(n * frame_steps for n in segments),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """All walkers between two rounds.

    Attributes:
        rounds_done: number of rounds behind it.
        states: one per walker.
        increments: per walker, what it alone has gathered; None without bias.
        prior: samples that the bias begins with; they steer it and are no part of any estimate.
    """

    rounds_done: int
    states: tuple[WalkerState, ...]
    increments: tuple[Accumulators, ...] | None
    prior: Accumulators | None = None

    @property
    def total(self) -> Accumulators | None:
        """What the bias comes from: the prior and the walkers' own samples, in index order."""
        if self.increments is None:
            return None
        total = self.prior or Accumulators.zeros(self.increments[0].grid)
        for increment in self.increments:
            total = total + increment
        return total


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """One round: the ensemble after it, and what each walker brought."""

    ensemble: Ensemble
    results: tuple[SegmentResult, ...]


def run_rounds(
    ensemble: Ensemble,
    plan: Plan,
    executor: Executor,
    *,
    unbiased_bins: Callable[[Accumulators], NDArray[np.bool_]] | None = None,
) -> Iterator[Round]:
    """Run the rounds that an ensemble still has before it.

    Args:
        ensemble: where to start; its `rounds_done` may be anything up to plan.n_rounds.
        plan: lengths and names of the random streams.
        executor: runs the segments of a round.
        unbiased_bins: gives, from the total, the bins where lambda is not to be pushed.
    """
    for index in range(ensemble.rounds_done, plan.n_rounds):
        total = ensemble.total
        mask = unbiased_bins(total) if unbiased_bins is not None and total is not None else None
        jobs = [
            SegmentJob(
                state=state,
                n_steps=plan.segment_steps[index],
                frame_steps=plan.frame_steps,
                seed=SegmentSeed(root=plan.root, stage=plan.stage, walker=walker, segment=index),
                accumulators=total,
                unbiased=mask,
            )
            for walker, state in enumerate(ensemble.states)
        ]
        results = tuple(executor(jobs))
        ensemble = Ensemble(
            rounds_done=index + 1,
            states=tuple(result.state for result in results),
            increments=_added(ensemble.increments, results),
            prior=ensemble.prior,
        )
        yield Round(ensemble=ensemble, results=results)


def _added(
    increments: Sequence[Accumulators] | None, results: Sequence[SegmentResult]
) -> tuple[Accumulators, ...] | None:
    if increments is None:
        return None
    return tuple(
        old + result.increment if result.increment is not None else old
        for old, result in zip(increments, results, strict=True)
    )
