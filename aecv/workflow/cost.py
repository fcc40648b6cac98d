"""How long a run takes, from the speed of the dynamics."""

from dataclasses import dataclass

from aecv.ground.cores import usable_cores
from aecv.ground.settings import Settings


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


def estimate_times(settings: Settings, steps_per_s: float, *, on_cpu: bool) -> Times:
    """Times of the default job of `iterate`.

    Args:
        settings: of the run.
        steps_per_s: of one process, without bias.
        on_cpu: whether processes run side by side, one per core; walkers take their turns on one GPU.
    """
    processes = min(settings.sampling.walkers, usable_cores()) if on_cpu else 1
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
