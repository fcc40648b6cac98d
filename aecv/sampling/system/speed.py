"""How fast the dynamics of a system run on this machine."""

import math
import time
from dataclasses import dataclass

import openmm

from aecv.ground.errors import SimulationError, first_line
from aecv.ground.seeds import seed_31bit
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice

BUSY = 0.5
"""Share of a core below which a measured speed says little."""
_WARM_UP = 10
"""Steps before the clock starts: a GPU compiles its kernels at the first one."""
_FASTER = 10
"""Each batch of steps is at most this much longer than the one before."""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Steps of unbiased dynamics of one process.

    Attributes:
        steps_per_s: by the clock.
        share: of a core that the process got; None on a GPU.
    """

    steps_per_s: float
    share: float | None


def busy_words(share: float) -> str:
    """What a low share of a core means."""
    return (
        f"busy machine: the steps got {share:.0%} of a core, so that they may be {1 / share:.0f} times "
        "as fast when nothing else runs"
    )


def measure_speed(system: MolecularSystem, platform: PlatformChoice, *, seconds: float = 1.0) -> Speed:
    """Take steps from the structure as it comes, for about some seconds.

    Batches grow until one takes half of the time; its speed counts. Where the structure explodes, the steps
    cost the same.

    Args:
        system: what is simulated, without bias.
        platform: where.
        seconds: how long, setting up not included.

    Raises:
        SimulationError: when no step can be taken.
    """
    settings = system.spec.settings
    seed = seed_31bit(settings.run.seed, "speed")
    context, integrator = make_context(system, platform=platform, seed=seed)
    try:
        context.setPositions(system.start_positions[0])
        context.setVelocitiesToTemperature(settings.dynamics.temperature_k, seed)
        wall, _ = _timed(context, integrator, _WARM_UP)
        n = _WARM_UP
        while True:
            wall, work = _timed(context, integrator, n)
            if wall >= 0.5 * seconds:
                break
            n = math.ceil(n * min(_FASTER, 0.6 * seconds / wall))
    except openmm.OpenMMException as error:
        raise SimulationError(f"speed: no step can be taken ({first_line(error)})") from error
    return Speed(steps_per_s=n / wall, share=work / wall if platform.on_cpu else None)


def _timed(context: openmm.Context, integrator: openmm.Integrator, n_steps: int) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    began, at_work = time.perf_counter(), time.process_time()
    integrator.step(n_steps)
    context.getState(energy=True)  # waits for a GPU
    return time.perf_counter() - began, time.process_time() - at_work
