"""Where walkers begin: minimised structures and equilibrated walkers on them, kept in the run's folder."""

import logging
from collections.abc import Mapping
from typing import Any

from aecv.ground.files import read_arrays, write_arrays, write_json
from aecv.models.cv import CV
from aecv.sampling.dynamics import WalkerState
from aecv.sampling.equilibration import equilibrate
from aecv.sampling.starts import StartReport, find_starts
from aecv.sampling.system import MolecularSystem, PlatformChoice
from aecv.workflow.progress import Progress
from aecv.workflow.segments import pack_states, unpack_states
from aecv.workflow.store import Place, RunDirectory

logger = logging.getLogger(__name__)


def prepare_walkers(
    run: RunDirectory,
    place: Place,
    system: MolecularSystem,
    platform: PlatformChoice,
    progress: Progress,
    cv: CV | None = None,
) -> tuple[WalkerState, ...]:
    """Equilibrated walkers on diverse starts; read from the run's folder where they are there already.

    Writes starts.npz (minimised structures, frames of the hot run, walkers) and starts.json.

    Args:
        place: the folder in the run.
        cv: whose atoms of the hot run are kept; None for those that the autoencoder sees.
    """
    folder, settings = run.iteration_dir(place), system.spec.settings
    inputs: Mapping[str, Any] = {} if cv is None else {"cv": cv.fingerprint}
    if not run.is_done(place, "starts", inputs):
        with progress("starting structures", 1, "run") as advance:
            starts = find_starts(system, settings.starts, settings.run.seed, platform=platform)
            walkers = settings.sampling.walkers
            states = equilibrate(system, starts.positions, n_walkers=walkers, platform=platform)
            advance(1)
        _log_starts(starts.report)
        atoms = system.cv_atom_indices if cv is None else cv.atom_indices
        write_arrays(
            folder / "starts.npz",
            minimised=starts.positions,
            hot_cv_positions=starts.hot_frames[:, atoms],
            **pack_states(states),
        )
        write_json(folder / "starts.json", starts.report.as_dict())
        run.mark_done(place, "starts", inputs, ("starts.npz", "starts.json"))
    return unpack_states(read_arrays(folder / "starts.npz"))


def _log_starts(report: StartReport) -> None:
    """Energy above the lowest start and observables of every start, a line each."""
    for index, energy in enumerate(report.energies):
        values = ", ".join(f"{name} {series[index]:.2f}" for name, series in report.observables.items())
        logger.info(
            "start %d: %.1f kJ/mol above the lowest; %s", index, energy - min(report.energies), values
        )
