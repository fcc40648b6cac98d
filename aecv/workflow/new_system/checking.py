"""Try a system before a run: build it, minimise it, take some steps, and say what looks wrong."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openmm
from openmm import unit

from aecv.ground.errors import AecvError, ExplosionError, MolecularSystemError, SimulationError
from aecv.ground.seeds import seed_31bit
from aecv.ground.shown import Shown
from aecv.molecules.spec import SystemSpec, as_system
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed
from aecv.sampling.dynamics.second_try import what_went_wrong
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.preparing import findings
from aecv.sampling.starting.minimising import minimise, tolerance_for
from aecv.sampling.system.diagnosis import HUGE, diagnose
from aecv.sampling.system.force_field import forcefield_of
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import PlatformChoice, choose_platform
from aecv.sampling.system.speed import BUSY, busy_words
from aecv.sampling.system.structure import read_coordinates
from aecv.workflow.planning.cost import Times, estimate_times

N_STEPS = 1000
_WARM_UP = 100
"""Steps before the clock starts: a GPU compiles its kernels at the first one."""
_HOT = 5.0
"""Standard deviations of the kinetic energy above its mean from which a run is too hot."""


@dataclass(kw_only=True, repr=False)
class Examination(Shown):
    """What came of trying a system.

    Attributes:
        spec: what was tried.
        system: None where it cannot be built.
        platform: where it runs, and why.
        energy_before, energy_after: potential energy of the structure and after minimising it [kJ/mol].
        temperature_k: after the steps; `n_steps` were taken.
        times: None where the steps could not be taken.
        findings: what looks wrong.
        problem: why it cannot run; None where it can.
    """

    spec: SystemSpec
    system: MolecularSystem | None = None
    platform: PlatformChoice | None = None
    energy_before: float | None = None
    energy_after: float | None = None
    temperature_k: float | None = None
    n_steps: int = 0
    times: Times | None = None
    findings: list[str] = field(default_factory=list)
    problem: str | None = None


def examine(spec: SystemSpec | str | Path, *, n_steps: int = N_STEPS) -> Examination:
    """What is found of a system that is built, minimised and run for some steps without bias.

    What is wrong with the system goes into the result; nothing is raised for it.

    Args:
        spec: the system with its settings, or its name or folder.
        n_steps: of dynamics against the clock, after minimising and a warm-up.

    Raises:
        SettingsError: when the platform that the settings name does not work.

    Example:
        >>> import aecv
        >>> found = aecv.examine("ala2", n_steps=10)
        >>> found.problem is None
        True
    """
    spec = as_system(spec)
    result = Examination(spec=spec)
    try:
        system = result.system = build(spec)
    except MolecularSystemError as error:
        result.problem = str(error)
        result.findings += _of_files(spec)
        return result
    result.platform = choose_platform(system.system, spec.settings.dynamics.platform)
    try:
        _look(result, system)
        _run(result, system, n_steps)
    except ExplosionError as error:
        found = what_went_wrong(system, error)
        result.problem = (
            f"{error}{f'; {found}' if found else ''}; lower dynamics.timestep_ps "
            f'({spec.settings.dynamics.timestep_ps:g}), or set system.constraints = "HBonds"'
        )
    except SimulationError as error:
        result.problem = str(error)
    return result


def _of_files(spec: SystemSpec) -> list[str]:
    """What can be said of a structure that no System could be made for."""
    try:
        coordinates = read_coordinates(spec.structure_path)
    except AecvError:
        return []
    topology = coordinates.topology
    if topology is None:
        return []
    said = [*coordinates.notes]
    if spec.settings.system.format == "forcefield":
        try:
            unknown = list(findings.unknown_residues(forcefield_of(spec), topology))
        except AecvError:  # the force field itself is at fault, and the error of building says so
            unknown = []
        if not any(text.startswith(("beads", "missing atoms")) for text in unknown):
            said += findings.missing_hydrogens(topology, spec.structure_path)
        said += unknown
    said += findings.clashes(topology, None, coordinates.positions)
    said += findings.long_bonds(topology, None, coordinates.positions, coordinates.box)
    return said


def _look(result: Examination, system: MolecularSystem) -> None:
    """The structure as it comes, before anything moves."""
    if system.spec.settings.particle is None:
        result.findings += read_coordinates(system.spec.structure_path).notes
        result.findings += findings.of_structure(system)
        result.findings += findings.hot_water(system)
    diagnosis = diagnose(system, system.positions)
    result.energy_before = diagnosis.energy
    if not diagnosis.largest < HUGE:
        result.findings.append(f"huge force in the structure as it comes: {diagnosis}")


def _run(result: Examination, system: MolecularSystem, n_steps: int) -> None:
    """Minimise, warm up, and take the steps against the clock."""
    settings = system.spec.settings
    seed = seed_31bit(settings.run.seed, "check")
    context, integrator = make_context(system, platform=result.platform, seed=seed)
    minimum, result.energy_after = minimise(
        context, system.start_positions[0], tolerance=tolerance_for(system)
    )
    diagnosis = diagnose(system, minimum)
    # bonds of fixed length carry forces at a minimum too
    if not diagnosis.largest < HUGE and system.system.getNumConstraints() == 0:
        result.findings.append(f"huge force after minimising: {diagnosis}")
    context.setPositions(minimum)
    context.setVelocitiesToTemperature(settings.dynamics.temperature_k, seed)
    state = dynamics.final_state(context, lam=np.empty(0), lam_velocity=np.empty(0))
    engine = UnbiasedEngine(context, integrator)
    began, at_work = time.perf_counter(), time.process_time()
    for segment, steps in enumerate((_WARM_UP, n_steps)):
        began, at_work = time.perf_counter(), time.process_time()
        name = SegmentSeed(root=settings.run.seed, stage="check", walker=0, segment=segment)
        state = engine.run(SegmentJob(state=state, n_steps=steps, frame_steps=_frame(steps), seed=name)).state
    wall = time.perf_counter() - began
    rate, share = n_steps / wall, (time.process_time() - at_work) / wall
    if share < BUSY and _on_cpu(result):
        result.findings.append(busy_words(share))
    result.n_steps = n_steps
    result.temperature_k, spread = _temperature(context)
    if result.temperature_k > settings.dynamics.temperature_k * (1 + _HOT * spread):
        result.findings.append(
            f"too hot: {result.temperature_k:.0f} K after {n_steps} steps at "
            f"{settings.dynamics.temperature_k:g} K; lower dynamics.timestep_ps, or set "
            'system.constraints = "HBonds"'
        )
    result.times = estimate_times(settings, rate, on_cpu=_on_cpu(result))


def _frame(n_steps: int) -> int:
    """Explosions are looked for ten times on the way."""
    return max(1, n_steps // 10) if n_steps % 10 == 0 else n_steps


def _temperature(context: openmm.Context) -> tuple[float, float]:
    """Instantaneous temperature [K], and sqrt(2/n) for n degrees of freedom, its relative spread."""
    system = context.getSystem()
    massive = sum(
        system.getParticleMass(i).value_in_unit(unit.dalton) > 0 for i in range(system.getNumParticles())
    )
    n = 3 * massive - system.getNumConstraints()
    kinetic = context.getState(energy=True).getKineticEnergy()
    return float((2 * kinetic / (n * unit.MOLAR_GAS_CONSTANT_R)).value_in_unit(unit.kelvin)), (2 / n) ** 0.5


def _on_cpu(result: Examination) -> bool:
    return result.platform is not None and result.platform.on_cpu
