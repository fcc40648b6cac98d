"""Several walkers that share one ABF bias (multiple-walker ABF).

Walkers run side by side for a segment each, then their increments enter the common total in the order of
their index. The sums therefore do not depend on how many of them ran at once, or which was ready first.

A biased run explores first: its bias adapts, in every step along one component. Mean forces estimated along
several components are no gradient, and what they drive round a loop no potential describes; there the samples
of all walkers become a potential at the beginning of every round, whose slope is the bias (projected ABF).
Then come stages in which the bias is frozen: the potential of its beginning stays as it is to the end of the
stage. Frames of a stage are an equilibrium sample of an energy function that is known exactly.

Source: Minoukadeh, Chipot, Lelievre, J. Chem. Theory Comput. 6, 1008 (2010), doi:10.1021/ct900524t;
    Alrachid, Lelievre, SMAI J. Comput. Math. 1, 55 (2015), arXiv:1501.07094.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SettingsError
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.numerics.free_energy.integration import bias_potential
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult, SegmentSeed, WalkerState

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
        stages: of each round: 0 while the bias adapts, then 1, 2 ... for the stages of frozen bias.
        rounds_per_save: rounds whose frames are written together.
    """

    root: int
    stage: str
    n_walkers: int
    frame_steps: int
    segment_steps: tuple[int, ...]
    stages: tuple[int, ...]
    rounds_per_save: int = 1

    @property
    def n_rounds(self) -> int:
        return len(self.segment_steps)

    @property
    def steps_per_walker(self) -> int:
        return sum(self.segment_steps)

    @property
    def frames_per_walker(self) -> int:
        return self.steps_per_walker // self.frame_steps

    @property
    def shares(self) -> FloatArray:
        """Share of the iteration's time that is over after each round, shape (n_rounds,)."""
        return np.asarray(np.cumsum(self.segment_steps) / self.steps_per_walker)

    @property
    def stage_edges(self) -> FloatArray:
        """Shares of the time at which the frozen stages begin, and 1 at the end of the last one.

        Half a frame late, so that the last frame before an edge lies before it whatever the rounding; shape
        (n_stages + 1,), or (0,) without frozen stages.
        """
        n_stages = max(self.stages)
        if n_stages == 0:
            return np.empty(0)
        ends = np.array([0, *np.cumsum(self.segment_steps)])
        firsts = [ends[self.stages.index(stage)] for stage in range(1, n_stages + 1)]
        return np.array([*((f + 0.5 * self.frame_steps) / self.steps_per_walker for f in firsts), 1.0])


def make_plan(
    *,
    root: int,
    stage: str,
    n_walkers: int,
    total_ps: float,
    segment_ps: float,
    frame_ps: float,
    timestep_ps: float,
    adaptive_share: float = 1.0,
    frozen_stages: int = 0,
    rounds_per_save: int = 1,
) -> Plan:
    """Cut a total simulation length over all walkers into phases, and these into rounds.

    Rounds of a phase are equal, but for the last one, which takes what is left. A run too short to give every
    stage a frame has fewer stages.

    Args:
        segment_ps: of every walker between saves.
        adaptive_share: share of the time before the frozen stages, which are equal.
        rounds_per_save: rounds that a segment is cut into.

    Raises:
        SettingsError: when a walker would not get a single frame.
    """
    frame_steps = round(frame_ps / timestep_ps)
    frames = int(total_ps / n_walkers / frame_ps * (1 + 1e-9))
    if frames < 1:
        raise SettingsError(
            f"{stage}: {total_ps:g} ps over {n_walkers} walkers hold no frame every {frame_ps:g} ps; "
            "raise its length (--ns; --final-ns of the production), or lower sampling.walkers or "
            "sampling.frame_ps"
        )
    per_round = max(1, round(segment_ps / rounds_per_save / frame_ps))
    adaptive = max(1, round(adaptive_share * frames)) if frozen_stages else frames
    n_stages = min(frozen_stages, frames - adaptive)
    edges = [0, *np.linspace(adaptive, frames, n_stages + 1).round().astype(int).tolist()]
    segments: list[tuple[int, int]] = []
    for index in range(n_stages + 1):
        full, rest = divmod(edges[index + 1] - edges[index], per_round)
        segments += [(index, n) for n in [per_round] * full + ([rest] if rest else [])]
    return Plan(
        root=root,
        stage=stage,
        n_walkers=n_walkers,
        frame_steps=frame_steps,
        segment_steps=tuple(n * frame_steps for _, n in segments),
        stages=tuple(index for index, _ in segments),
        rounds_per_save=rounds_per_save,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """All walkers between two rounds.

    Attributes:
        rounds_done: number of rounds behind it.
        states: one per walker.
        increments: per walker, what it alone has gathered; None without bias.
        prior: samples that the bias begins with; they steer it and are no part of any estimate.
        potentials: bias potential of every frozen stage that has begun [kJ/mol], shape (grid.size,) each.
    """

    rounds_done: int
    states: tuple[WalkerState, ...]
    increments: tuple[Accumulators, ...] | None
    prior: Accumulators | None = None
    potentials: tuple[FloatArray, ...] = ()

    @property
    def total(self) -> Accumulators | None:
        """What the bias comes from: the prior and the walkers' own samples, in index order."""
        if self.increments is None:
            return None
        total = self.prior or Accumulators.zeros(self.increments[0].grid)
        for increment in self.increments:
            total = total + increment
        return total


@dataclass(frozen=True, kw_only=True)
class BiasRule:
    """How samples become a bias.

    Attributes:
        ceiling_kj_mol: free energy above which lambda is not pushed.
        full_samples: samples in a bin from which its bias is applied in full.
        projected: whether the adapting bias is the gradient of a potential, which changes between rounds.
    """

    ceiling_kj_mol: float
    full_samples: int
    projected: bool = False

    def unbiased(self, total: Accumulators) -> NDArray[np.bool_]:
        """Bins where lambda is not to be pushed, shape (grid.size,)."""
        return total.over_ceiling(self.ceiling_kj_mol)

    def potential(self, total: Accumulators) -> FloatArray:
        """The potential whose slope is closest to the adaptive bias force [kJ/mol], shape (grid.size,).

        Unlike the bias force of the bins it is the gradient of something (projected ABF).

        Source: Alrachid, Lelievre, SMAI J. Comput. Math. 1, 55 (2015), arXiv:1501.07094.
        """
        force = total.applied_force(full_samples=self.full_samples, unbiased=self.unbiased(total))
        return bias_potential(force, total.n_lam, total.grid)


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
    rule: BiasRule | None = None,
) -> Iterator[Round]:
    """Run the rounds that an ensemble still has before it.

    Args:
        ensemble: where to start; its `rounds_done` may be anything up to plan.n_rounds.
        plan: lengths and names of the random streams.
        executor: runs the segments of a round.
        rule: how the total becomes a bias; None for no ceiling, and for plans without frozen stages.
    """
    for index in range(ensemble.rounds_done, plan.n_rounds):
        total, potentials = ensemble.total, ensemble.potentials
        if total is not None and rule is not None and plan.stages[index] > len(potentials):
            potentials = (*potentials, rule.potential(total))
        mask, potential = None, None
        if plan.stages[index] > 0:
            potential = potentials[-1]
        elif total is not None and rule is not None and rule.projected:
            potential = rule.potential(total)
        elif total is not None and rule is not None:
            mask = rule.unbiased(total)
        jobs = [
            SegmentJob(
                state=state,
                n_steps=plan.segment_steps[index],
                frame_steps=plan.frame_steps,
                seed=SegmentSeed(root=plan.root, stage=plan.stage, walker=walker, segment=index),
                accumulators=total,
                unbiased=mask,
                potential=potential,
            )
            for walker, state in enumerate(ensemble.states)
        ]
        results = tuple(executor(jobs))
        ensemble = Ensemble(
            rounds_done=index + 1,
            states=tuple(result.state for result in results),
            increments=_added(ensemble.increments, results),
            prior=ensemble.prior,
            potentials=potentials,
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
