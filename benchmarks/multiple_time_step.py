"""Extended ABF whose spring acts every n-th step alone, and what that costs in exactness.

Every evaluation of the CV on a GPU platform waits for the device, so fewer of them are tempting. Here the
spring is a slow force of OpenMM's MTSLangevinIntegrator (BAOAB-RESPA; Lagardere et al., J. Phys. Chem. Lett.
10, 2593 (2019)): the atoms' own forces every dt, the spring and lambda every n dt. `gpu_paths.py` is the
script.

Two averages are exact whatever the CV and the molecule, for lambda with no bias and no wall in reach:

    <kappa_c (xi_c - lam_c)^2> = kT,    <m_c v_c^2> = kT

since given the atoms lambda is a Gaussian of variance kT/kappa around xi. What a run gives instead is the
error of its time step.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import openmm
from alanine_setting import Setting
from openmm import unit
from openmm.mtsintegrator import MTSLangevinIntegrator
from runs import Row

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SettingsError, SimulationError
from aecv.models.cvs.cv import CV, shortest
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.sampling.dynamics.jobs import SegmentJob
from aecv.sampling.engines.bias_force import BiasForce
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.sampling.system.platforms import PlatformChoice

SAME_NM2 = 1e-10
"""Sum of squared shifts below which the CV's atoms have not moved: in one step it is 1e-6 or more, and by
rounding, where a GPU sorts its atoms anew, 1e-12."""
N_BLOCKS = 20
"""Of some ps each: blocks of 0.4 to 0.8 ps gave 0.4 to 1.1 times the scatter over 12 seeds."""
FRAME_STEPS = 20
"""Inner steps between the frames of an average."""


class SlowBias(BiasForce):
    """A `BiasForce` that may be evaluated at both ends of an outer step.

    The integrator asks for the force at the end of step k, where getStepCount still says k, and at the start
    of k + 1, where some platforms remember it and others ask again. Told apart by the count, the two halves
    of one kick could belong to two values of lambda. Hence a step is new here where the atoms have moved.
    A segment takes one sample more than it has steps.
    """

    def begin(self, job: SegmentJob) -> None:
        super().begin(job)
        self._seen = np.full_like(self._positions, np.nan)
        self._n_seen = -1

    def evaluate(self, state: openmm.State) -> tuple[float, FloatArray]:
        """As `BiasForce.evaluate`."""
        try:
            state._getVectorAsNumpy(openmm.State.Positions, self._positions)
            shift = (self._positions - self._seen).ravel()
            if not shift @ shift < SAME_NM2:
                self._n_seen += 1
                self._seen[...] = self._positions
                self._velocity_before = self._lam[kernels.VELOCITY].copy()
            energy = self._kernel(self._n_seen, self._floats, self._table, self._noise)
            if energy != energy:
                raise self.failure(self._positions, self._n_seen, self._why)
        except BaseException as error:
            self.raised = error
            raise
        return energy, self._forces

    @property
    def pending_lam(self) -> FloatArray:
        """Lambda of the current positions: their forces are known already, unlike in `LambdaDynamics`."""
        return self.lam

    @property
    def lam_velocity(self) -> FloatArray:
        """The velocity before the kick at the current positions, which a next segment gives again."""
        return self._velocity_before


class MultipleStepEngine(NativeEngine):
    """Native extended ABF with the spring and lambda every n-th step; a job's steps are the outer ones.

    Args:
        n: inner steps, of dynamics.timestep_ps, in an outer one.
    """

    def __init__(
        self, system: MolecularSystem, cv: CV, extended: ExtendedVariable, *, n: int, **named: Any
    ) -> None:
        self._n = n
        slow = replace(extended, timestep_ps=n * extended.timestep_ps)
        super().__init__(system, cv, slow, **named)

    def make_context(
        self, platform: PlatformChoice, force: openmm.Force
    ) -> tuple[openmm.Context, openmm.Integrator]:
        return multiple_step_context(self.system, platform, n=self._n, slow_force=force)

    def _bias_force(self) -> SlowBias:
        return SlowBias(self.cv, self.extended)


def multiple_step_context(
    system: MolecularSystem, platform: PlatformChoice, *, n: int, slow_force: openmm.Force | None = None
) -> tuple[openmm.Context, openmm.Integrator]:
    """A context under MTSLangevin: the system's forces n times, one more force once in a step of n dt.

    Raises:
        SettingsError: when n is no positive integer.
    """
    if n < 1:
        raise SettingsError(f"multiple time steps: n needs to be 1 or more, got {n}")
    dynamics = system.spec.settings.dynamics
    copied = copy.deepcopy(system.system)
    fast = sorted({force.getForceGroup() for force in copied.getForces()})
    # The slow force comes first also for n = 1. OpenMM sorts by frequency and keeps the order of equals, and
    # the outermost force is the one that the Reference platform still knows when the next step begins.
    slow = []
    if slow_force is not None:
        slow.append((slow_force.getForceGroup(), 1))
        copied.addForce(slow_force)
    integrator = MTSLangevinIntegrator(
        dynamics.temperature_k * unit.kelvin,
        dynamics.friction_per_ps / unit.picosecond,
        n * dynamics.timestep_ps * unit.picosecond,
        slow + [(group, n) for group in fast],
    )
    context = openmm.Context(copied, integrator, platform.platform, dict(platform.properties))
    context.setPositions(system.positions)
    return context, integrator


def error_rows(setting: Setting, n_steps: int, multiples: Sequence[int] = (1, 2, 4)) -> list[Row]:
    """The averages that are exactly 1, of the native engine and of outer steps of n dt.

    The temperature of the CV's atoms knows of no constraints: for systems without.

    Args:
        n_steps: inner steps of every run.
    """
    setting = setting.without_walls()
    rows = [
        {"what": "native", "n": 1, "phase": setting.phase, **averages_of_run(setting, NativeEngine, n_steps)}
    ]
    for n in multiples:
        found = averages_of_run(setting, MultipleStepEngine, n_steps, n=n)
        rows.append({"what": f"MTS n = {n}", "n": n, "phase": n * setting.phase, **found})
    return rows


def averages_of_run(
    setting: Setting, kind: Callable[..., ContextEngine], n_steps: int, *, seed: int = 1, **options: int
) -> Row:
    """Mean, and standard error by blocks, of each average; `failed` says why a run did not last."""
    system, cv, extended = setting.system, setting.cv, setting.extended
    atoms, kt = cv.atom_indices, extended.kt
    masses = system.masses[atoms]
    lam_kinetic: list[float] = []
    kinetic: list[float] = []
    # what the removal of the centre of mass leaves to these atoms
    share = 3 * float(np.sum(1.0 - masses / system.masses.sum()))

    def look(engine: ContextEngine, _: FloatArray) -> None:
        velocities = engine.context.getState(velocities=True).getVelocities(asNumpy=True)._value[atoms]
        kinetic.append(float(masses @ np.sum(velocities**2, axis=1)) / (share * kt))
        lam_kinetic.append(float(np.mean(extended.mass * engine.bias.lam_velocity**2)) / kt)

    n = options.get("n", 1)
    frame_steps = max(FRAME_STEPS // n, 1)
    outer = n_steps // (n * frame_steps) * frame_steps
    engine = setting.engine(kind, look, **options)
    try:
        result = engine.run(setting.job(outer, frame_steps, seed=seed, is_flat=True))
    except SimulationError as error:
        return {"failed": str(error)}
    stretch = shortest(cv(result.frames[:, atoms].astype(float)) - result.lam, extended.grid.periods)
    series = {
        "spring": np.mean(extended.kappa * stretch**2, axis=1) / kt,
        "lam_kinetic": np.array(lam_kinetic),
        "atoms_kinetic": np.array(kinetic),
    }
    averages = {name: _mean_and_error(values) for name, values in series.items()}
    return {name: mean for name, (mean, _) in averages.items()} | {
        f"{name}_error": error for name, (_, error) in averages.items()
    }


def _mean_and_error(series: FloatArray) -> tuple[float, float]:
    """Mean of a series after its first block, and its standard error from the means of the others."""
    means = np.array([block.mean() for block in np.array_split(series, N_BLOCKS)[1:]])
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))
