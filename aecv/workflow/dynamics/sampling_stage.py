"""Sampling stage: run what is left of an iteration's dynamics, then turn its segments into files.

Writes frames.dcd and topology.pdb for other programs, samples.npz and bias.npz for the later stages.
"""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.files import write_json
from aecv.ground.progress import Progress
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable
from aecv.results.formats.trajectory import write_dcd, write_pdb
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.dynamics.walkers import BiasRule, Ensemble, Plan
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.processes.workers import Workers
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.frames.input_frames import FrameFiles, read_frames
from aecv.workflow.free_energies.basins import basin_of_frames
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.segments import SegmentFolder, run_saved

TOPOLOGY = "topology.pdb"
GIVEN_OUTPUTS = (TOPOLOGY, "samples.npz", "timing.json")
OUTPUTS = ("frames.dcd", *GIVEN_OUTPUTS)
BIASED_OUTPUTS = (*OUTPUTS, "bias.npz")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What every sampling stage needs.

    Attributes:
        folder: of the iteration.
        plan: lengths and random streams.
        system: the molecular system.
        starts: minimised starting structures, the basins that are known, shape (n_starts, N, 3) [nm].
        progress: opens a bar.
        workers: where segments run.
    """

    folder: Path
    plan: Plan
    system: MolecularSystem
    starts: FloatArray
    progress: Progress
    workers: Workers


def sample_unbiased(task: Sampling, recipe: EngineRecipe, states: Sequence[WalkerState]) -> None:
    """Unbiased dynamics of all walkers, to files.

    Args:
        recipe: of the engine, which is made only when there is something left to run.
        states: where the walkers start.
    """
    start = Ensemble(rounds_done=0, states=tuple(states), increments=None)
    segments = SegmentFolder(task.folder / "segments", start, task.plan)
    _run(task, recipe, segments)
    _collect(task, segments, cv=None)


def write_topology(folder: Path, system: MolecularSystem) -> None:
    """topology.pdb: the atoms of frames.dcd, for other programs."""
    write_pdb(folder / TOPOLOGY, system.frame_topology, system.positions[: system.n_frame_atoms])


def take_frames(task: Sampling, files: FrameFiles) -> None:
    """Frames of a user in place of unbiased dynamics, to files; they stand for one walker.

    Args:
        files: where they are, in the order of time.

    Raises:
        SamplingError: as `input_frames.read_frames`.
    """
    began = time.perf_counter()
    system, settings = task.system, task.system.spec.settings
    frames = read_frames(files, system)
    write_topology(task.folder, system)
    starts = task.starts[:, system.cv_atom_indices]
    none = np.empty((frames.n_frames, 0))
    Samples.of(
        cv_positions=frames.positions,
        observables=frames.observables,
        time_ps=np.asarray((np.arange(frames.n_frames) + 1) * settings.sampling.frame_ps, dtype=float),
        walker=np.zeros(frames.n_frames, dtype=np.int64),
        basin=basin_of_frames(frames.positions, starts, superpose=settings.cv.align),
        xi=none,
        lam=none,
        n_inverted=frames.n_inverted,
        n_turned=frames.n_turned,
        weights=frames.weights,
    ).save(task.folder / "samples.npz")
    write_json(task.folder / "timing.json", {"wall_s": time.perf_counter() - began, "simulated": False})


def sample_biased(
    task: Sampling,
    recipe: EngineRecipe,
    states: Sequence[WalkerState],
    *,
    ceiling_kj_mol: float,
    projected: bool,
    prior: Accumulators | None = None,
) -> None:
    """Extended ABF of all walkers along a CV, to files.

    Args:
        recipe: as in `sample_unbiased`; its bias says along what.
        states: where the walkers start; lambda is set to xi, moved onto the grid where it lies off it.
        ceiling_kj_mol: free energy above which lambda is not pushed.
        projected: whether the adapting bias is the gradient of a potential; along one component any is.
        prior: samples that the bias begins with; None for none.
    """
    assert recipe.bias is not None
    cv, extended = recipe.bias.cv, recipe.bias.extended
    start = Ensemble(
        rounds_done=0,
        states=tuple(with_lambda(state, cv, extended) for state in states),
        increments=tuple(Accumulators.zeros(extended.grid) for _ in states),
        prior=prior,
    )
    segments = SegmentFolder(task.folder / "segments", start, task.plan)
    rule = BiasRule(
        ceiling_kj_mol=ceiling_kj_mol,
        full_samples=extended.full_samples,
        projected=projected and extended.grid.n_dims > 1,
    )
    end = _run(task, recipe, segments, rule)
    assert end.increments is not None
    Bias(
        extended=extended,
        ceiling_kj_mol=ceiling_kj_mol,
        increments=end.increments,
        prior=prior or Accumulators.zeros(extended.grid),
        history=segments.history,
        potentials=np.array(end.potentials).reshape(len(end.potentials), extended.grid.size),
        stage_edges=task.plan.stage_edges,
    ).save(task.folder / "bias.npz")
    _collect(task, segments, cv=cv)


def remove_segments(folder: Path) -> None:
    """Delete the segments of a finished sampling stage; their contents live on in its files."""
    shutil.rmtree(folder / "segments", ignore_errors=True)


def _run(
    task: Sampling,
    recipe: EngineRecipe,
    segments: SegmentFolder,
    rule: BiasRule | None = None,
) -> Ensemble:
    """Run the rounds that are not on disk yet; returns the ensemble after the last one."""
    kind = "unbiased MD" if rule is None else "extended ABF"
    title = f"{task.folder.name}: {kind} of {task.plan.n_walkers} walkers"
    ps_per_step = task.system.spec.settings.dynamics.timestep_ps * task.plan.n_walkers
    return run_saved(
        segments,
        task.plan,
        lambda: task.workers.executor(recipe),
        lambda total: task.progress(title, total, "ns"),
        per_step=ps_per_step / 1000.0,
        rule=rule,
    )


def with_lambda(state: WalkerState, cv: CV, extended: ExtendedVariable) -> WalkerState:
    """The state with lambda = xi, inside the walls where there are any, and its velocity zero."""
    grid = extended.grid
    xi = grid.wrap(cv(state.positions[None, cv.atom_indices])[0])
    half_bin = 0.5 * grid.widths
    inside = np.clip(xi, np.array(grid.lower) + half_bin, np.array(grid.upper) - half_bin)
    inside = np.where(grid.periodic, xi, inside)
    return replace(state, lam=inside, lam_velocity=np.zeros_like(inside))


def _collect(task: Sampling, segments: SegmentFolder, cv: CV | None) -> None:
    """Stream the segments into frames.dcd and gather what the analysis needs in samples.npz."""
    system, plan, settings = task.system, task.plan, task.system.spec.settings
    write_topology(task.folder, system)
    gathered: dict[str, list[NDArray[np.generic]]] = {"cv_positions": [], "basin": [], "lam": [], "xi": []}
    atoms = system.cv_atom_indices if cv is None else cv.atom_indices
    starts = task.starts[:, system.cv_atom_indices]
    observables: dict[str, list[FloatArray]] = {name: [] for name in system.observables.names}
    changes = np.zeros(2, dtype=int)

    def chunks() -> Iterator[NDArray[np.float32]]:
        """Frames of every segment, for the trajectory; what the analysis needs is gathered on the way."""
        for frames, lam in segments.segments():
            # the atoms that tell basins apart; a CV that was not learned may see others
            seen, cv_positions = frames[:, system.cv_atom_indices], frames[:, atoms]
            gathered["cv_positions"].append(cv_positions)
            gathered["basin"].append(basin_of_frames(seen, starts, superpose=settings.cv.align))
            gathered["lam"].append(lam)
            gathered["xi"].append(np.empty_like(lam) if cv is None else cv(cv_positions))
            for name, values in system.observables.compute(frames).items():
                observables[name].append(values)
            changes[:] += system.stereo.count_changes(frames)
            yield frames

    write_dcd(task.folder / "frames.dcd", chunks(), frame_ps=settings.sampling.frame_ps)
    n_frames = plan.frames_per_walker
    Samples.of(
        cv_positions=np.concatenate(gathered["cv_positions"]).astype(np.float32),
        observables={name: np.concatenate(values) for name, values in observables.items()},
        time_ps=np.tile((np.arange(n_frames) + 1) * settings.sampling.frame_ps, plan.n_walkers),
        walker=np.repeat(np.arange(plan.n_walkers), n_frames),
        basin=np.concatenate(gathered["basin"]).astype(np.int64),
        xi=np.concatenate(gathered["xi"]).astype(float),
        lam=np.concatenate(gathered["lam"]).astype(float),
        n_inverted=int(changes[0]),
        n_turned=int(changes[1]),
        periods=() if cv is None else tuple(cv.periods.tolist()),
    ).save(task.folder / "samples.npz")
    # apart from the arrays, which are the same in every run with the same seed
    write_json(task.folder / "timing.json", {"wall_s": segments.wall_s, "n_repeated": segments.n_repeated})
