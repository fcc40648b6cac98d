"""A trial of about two minutes: settings of a run whose lengths follow from the measured speed of its system.

They are a layer over system.toml and under --config and --set. What was chosen stands in run.json, so that a
trial is resumed with the same numbers. Nothing can be concluded from one: it shows that a system runs, from
its files to the report.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecv.ground.files import read_json
from aecv.ground.layers import Overrides, flat, load_toml, merge, nested, override_layers
from aecv.ground.settings import Settings
from aecv.molecules.spec import SystemSpec, load_system
from aecv.workflow.planning.cost import estimate_times

if TYPE_CHECKING:  # OpenMM takes seconds to load: only where there is something to time
    from aecv.models.cvs.cv import CV
    from aecv.sampling.system.molecular_system import MolecularSystem

KEYS = (
    "run.trial",
    "run.iterations",
    "sampling.ns",
    "sampling.frame_ps",
    "sampling.segment_ps",
    "sampling.equilibration_ps",
    "barostat.equilibration_ps",
    "starts.hot_ps",
    "starts.candidates",
    "eabf.bins",
    "eabf.full_samples",
    "eabf.update_ps",
    "training.restarts",
    "training.max_epochs",
    "training.batch_size",
    "training.validation_blocks",
    "training.min_effective_frames",
    "convergence.replicas",
    "production.ns",
    "production.replicates",
)
"""Settings that a trial has values of its own for; one along a CV that is given has them of fewer."""

ITERATIONS = 3
_PRODUCTION = 1.5
"""Length of the production in iterations."""
_SAMPLING_S, _EQUILIBRATION_S, _HOT_S, _MINIMA_S = 60.0, 4.0, 8.0, 8.0
"""Shares of the two minutes; imports, training and pictures take the rest [s]."""
_BIAS_S = 1e-5
"""What the bias adds to a step [s]: 6 us of an encoder of 8 atoms, and some for the turns between walkers."""
_MINIMUM_STEPS = 1500
"""Steps of dynamics that a minimisation costs as much as; ala2 and chignolin take 800 to 2000."""
_FRAMES = 4000
"""Frames of an iteration, so that training and weighing take seconds."""
_LEAST_FRAMES, _LEAST_STEPS = 400, 5
"""Fewest frames of an iteration and steps between frames; a slow system takes longer than planned."""
_PIECES = 5
"""Saves of an iteration, and updates of the bias between saves."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a system runs.

    Attributes:
        steps_per_s: of one process without bias.
        processes: that run walkers side by side.
    """

    steps_per_s: float
    processes: int

    @property
    def biased(self) -> float:
        """Steps of all walkers together under a bias [1/s]."""
        return self.processes / (1.0 / self.steps_per_s + _BIAS_S)


def load_trial(
    name_or_path: str | Path,
    *,
    config: str | Path | None = None,
    overrides: Overrides = (),
    cv: "Callable[[MolecularSystem], CV] | None" = None,
    n_processes: int | None = None,
    devices: Sequence[str] = (),
) -> SystemSpec:
    """A system with the settings of a trial of about two minutes; dynamics are timed for a second.

    Args:
        name_or_path, config, overrides: as `load_system`; these win over the trial's.
        cv: makes the CV of a sampling along one that is given, such as `given_cv.given.GivenCV`; None
            where the loop is tried.
        n_processes: that are going to run walkers; None for one per core.
        devices: indices of the GPUs that they are going to take in turn; empty for OpenMM's choice.

    Raises:
        AecvError: as `load_system`, and for a system that cannot be built or run.

    Example:
        >>> import aecv
        >>> trial = aecv.load_trial("ala2", overrides={"run.iterations": 2})
        >>> trial.settings.run.iterations, trial.settings.sampling.ns < 10
        (2, True)
        >>> outcome = aecv.iterate(trial, "runs/trial")  # doctest: +SKIP
        >>> outcome.verdict.sentences[0]  # doctest: +SKIP
        'trial: lengths too short for conclusions'
    """
    from aecv.sampling.system.molecular_system import build
    from aecv.sampling.system.platforms import choose_platform
    from aecv.sampling.system.speed import measure_speed

    spec = load_system(name_or_path, config=config, overrides=overrides)
    system = build(spec)
    n_components = None if cv is None else cv(system).n_components
    platform = choose_platform(system.system, spec.settings.dynamics.platform, devices=devices)
    speed = measure_speed(system, platform).steps_per_s
    times = estimate_times(
        spec.settings, speed, on_cpu=platform.on_cpu, n_processes=n_processes, n_devices=len(devices)
    )
    pace = Pace(steps_per_s=speed, processes=times.processes)
    layers = [] if config is None else [load_toml(Path(config))]
    given = merge({}, *layers, *(fields for _, fields in override_layers(overrides)))
    layer = trial_layer(spec.settings, pace, given, n_components=n_components)
    return load_system(name_or_path, config=config, overrides=overrides, trial=layer)


def stored_trial(folder: Path) -> dict[str, Any] | None:
    """The layer of a trial that was begun in a folder; None where the folder holds another run, or none.

    Raises:
        StoreError: for a run.json that cannot be read.
    """
    path = folder / "run.json"
    if not path.is_file():
        return None
    manifest = read_json(path)
    settings = manifest.get("settings") if isinstance(manifest, dict) else None
    chosen = flat(settings) if isinstance(settings, dict) else {}
    if not chosen.get("run.trial"):
        return None
    return nested({key: chosen[key] for key in KEYS if chosen.get(key) is not None})


def trial_layer(
    settings: Settings, pace: Pace, given: Mapping[str, Any], *, n_components: int | None = None
) -> dict[str, Any]:
    """Settings of a trial, as nested fields.

    Args:
        settings: of the run without a trial.
        pace: how fast it runs.
        given: what --config and --set say, which wins; lengths that are left follow from it.
        n_components: of the CV that is given; None for the loop, which learns its own.
    """
    chosen: dict[str, Any] = {}
    asked = flat(given)

    def choose(key: str, value: Any) -> Any:
        """The value of a key: that which was given, else this."""
        mine = asked.get(key)
        if mine is None:
            chosen[key] = value
        return value if mine is None else mine

    timestep, walkers = settings.dynamics.timestep_ps, settings.sampling.walkers
    choose("run.trial", True)
    learns = n_components is None
    n_parts = choose("run.iterations", ITERATIONS) + _PRODUCTION if learns else 1.0
    steps = max(_SAMPLING_S * pace.biased / n_parts, _LEAST_FRAMES * _LEAST_STEPS)
    if asked.get("sampling.ns") is not None:
        steps = 1000.0 * float(asked["sampling.ns"]) / timestep
    frame_steps = max(_LEAST_STEPS, _rounded(steps / _FRAMES))
    frame_ps = choose("sampling.frame_ps", _length(frame_steps, timestep))
    per_walker = max(_rounded(steps * timestep / frame_ps / walkers), -(-_LEAST_FRAMES // walkers))
    ns = choose("sampling.ns", _short(per_walker * walkers * frame_ps / 1000.0))
    _choose_pieces(choose, settings, per_walker, frame_ps)
    _choose_starts(choose, settings, pace)
    _choose_bias(choose, settings, ns / timestep * 1000.0, n_components or settings.autoencoder.n_biased)
    if learns:
        choose("production.ns", _short(_PRODUCTION * ns))
        _choose_learning(choose, settings)
    return nested(chosen)


def _choose_pieces(choose: Any, settings: Settings, per_walker: int, frame_ps: float) -> None:
    """Saves, and updates of the bias, of a walker that gets so many frames."""
    barostat, least = settings.barostat, 1
    if barostat.pressure_bar is not None:
        moves_ps = barostat.interval_steps * settings.dynamics.timestep_ps * 10
        least = math.ceil(moves_ps / frame_ps)
    segment = max(per_walker // _PIECES, least)
    choose("sampling.segment_ps", _short(segment * frame_ps))
    choose("eabf.update_ps", _short(max(1, segment // _PIECES) * frame_ps))


def _choose_starts(choose: Any, settings: Settings, pace: Pace) -> None:
    """Hot run, minimisations and equilibration."""
    timestep, walkers = settings.dynamics.timestep_ps, settings.sampling.walkers
    hot_ps = min(settings.starts.hot_ps, _HOT_S * pace.steps_per_s * timestep)
    minima = int(_MINIMA_S * pace.steps_per_s / _MINIMUM_STEPS)
    candidates = choose("starts.candidates", max(5, min(20, settings.starts.candidates, minima)))
    choose("starts.hot_ps", _short(_whole(max(hot_ps, candidates * timestep), timestep)))
    rate = pace.steps_per_s * pace.processes * timestep / walkers
    equilibration = min(settings.sampling.equilibration_ps, _EQUILIBRATION_S * rate)
    choose("sampling.equilibration_ps", _short(_whole(equilibration, timestep)))
    barostat = settings.barostat
    if barostat.pressure_bar is not None and barostat.equilibration_ps:
        least = 10 * barostat.interval_steps * timestep
        at_pressure = _whole(min(barostat.equilibration_ps, _EQUILIBRATION_S * rate), timestep)
        choose("barostat.equilibration_ps", _short(max(least, at_pressure)))


def _choose_bias(choose: Any, settings: Settings, steps: float, d: int) -> None:
    """Grid of d components and error bars for so many steps of all walkers."""
    bins = choose("eabf.bins", min(settings.eabf.bins, {1: 50, 2: 25}.get(d, 12)))
    choose("eabf.full_samples", max(5, min(settings.eabf.full_samples, _rounded(steps / bins**d / 4.0))))
    choose("production.replicates", min(settings.production.replicates, 50))


def _choose_learning(choose: Any, settings: Settings) -> None:
    """Training and bootstrap of s_min."""
    training = settings.training
    choose("training.restarts", min(training.restarts, 4))
    choose("training.max_epochs", min(training.max_epochs, 10))
    choose("training.batch_size", min(training.batch_size, 200))
    choose("training.validation_blocks", min(training.validation_blocks, 20))
    choose("training.min_effective_frames", 1.0)
    choose("convergence.replicas", min(settings.convergence.replicas, 4))


def _rounded(value: float) -> int:
    """One and a half significant digits, down, so that about the same speed gives the same number."""
    if value < 10:
        return max(1, int(value))
    unit = 10 ** int(math.log10(value))
    return int(max(m for m in (1, 1.5, 2, 3, 4, 5, 6, 8) if m <= value / unit * (1 + 1e-9)) * unit)


def _whole(length_ps: float, timestep_ps: float) -> float:
    """A rounded number of time steps."""
    return _length(_rounded(length_ps / timestep_ps), timestep_ps) if length_ps > 0 else 0.0


def _length(n_steps: int, timestep_ps: float) -> float:
    return _short(n_steps * timestep_ps)


def _short(value: float) -> float:
    """Without the digits that come of binary fractions."""
    return float(f"{value:.10g}")
