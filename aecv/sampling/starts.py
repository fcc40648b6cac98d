"""Diverse starting structures: a short hot run, minimised, checked and thinned to distinct conformers."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.errors import ExplosionError, MolecularSystemError, SimulationError
from aecv.ground.grid import FloatArray, IntArray
from aecv.ground.seeds import seed_31bit
from aecv.ground.settings import StartSettings
from aecv.numerics.lattice import reduced
from aecv.sampling.dynamics import whole_frame
from aecv.sampling.images import system_box
from aecv.sampling.platforms import PlatformChoice
from aecv.sampling.structure import Coordinates, read_coordinates
from aecv.sampling.system import MolecularSystem, make_context

logger = logging.getLogger(__name__)

FORCE_TOLERANCE = 1.0
"""Root-mean-square force at which a minimisation ends [kJ/mol/nm]."""

SOLVENT_TOLERANCE = 10.0
"""The same in a box of water, OpenMM's own: the water's minimum is of no interest, and takes minutes."""

MAX_ITERATIONS = 10_000
"""Where a minimisation ends at the latest."""

MAX_RESTARTS = 10
"""How often a minimisation that stopped early is begun again."""

_SAME_BOX_NM = 2e-3
"""What box vectors of two files may differ by: a PDB file keeps 0.0001 nm and 0.01 degrees."""
EXPLODED_NM = 1e4
"""A coordinate beyond this is no longer a simulation [nm]."""


@dataclass(frozen=True, kw_only=True)
class StartReport:
    """What came of looking for starts; plain numbers for logs and JSON.

    Attributes:
        mode: "auto", "one" or "given".
        n_candidates: structures that were minimised.
        n_inverted: of these, dropped for another chirality than the input structure.
        n_cis_trans: of these, dropped for a peptide bond that turned over.
        n_conformers: distinct minima that were left.
        energies: potential energies of the starts [kJ/mol], in their order.
        observables: the system's observables at every start.
    """

    mode: str
    n_candidates: int
    n_inverted: int
    n_cis_trans: int
    n_conformers: int
    energies: tuple[float, ...]
    observables: dict[str, tuple[float, ...]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**self.__dict__, "energies": list(self.energies), "n_starts": len(self.energies)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Starts:
    """What simulations begin with.

    Attributes:
        positions: minimised structures, the one of lowest energy first, shape (n_starts, N, 3) [nm].
        hot_frames: frames of the hot run with the structure's stereochemistry, every sampling.frame_ps, shape
            (n, n_frame_atoms, 3) [nm], float32; n = 0 without a hot run.
        report: what came of looking for starts.
    """

    positions: FloatArray
    hot_frames: NDArray[np.float32]
    report: StartReport


def find_starts(
    molecular_system: MolecularSystem,
    settings: StartSettings,
    seed: int,
    *,
    platform: PlatformChoice | str | None = None,
) -> Starts:
    """Minimised structures to start simulations from, the one of lowest energy first.

    Mode "auto": snapshots of a hot run from the minimised structure are minimised; those with another
    chirality or cis-trans state are dropped; the others are clustered, lowest energy first, by the RMSD of
    the heavy atoms; of the clusters the lowest and then always the one farthest from those taken are kept.
    Mode "one": the minimised structure alone. Mode "given": the files of system.starts, minimised.
    A particle has its starts_nm in place of structure and files; the hot run's time is shared among them.

    Args:
        molecular_system: what is simulated.
        settings: the [starts] section.
        seed: root seed >= 0; the same seed gives the same arrays on the Reference platform.
        platform: as in `make_context`.

    Raises:
        ExplosionError: when the hot run explodes, with half the time step too. SimulationError: when a
            minimisation does, or no minimum keeps its stereochemistry.
        MolecularSystemError: when a given start does not fit the structure.
    """
    try:
        return _find_starts(molecular_system, settings, seed, platform, timestep=None)
    except ExplosionError as error:
        logger.warning("starts: %s; repeated with half the time step", error)
    timestep = 0.5 * molecular_system.spec.settings.dynamics.timestep_ps
    return _find_starts(molecular_system, settings, seed, platform, timestep=timestep)


def _find_starts(
    molecular_system: MolecularSystem,
    settings: StartSettings,
    seed: int,
    platform: PlatformChoice | str | None,
    *,
    timestep: float | None,
) -> Starts:
    """See `find_starts`; the time step of the hot run [ps], None for that of the settings."""
    context, integrator = make_context(
        molecular_system,
        platform=platform,
        seed=seed_31bit(seed, "starts", "hot"),
        temperature=settings.hot_temperature_k,
        timestep=timestep,
        constant_pressure=False,
    )
    tolerance = tolerance_for(molecular_system)
    firsts = molecular_system.start_positions
    if settings.mode == "given":
        candidates = _given(molecular_system) if molecular_system.spec.settings.particle is None else firsts
    else:
        chosen_firsts = firsts if settings.mode == "auto" else firsts[:1]
        candidates = np.array(
            [minimise(context, positions, tolerance=tolerance)[0] for positions in chosen_firsts]
        )
    hot_frames = np.empty((0, molecular_system.n_frame_atoms, 3), dtype=np.float32)
    if settings.mode == "auto":
        snapshots, hot_frames = _hot_run(molecular_system, context, integrator, settings, seed, candidates)
        candidates = np.concatenate([candidates, snapshots])
    minima = [minimise(context, positions, tolerance=tolerance) for positions in candidates]
    positions, energies = np.array([p for p, _ in minima]), np.array([e for _, e in minima])
    if settings.mode == "auto":
        positions, report = _select(molecular_system, positions, energies, settings)
    else:
        chosen = np.arange(len(positions))
        report = _report(molecular_system, settings.mode, positions, energies, chosen, (0, 0))
    return Starts(positions=positions, hot_frames=hot_frames, report=report)


def tolerance_for(molecular_system: MolecularSystem) -> float:
    """Root-mean-square force at which its minimisations end [kJ/mol/nm]."""
    return SOLVENT_TOLERANCE if molecular_system.is_solvated else FORCE_TOLERANCE


def minimise(
    context: openmm.Context, positions: FloatArray, *, tolerance: float = FORCE_TOLERANCE
) -> tuple[FloatArray, float]:
    """The next local minimum of the potential energy, by L-BFGS.

    OpenMM ends without a word where a line search fails (on a surface with thin wells once in 100 starts):
    as long as the forces are too large, short steps downhill lead away from there, and it begins again.

    Args:
        context: its positions and velocities change.
        positions: start [nm], shape (N, 3).
        tolerance: root-mean-square force to reach [kJ/mol/nm].

    Returns:
        Positions [nm], shape (N, 3), and potential energy [kJ/mol].

    Raises:
        SimulationError: when a coordinate or the energy is not finite before or afterwards.
    """
    context.setPositions(positions)
    checked_state(context, doing="structure to minimise")  # OpenMM's L-BFGS never returns from NaN
    for _ in range(MAX_RESTARTS):
        try:
            openmm.LocalEnergyMinimizer.minimize(context, tolerance, MAX_ITERATIONS)
        except openmm.OpenMMException as error:
            raise SimulationError(
                f"minimisation failed ({error}); check the structure and its force field"
            ) from error
        minimum, energy = checked_state(context, doing="minimisation")
        is_flat = np.sqrt(np.mean(_forces(context) ** 2)) <= 2.0 * tolerance
        # bonds of fixed length carry forces at a minimum too, so that nothing can be told from them
        if is_flat or context.getSystem().getNumConstraints() or not _descend(context, energy):
            break
    return minimum, energy


def _descend(context: openmm.Context, energy: float, *, n_steps: int = 50, step: float = 0.001) -> bool:
    """Short steps along the forces that lower the energy, the first one `step` [nm]; whether any did."""
    positions, _ = checked_state(context, doing="minimisation")
    start = energy
    for _ in range(n_steps):
        forces = _forces(context)
        context.setPositions(positions + step * forces / np.abs(forces).max())
        moved, lower = checked_state(context, doing="minimisation")
        if lower < energy:
            positions, energy, step = moved, lower, 1.2 * step
        else:
            step *= 0.25
            context.setPositions(positions)
    return energy < start


def _forces(context: openmm.Context) -> FloatArray:
    """Forces [kJ/mol/nm], shape (N, 3)."""
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    return np.asarray(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer), dtype=float)


def checked_state(context: openmm.Context, *, doing: str) -> tuple[FloatArray, float]:
    """Positions [nm], shape (N, 3), and potential energy [kJ/mol] of a context that has not exploded.

    Raises:
        SimulationError: when a coordinate or the energy is not finite, or an atom is beyond 10 um.
    """
    state = context.getState(getPositions=True, getEnergy=True)
    positions = np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
    energy = float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    if not (np.isfinite(energy) and np.all(np.abs(positions) < EXPLODED_NM)):
        n_bad = int(np.count_nonzero(~(np.abs(positions) < EXPLODED_NM).all(axis=1)))
        raise SimulationError(
            f"{doing}: needs finite energy and positions, got {energy} kJ/mol and {n_bad} lost atoms; "
            "check the structure, or lower dynamics.timestep_ps or the temperature"
        )
    return positions, energy


def _hot_run(
    molecular_system: MolecularSystem,
    context: openmm.Context,
    integrator: openmm.LangevinMiddleIntegrator,
    settings: StartSettings,
    seed: int,
    firsts: FloatArray,
) -> tuple[FloatArray, NDArray[np.float32]]:
    """Evenly spaced snapshots [nm], shape (candidates, N, 3), of runs from `firsts`, shape (n, N, 3), and the
    sound ones of their frames every sampling.frame_ps, shape (n_frames, n_frame_atoms, 3).

    A snapshot with another chirality or cis-trans state is kept, for the report, but the run goes back to the
    last sound one: a peptide bond that turned over would stay so for hundreds of ps and waste them.
    """
    # Reinitialising seeds the random generator anew, so that what the process did before does not matter.
    context.reinitialize(preserveState=True)
    doing = f"hot run at {settings.hot_temperature_k:g} K (starts.hot_temperature_k)"
    timestep = integrator.getStepSize().value_in_unit(unit.picosecond)
    frame_ps = molecular_system.spec.settings.sampling.frame_ps
    n_frames = max(1, round(settings.hot_ps / settings.candidates / frame_ps))
    n_steps = max(1, round(settings.hot_ps / settings.candidates / n_frames / timestep))
    snapshots: list[FloatArray] = []
    hot_frames: list[NDArray[np.float32]] = []
    heat, run = True, -1
    for candidate in range(settings.candidates):
        if (run_now := candidate * len(firsts) // settings.candidates) != run:
            run, heat, sound = run_now, True, firsts[run_now]
        if heat:
            context.setPositions(sound)
            velocity_seed = seed_31bit(seed, "starts", "velocities", candidate)
            context.setVelocitiesToTemperature(settings.hot_temperature_k, velocity_seed)
        frames = np.array(
            [
                whole_frame(context, _after(context, integrator, n_steps, doing), molecular_system.box_images)
                for _ in range(n_frames)
            ]
        )
        changed = molecular_system.stereo.inverted(frames) | molecular_system.stereo.turned(frames)
        snapshots.append(frames[-1])
        hot_frames.append(frames[~changed, : molecular_system.n_frame_atoms].astype(np.float32))
        heat = bool(changed[-1])
        sound = sound if heat else snapshots[-1]
    return np.array(snapshots), np.concatenate(hot_frames)


def _after(
    context: openmm.Context, integrator: openmm.LangevinMiddleIntegrator, n_steps: int, doing: str
) -> FloatArray:
    """Positions after some steps [nm], shape (N, 3)."""
    try:
        integrator.step(n_steps)
    except openmm.OpenMMException as error:
        raise ExplosionError(f"{doing} failed ({error}); lower the temperature") from error
    try:
        return checked_state(context, doing=doing)[0]
    except SimulationError as error:
        raise ExplosionError(str(error)) from error


def _given(molecular_system: MolecularSystem) -> FloatArray:
    """Positions [nm], shape (n, N, 3), of the files in system.starts, with atoms as in the structure."""
    atoms = [(a.residue.name, a.name) for a in molecular_system.topology.atoms()]
    frames = []
    for path in molecular_system.spec.start_paths:
        coordinates = read_coordinates(path)
        # formats without names of atoms can only be counted
        came = [("", "")] * len(coordinates.positions) if coordinates.names is None else coordinates.names
        pairs = list(zip(atoms, came, strict=False))
        compared = coordinates.names is not None
        row = next((k for k, (need, has) in enumerate(pairs) if compared and need != has), len(pairs))
        if row < len(atoms) or len(came) != len(atoms):
            raise MolecularSystemError(
                f"{path}: needs the {len(atoms)} atoms of {molecular_system.spec.structure_path.name} in the "
                f"same order, got {len(came)} atoms and the first difference at atom {row + 1}"
            )
        frames.append(_whole(path, molecular_system, coordinates))
    return np.array(frames)


def _whole(path: Path, molecular_system: MolecularSystem, coordinates: Coordinates) -> FloatArray:
    """Positions whose molecules the box does not cut; the structure's where the file has none."""
    images = molecular_system.box_images
    if images is None:
        return coordinates.positions
    box = system_box(molecular_system.system)
    if coordinates.box is not None and not np.allclose(
        reduced(coordinates.box), reduced(box), atol=_SAME_BOX_NM
    ):
        need, came = (np.round(vectors, 3).tolist() for vectors in (reduced(box), reduced(coordinates.box)))
        raise MolecularSystemError(
            f"{path}: needs the box of {molecular_system.spec.structure_path.name}, {need} nm, got {came} "
            "nm; all walkers sample one ensemble: put the starts into the same box with as many waters"
        )
    return np.asarray(images.whole(coordinates.positions, box), dtype=float)


def _select(
    molecular_system: MolecularSystem, positions: FloatArray, energies: FloatArray, settings: StartSettings
) -> tuple[FloatArray, StartReport]:
    """Drop torn molecules, cluster the rest and keep at most max_starts that are far apart."""
    inverted = molecular_system.stereo.inverted(positions)
    turned = molecular_system.stereo.turned(positions)
    sound = np.flatnonzero(~inverted & ~turned)
    if len(sound) == 0:
        raise SimulationError(
            f"starts of '{molecular_system.spec.name}': needs a minimum with the structure's chirality and "
            f"cis-trans state, none of {len(positions)} has it; relax the structure or use --starts one"
        )
    order = sound[np.argsort(energies[sound], kind="stable")]
    distances = _rmsd_matrix(molecular_system, positions[order])
    conformers = _cluster(distances, settings.min_rmsd_nm)
    chosen = order[_spread(distances, conformers, settings.max_starts)]
    dropped = (int(np.count_nonzero(inverted)), int(np.count_nonzero(turned)))
    report = _report(
        molecular_system, "auto", positions, energies, chosen, dropped, n_conformers=len(conformers)
    )
    logger.info(
        "starts: %d of %d conformers from %d minima (%d inverted, %d cis-trans dropped)",
        len(chosen),
        len(conformers),
        len(positions),
        *dropped,
    )
    return positions[chosen], report


def _rmsd_matrix(molecular_system: MolecularSystem, positions: FloatArray) -> FloatArray:
    """RMSD of the heavy atoms after optimal superposition [nm], shape (n, n); of a particle the distance."""
    if not molecular_system.spec.settings.cv.align:
        return np.asarray(
            np.sqrt(np.mean(np.sum((positions[:, None] - positions[None]) ** 2, axis=3), axis=2)), dtype=float
        )
    heavy = molecular_system.heavy_atom_indices
    atoms = heavy if len(heavy) >= 3 else np.arange(molecular_system.n_solute_atoms)
    trajectory = mdtraj.Trajectory(positions[:, atoms], molecular_system.mdtraj_topology.subset(atoms))
    rows = [mdtraj.rmsd(trajectory, trajectory, frame) for frame in range(len(positions))]
    return np.array(rows, dtype=float).reshape(len(positions), len(positions))


def _cluster(distances: FloatArray, minimum: float) -> list[int]:
    """Frames that are at least `minimum` from each one taken before, in the order given."""
    taken: list[int] = []
    for frame in range(len(distances)):
        if not taken or distances[frame, taken].min() > minimum:
            taken.append(frame)
    return taken


def _spread(distances: FloatArray, frames: list[int], n_max: int) -> list[int]:
    """The first frame and then always the one farthest from those taken, at most n_max."""
    taken = frames[:1]
    while len(taken) < min(n_max, len(frames)):
        rest = [frame for frame in frames if frame not in taken]
        taken.append(max(rest, key=lambda frame: (distances[frame, taken].min(), -frame)))
    return taken


def _report(
    molecular_system: MolecularSystem,
    mode: str,
    positions: FloatArray,
    energies: FloatArray,
    chosen: IntArray,
    dropped: tuple[int, int],
    *,
    n_conformers: int | None = None,
) -> StartReport:
    observables = molecular_system.observables.compute(positions[chosen])
    return StartReport(
        mode=mode,
        n_candidates=len(positions),
        n_inverted=dropped[0],
        n_cis_trans=dropped[1],
        n_conformers=len(chosen) if n_conformers is None else n_conformers,
        energies=tuple(float(energy) for energy in energies[chosen]),
        observables={name: tuple(float(v) for v in values) for name, values in observables.items()},
    )
