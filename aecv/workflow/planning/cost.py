"""How long a run takes, from the speed of the dynamics."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aecv.ground.cores import usable_cores
from aecv.ground.errors import SimulationError
from aecv.ground.progress import roughly
from aecv.ground.settings import Settings

if TYPE_CHECKING:  # a list of systems shall not wait for OpenMM
    from aecv.sampling.processes.workers import Workers
    from aecv.sampling.system.molecular_system import MolecularSystem
    from aecv.sampling.system.platforms import PlatformChoice

logger = logging.getLogger(__name__)

LONG_S = 600.0
"""Duration from which on a trial is named beside it [s]."""
_MEASURE_S = 0.1
"""How long the dynamics are timed before a run [s], which every run waits for."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long the dynamics of `iterate` take, without training and without the bias [s].

    Attributes:
        steps_per_s: of one process, measured.
        processes: that run side by side.
        starts, iterations, production: of the parts of a run.
        production_ns: simulated time of the production.
    """

    steps_per_s: float
    processes: int
    starts: float
    iterations: float
    production: float
    production_ns: float

    @property
    def total(self) -> float:
        return self.starts + self.iterations + self.production


def estimate_times(
    settings: Settings,
    steps_per_s: float,
    *,
    on_cpu: bool,
    n_processes: int | None = None,
    n_devices: int = 1,
) -> Times:
    """Times of `iterate`.

    Args:
        settings: of the run.
        steps_per_s: of one process, without bias.
        on_cpu: whether processes run side by side; walkers take their turns on a GPU.
        n_processes: that work; None for one per core.
        n_devices: GPUs that processes take in turn; fewer than one count as one.
    """
    side_by_side = n_processes or usable_cores()
    if not on_cpu:
        side_by_side = min(side_by_side, max(1, n_devices))
    processes = min(settings.sampling.walkers, side_by_side)
    per_ps = 1.0 / (settings.dynamics.timestep_ps * steps_per_s)
    production = settings.production_ns
    hot_ps = settings.starts.hot_ps if settings.starts.mode == "auto" else 0.0
    at_pressure = 0.0 if settings.barostat.pressure_bar is None else settings.barostat.equilibration_ps
    equilibration = (settings.sampling.equilibration_ps + at_pressure) * settings.sampling.walkers / processes
    return Times(
        steps_per_s=steps_per_s,
        processes=processes,
        starts=per_ps * (hot_ps + equilibration),
        iterations=per_ps * 1000.0 * settings.sampling.ns * settings.run.iterations / processes,
        production=per_ps * 1000.0 * production / processes,
        production_ns=production,
    )


def parts_of(times: Times, settings: Settings, *, learns: bool = True) -> str:
    """What the time of a run goes into, in words; see `log_times`."""
    starts = f"starts and equilibration {roughly(times.starts)}"
    if not learns:
        one = times.iterations / settings.run.iterations
        return f"{starts}, {settings.sampling.ns:g} ns along the CV {roughly(one)}"
    production = f", production of {times.production_ns:g} ns {roughly(times.production)}"
    return (
        f"{starts}, {settings.run.iterations} iterations of {settings.sampling.ns:g} ns "
        f"{roughly(times.iterations)}{production if times.production_ns else ''}"
    )


def log_times(
    system: "MolecularSystem", platform: "PlatformChoice", workers: "Workers", *, learns: bool = True
) -> None:
    """A line in the log that says how long a run is going to take; none where other machines work, too.

    Args:
        learns: whether it is a run of the loop; else one sampling along a CV that is given.
    """
    from aecv.sampling.system.speed import measure_speed

    settings, n = system.spec.settings, workers.n_processes
    if n is None:
        return
    try:
        speed = measure_speed(system, platform, seconds=_MEASURE_S).steps_per_s
    except SimulationError:  # the run itself tells it, with the stage
        return
    times = estimate_times(
        settings, speed, on_cpu=platform.on_cpu, n_processes=n, n_devices=len(workers.devices)
    )
    total = times.total if learns else times.starts + times.iterations / settings.run.iterations
    trial = "; --quick tries the system in about two minutes" if total > LONG_S else ""
    logger.info(
        "about %s of dynamics at %.0f steps/s without bias, %d process%s: %s; the bias and training come on "
        "top%s",
        roughly(total), speed, times.processes, "es" if times.processes > 1 else "",
        parts_of(times, settings, learns=learns), "" if settings.run.trial else trial,
    )  # fmt: skip
