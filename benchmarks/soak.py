"""Long runs that stop at the first number that is not finite; part of `gpu_paths.py`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import openmm
from alanine_setting import Setting
from force_ways import Way
from runs import Row

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import AecvError, SimulationError
from aecv.sampling.engines.context_engine import ContextEngine

LOOKS_PER_SEGMENT = 100


def soak_rows(setting: Setting, n_steps: int, check: int, compared: Sequence[Way]) -> list[Row]:
    """How far every way came: `steps` up to the last look that found all finite, and the `fault` after it."""
    return [{"what": way.name, **_soak(setting, way, n_steps, check)} for way in compared]


def _soak(setting: Setting, way: Way, n_steps: int, check: int) -> Row:
    """One way for n_steps inner steps, looked at every `check` of them."""
    every = max(check // way.n, 1)
    sound = 0

    def look(engine: ContextEngine, positions: FloatArray) -> None:
        nonlocal sound
        if found := _not_finite(engine, setting, positions):
            raise SimulationError(f"not finite after {sound + every * way.n} steps: {', '.join(found)}")
        sound += every * way.n

    try:
        engine = way.engine(setting, look)
        job = setting.job(every * LOOKS_PER_SEGMENT, every)
        while sound < n_steps:
            left = max((n_steps - sound) // (every * way.n), 1)
            job = replace(job, n_steps=every * min(left, LOOKS_PER_SEGMENT))
            result = engine.run(job)
            assert job.accumulators is not None
            assert result.increment is not None
            job = replace(
                job,
                state=result.state,
                seed=replace(job.seed, segment=job.seed.segment + 1),
                accumulators=job.accumulators + result.increment,
            )
    except (AecvError, openmm.OpenMMException) as error:
        return {"steps": sound, "fault": str(error)}
    return {"steps": sound, "fault": None}


def _not_finite(engine: ContextEngine, setting: Setting, positions: FloatArray) -> list[str]:
    """Names of what is not finite; the CV is looked at where the positions are."""
    state = engine.context.getState(velocities=True, forces=True, energy=True)
    numbers = {
        "positions": positions,
        "velocities": state.getVelocities(asNumpy=True)._value,
        "forces": state.getForces(asNumpy=True)._value,
        "potential energy": state.getPotentialEnergy()._value,
        "kinetic energy": state.getKineticEnergy()._value,
    }
    found = [name for name, values in numbers.items() if not np.isfinite(values).all()]
    return found or ([] if np.isfinite(setting.cv(positions[setting.cv.atom_indices])).all() else ["xi"])
