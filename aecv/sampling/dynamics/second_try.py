"""A segment that explodes is repeated once with half the time step; then the run ends and says why.

The repetition is part of the segment: it begins from the same state with the same seed, so that a run is the
same with any number of processes, and after it was stopped and continued.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import ExplosionError, SimulationError
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.sampling.dynamics.jobs import Engine, SegmentJob, SegmentResult
from aecv.sampling.system.diagnosis import HUGE, Diagnosis, diagnose
from aecv.sampling.system.molecular_system import MolecularSystem

logger = logging.getLogger(__name__)


class SecondTry:
    """An engine that repeats what explodes; see `Engine`.

    Args:
        engine: what runs segments.
        make_gentle: makes the same engine with half the time step, when it is needed.
        system: for the diagnosis.
    """

    def __init__(self, engine: Engine, make_gentle: Callable[[], Engine], system: MolecularSystem) -> None:
        self._engine = engine
        self._make_gentle = make_gentle
        self._gentle: Engine | None = None
        self._system = system

    def run(self, job: SegmentJob) -> SegmentResult:
        """Run one segment, if need be twice.

        Raises:
            ExplosionError: when it explodes with half the time step, too: iteration, walker, step, atom and
                the term of the force field, and what to do.
        """
        try:
            return self._engine.run(job)
        except ExplosionError as error:
            first = error
        logger.warning("%s: %s; repeated with half the time step", _place(job), first)
        try:
            if self._gentle is None:
                self._gentle = self._make_gentle()
            result = self._gentle.run(replace(job, n_steps=2 * job.n_steps, frame_steps=2 * job.frame_steps))
        except ExplosionError as error:
            raise self._given_up(job, first, error) from error
        increment = result.increment
        if increment is not None:
            # twice as many samples in the same time: each counts half
            increment = Accumulators(grid=increment.grid, samples=0.5 * increment.samples)
        return replace(result, increment=increment, repeated=True)

    def _given_up(self, job: SegmentJob, first: ExplosionError, second: ExplosionError) -> ExplosionError:
        box = job.state.box
        found = what_went_wrong(self._system, second, box) or what_went_wrong(self._system, first, box)
        settings = self._system.spec.settings
        what = f"; {found}" if found is not None else ""
        is_biased = job.accumulators is not None
        if found is not None and found.largest < HUGE and is_biased:
            what += ", as in a sound structure: the bias pulls too hard"
        softer = " or a larger eabf.sigma_bins, a softer spring" if is_biased else ""
        timestep = f"dynamics.timestep_ps than {settings.dynamics.timestep_ps:g}"
        return ExplosionError(
            f"{_place(job)}: {first}; again with half the time step ({second}){what}; what was saved before "
            f"is kept; begin a new run with a smaller {timestep}{softer}, and see what `aecv check` says of "
            "the system",
            second.positions,
            second.after,
        )


def what_went_wrong(
    system: MolecularSystem, error: ExplosionError, box: FloatArray | None = None
) -> Diagnosis | None:
    """The physical forces where it exploded, or when it was last looked at; None where neither is known.

    Args:
        box: in which it did, shape (3, 3) [nm]; None for the System's own.
    """
    for positions in (error.after, error.positions):
        if positions is None or not np.isfinite(positions).all():
            continue
        try:
            return diagnose(system, positions, box)
        except SimulationError:
            continue
    return None


def with_timestep(system: MolecularSystem, scale: float) -> MolecularSystem:
    """The system with another time step."""
    spec, dynamics = system.spec, system.spec.settings.dynamics
    shorter = dynamics.model_copy(update={"timestep_ps": scale * dynamics.timestep_ps})
    settings = spec.settings.model_copy(update={"dynamics": shorter})
    return replace(system, spec=replace(spec, settings=settings))


def _place(job: SegmentJob) -> str:
    return f"{job.seed.stage}, walker {job.seed.walker}, segment {job.seed.segment}"
