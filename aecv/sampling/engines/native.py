"""Extended ABF inside OpenMM: one PythonForce on the CV's atoms, one compiled kernel per step.

The force is evaluated once per MD step with the positions of that step. `getStepCount` tells a new step
from a repeated evaluation (an energy query, a minimiser): only a new step adds an ABF sample and moves
lambda. Encoders and internal coordinates have a kernel; any other CV (a function, another program's
TorchScript) is evaluated by autograd in the same place, at a tenth of the speed.
"""

import logging
import time

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.errors import CVError, SimulationError
from aecv.models.cv import CV, compare_with_torchscript
from aecv.models.verification import compare_with_differences, difference_tolerance
from aecv.numerics.abf import ExtendedVariable
from aecv.sampling import dynamics
from aecv.sampling.dynamics import SegmentJob, SegmentResult
from aecv.sampling.engines.availability import Availability
from aecv.sampling.engines.bias_force import BiasForce
from aecv.sampling.system import MolecularSystem, PlatformChoice, check_atoms, make_context

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]

_CV_TOLERANCE = 1e-8
"""Relative difference of kernel and TorchScript, in value and gradient, from which a run refuses to start."""
_LIVE_TOLERANCE = 1e-4
"""Relative difference of applied and expected forces; single-precision platforms reach 1e-6 to 1e-5."""


def availability() -> Availability:
    """It needs nothing but OpenMM, of a version that has PythonForce."""
    version = openmm.Platform.getOpenMMVersion()
    if not hasattr(openmm, "PythonForce"):
        return Availability(
            name="native",
            works=False,
            reason=f"OpenMM {version} has no PythonForce, which came with 8.4",
            remedy='pip install "openmm>=8.4"',
        )
    return Availability(name="native", works=True, reason=f"OpenMM {version}")


class NativeEngine:
    """Extended ABF along one CV on one OpenMM context.

    Args:
        system: the molecular system.
        cv: the collective variable.
        extended: coupling and dynamics of lambda.
        platform: where it runs.
        probe: positions of real frames of the CV's atoms, shape (n, n_cv_atoms, 3) [nm], on which the
            kernel is compared with the torch module, or the module's gradient with finite differences.

    Raises:
        CVError: when the two differ, or the CV's atoms or dimension do not fit the system.
    """

    def __init__(
        self,
        system: MolecularSystem,
        cv: CV,
        extended: ExtendedVariable,
        *,
        platform: PlatformChoice,
        probe: FloatArray,
    ) -> None:
        if extended.grid.n_dims != cv.n_components:
            raise CVError(
                f"engine: the CV has {cv.n_components} components, its grid {extended.grid.n_dims} dimensions"
            )
        if cv.periodic != extended.grid.periodic or not _same_periods(cv, extended):
            raise CVError(
                f"engine: {cv.source} has periods {cv.periods.tolist()} (0: none), its grid "
                f"{extended.grid.periods.tolist()}; make the grid from the CV's range"
            )
        check_atoms(system, cv)
        self._cv = cv
        self._extended = extended
        self._bias = BiasForce(cv, extended)
        _verify_cv(cv, probe)
        force = openmm.PythonForce(self._bias.evaluate)
        force.setParticles([int(index) for index in cv.atom_indices])
        force.setForceGroup(free_force_group(system.system))
        force.setName("aecv extended ABF")
        self._group = force.getForceGroup()
        # the seed only fills the time until the first segment sets its own
        self._context, self._integrator = make_context(
            system, platform=platform, extra_forces=(force,), seed=1
        )
        self._is_verified = False

    def run(self, job: SegmentJob) -> SegmentResult:
        """Run one segment of extended ABF; see `dynamics.Engine`."""
        if job.accumulators is None:
            raise SimulationError("engine: extended ABF needs accumulators to start from, got none")
        self._bias.begin(job)
        dynamics.start(self._context, self._integrator, job)
        n_frames = job.n_steps // job.frame_steps
        frames = np.empty((n_frames, *job.state.positions.shape), dtype=np.float32)
        lam = np.empty((n_frames, self._extended.grid.n_dims))
        began = time.perf_counter()
        positions = job.state.positions
        for frame in range(n_frames):
            try:
                positions = dynamics.advance(self._context, self._integrator, job.frame_steps, positions)
            except SimulationError:
                if self._bias.raised is not None:
                    raise self._bias.raised from None
                raise
            frames[frame], lam[frame] = positions, self._bias.pending_lam
            if not self._is_verified:
                with self._bias.untouched():
                    self._verify_live()
        return SegmentResult(
            state=dynamics.final_state(
                self._context, lam=self._bias.pending_lam, lam_velocity=self._bias.lam_velocity
            ),
            frames=frames,
            lam=lam,
            increment=self._bias.accumulators - job.accumulators,
            wall_s=time.perf_counter() - began,
        )

    def _verify_live(self) -> None:
        """Compare the forces in the context with what the CV's own torch module says they should be.

        Raises:
            SimulationError: when the integrator leaves the bias out, or the forces differ.
        """
        context, group = self._context, self._group
        if not self._integrator.getIntegrationForceGroups() >> group & 1:
            raise SimulationError(
                f"engine: the bias is not live: the integrator leaves out force group {group}"
            )
        everything = _forces(context, -1)
        without = _forces(context, ~(1 << group))
        positions = dynamics.read_positions(context.getState(positions=True))
        expected = np.zeros_like(everything)
        expected[self._cv.atom_indices] = self._bias.expected_forces(positions[self._cv.atom_indices])
        scale = np.abs(expected).max() + 1e-3 * np.abs(everything).max()
        error = np.abs(everything - without - expected).max() / scale
        if not error < _LIVE_TOLERANCE:
            raise SimulationError(
                f"engine: the bias is not live: the forces on the atoms changed by something else than "
                f"-kappa (xi - lam) grad xi (relative difference {error:.1e}, allowed {_LIVE_TOLERANCE:.0e})"
            )
        self._is_verified = True
        logger.info("bias verified: forces on the atoms agree with the torch module's to %.1e", error)


def free_force_group(system: openmm.System) -> int:
    """Highest force group that no force of the system uses.

    Raises:
        SimulationError: when all 32 are taken.
    """
    used = {force.getForceGroup() for force in system.getForces()}
    free = [group for group in range(32) if group not in used]
    if not free:
        raise SimulationError("engine: the system's forces use all 32 force groups; free one for the bias")
    return free[-1]


def _forces(context: openmm.Context, groups: int) -> FloatArray:
    state = context.getState(forces=True, groups=groups & 0xFFFFFFFF)
    return np.asarray(
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer), dtype=float
    )


def _same_periods(cv: CV, extended: ExtendedVariable) -> bool:
    return bool(np.allclose(cv.periods, extended.grid.periods, rtol=1e-12))


def _verify_cv(cv: CV, probe: FloatArray) -> None:
    """Refuse a CV whose kernel and torch module, or gradient and values, differ on real frames."""
    if not cv.is_compiled:
        difference, allowed = compare_with_differences(cv, probe), difference_tolerance(cv)
        if not difference < allowed:
            raise CVError(
                f"engine: the gradient of {cv.source} differs from finite differences of its values by "
                f"{difference:.1e} (relative, allowed {allowed:.0e}); every step from positions to the CV "
                "needs to be differentiable in torch, without detach() or numpy"
            )
        logger.info("CV verified: its gradient agrees with finite differences to %.1e", difference)
        return
    difference = compare_with_torchscript(cv, probe)
    if not difference < _CV_TOLERANCE:
        raise CVError(
            f"engine: kernel and TorchScript of {cv.source} differ by {difference:.1e} (relative, values and "
            f"gradients on {len(probe)} frames; allowed {_CV_TOLERANCE:.0e}); export the CV again"
        )
    logger.info("CV verified: kernel and torch module agree to %.1e on %d frames", difference, len(probe))
