"""Where walkers begin: minimised structures and equilibrated walkers on them, kept in the run's folder."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays, write_arrays, write_json
from aecv.ground.progress import Progress
from aecv.models.cvs.cv import CV
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.dynamics.walkers import Ensemble, Plan
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.processes.workers import Workers
from aecv.sampling.starting.equilibration import Moved, Runner, equilibrate
from aecv.sampling.starting.pieces import EQUILIBRATION_TITLES, PIECES
from aecv.sampling.starting.starts import Means, StartReport, find_starts
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.sampling.system.platforms import PlatformChoice
from aecv.workflow.run_folder.segments import SegmentFolder, pack_states, run_saved, unpack_states
from aecv.workflow.run_folder.store import Place, RunDirectory

logger = logging.getLogger(__name__)


def prepare_walkers(
    run: RunDirectory,
    place: Place,
    system: MolecularSystem,
    platform: PlatformChoice,
    progress: Progress,
    workers: Workers,
    cv: CV | None = None,
) -> tuple[WalkerState, ...]:
    """Equilibrated walkers on diverse starts; read from the run's folder where they are there already.

    Writes starts.npz (minimised structures, frames of the hot run, walkers) and starts.json. Until then a
    folder `equilibration/` holds what is done of it.

    Args:
        place: the folder in the run.
        workers: where the equilibration runs.
        cv: whose atoms of the hot run are kept; None for those that the autoencoder sees.
    """
    folder, settings = run.iteration_dir(place), system.spec.settings
    inputs: Mapping[str, Any] = {} if cv is None else {"cv": cv.fingerprint}
    if not run.is_done(place, "starts", inputs):
        run.begin(place, "starts", inputs)
        found = folder / PIECES / "found.npz"
        if not found.exists():
            means = Means(
                platform=platform,
                pieces=PieceFolder(folder / PIECES),
                workers=workers,
                progress=progress,
            )
            starts = find_starts(system, settings.starts, settings.run.seed, means)
            _log_starts(starts.report)
            write_json(folder / "starts.json", starts.report.as_dict())
            atoms = system.cv_atom_indices if cv is None else cv.atom_indices
            found.parent.mkdir(exist_ok=True)
            write_arrays(found, minimised=starts.positions, hot_cv_positions=starts.hot_frames[:, atoms])
        arrays = read_arrays(found)
        states = equilibrate(
            system,
            arrays["minimised"],
            n_walkers=settings.sampling.walkers,
            platform=platform,
            run=in_pieces(folder / PIECES, progress, workers, settings.dynamics.timestep_ps),
        )
        write_arrays(folder / "starts.npz", **arrays, **pack_states(states))
        run.mark_done(place, "starts", inputs, ("starts.npz", "starts.json"))
    shutil.rmtree(folder / PIECES, ignore_errors=True)
    return unpack_states(read_arrays(folder / "starts.npz"))


class PieceFolder:
    """Pieces in a folder, an archive each; see `aecv.sampling.starting.pieces.Pieces`.

    A damaged piece is as good as none: it is made again, and is the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, name: str, fields: Sequence[str]) -> Mapping[str, Any] | None:
        """The arrays of a piece; None where it is not there, cannot be read, or lacks one of the fields."""
        path = self._folder / f"{name}.npz"
        if not path.exists():
            return None
        try:
            arrays = read_arrays(path)
        except StoreError as error:
            logger.warning("%s; it is made again", error)
            return None
        return arrays if arrays.keys() >= set(fields) else None

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Write a piece, in place of one of the same name."""
        self._folder.mkdir(exist_ok=True)
        write_arrays(self._folder / f"{name}.npz", **arrays)


def in_pieces(folder: Path, progress: Progress, workers: Workers, timestep_ps: float) -> Runner:
    """Runs a plan round by round, each of them saved, from where an earlier process stopped."""

    def run(plan: Plan, recipe: EngineRecipe, states: tuple[WalkerState, ...]) -> Moved:
        """As `Runner`."""
        segments = SegmentFolder(
            folder / plan.stage, Ensemble(rounds_done=0, states=states, increments=None), plan
        )
        ensemble = run_saved(
            segments,
            plan,
            lambda: workers.executor(recipe),
            lambda total: progress(f"starts: {EQUILIBRATION_TITLES[plan.stage]}", total, "ps"),
            per_step=timestep_ps * plan.n_walkers,
        )
        return Moved(states=ensemble.states, boxes=segments.boxes())

    return run


def _log_starts(report: StartReport) -> None:
    """Energy above the lowest start and observables of every start, a line each."""
    for index, energy in enumerate(report.energies):
        values = ", ".join(f"{name} {series[index]:.2f}" for name, series in report.observables.items())
        logger.info(
            "start %d: %.1f kJ/mol above the lowest; %s", index, energy - min(report.energies), values
        )
