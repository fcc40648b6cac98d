"""Production: a longer run along the final CV, and the free energies that a run is made for.

The bias adapts for the first share of the time, then it is frozen in a few stages, so that frames come from
energies that are known exactly. The result comes from these frames and those of the iterations together, by
MBAR: walkers pass rarely, and every passage counts. What the production says alone stands beside it.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aecv.ground.files import write_arrays, write_json
from aecv.ground.forms import Count, Number
from aecv.ground.progress import timed
from aecv.ground.shown import Shown
from aecv.models.cvs.cv import CV
from aecv.numerics.free_energy.weights import effective_sample_size
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.analysis import Analysis, analyse
from aecv.workflow.free_energies.basins import KnownStarts
from aecv.workflow.free_energies.coverage import Coverage, assess
from aecv.workflow.free_energies.estimates import estimate
from aecv.workflow.run_folder.records import finite_or_word, read_record
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.store import Places, RunDirectory
from aecv.workflow.run_folder.timing import Timing
from aecv.workflow.weights.pool import BiasedIteration, first_pooled, mbar_pool
from aecv.workflow.weights.reweighted import all_frames

logger = logging.getLogger(__name__)

OUTPUTS = ("production.json", "coverage.json", "weights.npz")
"""Beside what `analysis.written` finds."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Production(Shown):
    """What came of it; plain numbers for summary.json and the console.

    Attributes:
        folder: its name in the run's folder.
        cv_iteration: whose CV was biased.
        ns, steps_per_s: simulated time and its speed, all walkers together.
        n_frames: frames with a weight, those taken under the frozen bias; n_effective: (sum w)^2 / sum w^2 of
            them.
        delta_f_kj_mol, delta_f_interval: of them and the iterations together, with the 95 % interval.
        delta_f_alone_kj_mol, delta_f_alone_interval: of these frames alone.
        passages: how often walkers went between the basins inside and outside the region of delta_f.
        problems: what was not covered.
    """

    folder: str
    cv_iteration: Count
    ns: Number
    steps_per_s: Number
    n_frames: Count
    n_effective: Number
    delta_f_kj_mol: float | None
    delta_f_interval: tuple[Number, Number] | None
    delta_f_alone_kj_mol: float | None
    delta_f_alone_interval: tuple[Number, Number] | None
    passages: Count | None
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {key: finite_or_word(value) for key, value in asdict(self).items()}

    @classmethod
    def load(cls, folder: Path, *, any_format: bool = False) -> "Production":
        """Read production.json; arguments and errors as `read_record`."""
        return read_record(folder / "production.json", cls, any_format=any_format)


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighed:
    """What the frames of one long run say.

    Attributes:
        n_frames: frames with a weight; n_effective: (sum w)^2 / sum w^2 of them.
        analysis: Delta F and the like.
        coverage: what the walkers covered.
    """

    n_frames: int
    n_effective: float
    analysis: Analysis
    coverage: Coverage


def folder_name(cv_iteration: int) -> str:
    """Folder of the production along an iteration's CV."""
    return f"production_{cv_iteration:02d}"


def conclude(
    run: RunDirectory, cv_iteration: int, previous: Sequence[CV], system: MolecularSystem
) -> Production:
    """Weigh the production's frames, write its free energies, and say what they are.

    Args:
        cv_iteration: whose CV was biased; the run's last iteration.
        previous: the CVs of all iterations up to that one.
    """
    name = folder_name(cv_iteration)
    folder = run.iteration_dir(name)
    samples, bias = Samples.load(folder / "samples.npz"), Bias.load(folder / "bias.npz")
    item = BiasedIteration(index=cv_iteration + 1, samples=samples, bias=bias, cv=previous[-1])
    starts = KnownStarts.load(run, system)
    weighed = weigh(
        run, name, [*pooled_iterations(run, cv_iteration, previous, system), item], starts, system
    )
    result = _result(name, cv_iteration, samples, weighed, run, system)
    write_json(folder / "production.json", result.as_dict())
    for problem in result.problems:
        logger.warning("production: %s", problem)
    return result


def weigh(
    run: RunDirectory,
    place: str,
    items: Sequence[BiasedIteration],
    starts: KnownStarts,
    system: MolecularSystem,
) -> Weighed:
    """Weigh the frames of one long run, and write its free energies and coverage.

    Args:
        place: its folder, where everything is written.
        items: iterations that are pooled with it, and it as the last one.
    """
    folder, settings, item = run.iteration_dir(place), system.spec.settings, items[-1]
    coverage = assess(item.samples, item.bias, starts.n_starts, system)
    n_replicates = settings.production.replicates
    with timed(f"{place}: weights, free energies and their errors of {item.samples.n_frames} frames"):
        pool = mbar_pool(items, settings.pool)
        frames = all_frames(pool, items)
        estimates = estimate(
            pool, items, starts.inside, system, place=place, n_replicates=n_replicates, frames=frames
        )
        analysis = analyse(folder, pool, item.samples, item, estimates, system)
    write_json(folder / "coverage.json", coverage.as_dict())
    write_arrays(
        folder / "weights.npz",
        iteration=frames.iteration,
        frame=frames.frame,
        weights=frames.weights,
        last_weights=pool.last_weights,
    )
    return Weighed(
        n_frames=len(pool.last_frames),
        n_effective=effective_sample_size(pool.last_weights),
        analysis=analysis,
        coverage=coverage,
    )


def pooled_iterations(
    run: Places, cv_iteration: int, previous: Sequence[CV], system: MolecularSystem
) -> list[BiasedIteration]:
    """The biased iterations that are pooled with the production; none where nothing is pooled."""
    settings = system.spec.settings.pool
    if settings.mode == "none":
        return []
    return [
        BiasedIteration.stored(run.iteration_dir(k), k, previous[k - 1])
        for k in range(first_pooled(cv_iteration + 1, settings), cv_iteration + 1)
    ]


def _result(
    name: str,
    cv_iteration: int,
    samples: Samples,
    weighed: Weighed,
    run: RunDirectory,
    system: MolecularSystem,
) -> Production:
    settings = system.spec.settings
    ns = samples.n_frames * settings.sampling.frame_ps / 1000.0
    timing = Timing.load(run.iteration_dir(name))
    return Production(
        folder=name,
        cv_iteration=cv_iteration,
        ns=ns,
        steps_per_s=timing.steps_per_s(ns, settings.dynamics.timestep_ps),
        n_frames=weighed.n_frames,
        n_effective=weighed.n_effective,
        delta_f_kj_mol=weighed.analysis.delta_f_kj_mol,
        delta_f_interval=weighed.analysis.delta_f_interval,
        delta_f_alone_kj_mol=weighed.analysis.delta_f_iteration_kj_mol,
        delta_f_alone_interval=weighed.analysis.delta_f_iteration_interval,
        passages=weighed.analysis.passages,
        problems=weighed.coverage.problems,
    )
