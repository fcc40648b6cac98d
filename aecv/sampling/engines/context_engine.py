"""Extended ABF in one OpenMM context, whatever computes the force on the atoms.

The forces of an MD step belong to the positions and the lambda of that step. `getStepCount` tells a new step
from a repeated evaluation (an energy query, a minimiser): only a new step adds an ABF sample and moves
lambda.
"""

import logging
import time
from abc import ABC, abstractmethod

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import ExplosionError, SimulationError
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult
from aecv.sampling.engines.checks import check_fit, check_images, free_force_group, verify_cv
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice

logger = logging.getLogger(__name__)

_LIVE_TOLERANCE = 1e-4
"""Relative difference of applied and expected forces; single-precision platforms reach 1e-6 to 1e-5."""


class ContextEngine(ABC):
    """Extended ABF along one CV on one OpenMM context.

    Args:
        system: the molecular system.
        cv: the collective variable.
        extended: coupling and dynamics of lambda.
        platform: where it runs.
        probe: positions of real frames of the CV's atoms, shape (n, n_cv_atoms, 3) [nm], on which the
            kernel is compared with the torch module, or the module's gradient with finite differences.

    Attributes:
        context: with the system and the bias in it; integrator: its own; group: force group of the bias.
        bias: lambda, its springs and samples.
        images: what makes the CV's molecules whole; None without a periodic box.

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
        check_fit(system, cv, extended)
        check_images(system, cv, probe)
        self.system = system
        self.images = system.images_along(cv.atom_indices) if system.is_periodic else None
        self.cv = cv
        self.extended = extended
        verify_cv(cv, probe)
        self.bias, force = self.make_bias()
        force.setForceGroup(free_force_group(system.system))
        force.setName("aecv extended ABF")
        self.group = force.getForceGroup()
        self.context, self.integrator = self.make_context(platform, force)
        self.is_verified = False

    @abstractmethod
    def make_bias(self) -> tuple[LambdaDynamics, openmm.Force]:
        """Lambda, and the force that puts its springs on the CV's atoms."""

    def make_context(
        self, platform: PlatformChoice, force: openmm.Force
    ) -> tuple[openmm.Context, openmm.Integrator]:
        """A context of the system and the bias, and its integrator."""
        # the seed only fills the time until the first segment sets its own
        return make_context(self.system, platform=platform, extra_forces=(force,), seed=1)

    def advance(self, n_steps: int, positions: NDArray[np.floating]) -> FloatArray:
        """Positions after some steps; lambda moves in the callback of the force."""
        return dynamics.advance(self.context, self.integrator, n_steps, positions)

    def run(self, job: SegmentJob) -> SegmentResult:
        """Run one segment of extended ABF; see `jobs.Engine`."""
        if job.accumulators is None:
            raise SimulationError("engine: extended ABF needs accumulators to start from, got none")
        self.bias.begin(job)
        dynamics.start(self.context, self.integrator, job)
        n_frames = job.n_steps // job.frame_steps
        frames = np.empty((n_frames, self.system.n_frame_atoms, 3), dtype=np.float32)
        lam = np.empty((n_frames, self.extended.grid.n_dims))
        began = time.perf_counter()
        positions = job.state.positions
        for frame in range(n_frames):
            try:
                positions = self.advance(job.frame_steps, positions)
            except (SimulationError, KeyboardInterrupt):
                raised = self.bias.raised
                if isinstance(raised, ExplosionError) and raised.positions is None:
                    raised.positions = np.asarray(positions, dtype=float)
                if raised is not None:
                    raise raised from None
                raise
            whole = dynamics.whole_frame(self.context, positions, self.images)
            frames[frame], lam[frame] = whole[: self.system.n_frame_atoms], self.bias.pending_lam
            if not self.is_verified:
                with self.bias.untouched():
                    self.verify_live()
        return SegmentResult(
            state=dynamics.final_state(
                self.context,
                lam=self.bias.pending_lam,
                lam_velocity=self.bias.lam_velocity,
                images=self.images,
            ),
            frames=frames,
            lam=lam,
            increment=self.bias.accumulators - job.accumulators,
            wall_s=time.perf_counter() - began,
        )

    def verify_live(self) -> None:
        """Compare the forces in the context with what the CV's own torch module says they should be.

        Raises:
            SimulationError: when the integrator leaves the bias out, or the forces differ.
        """
        context, group = self.context, self.group
        if not self.integrator.getIntegrationForceGroups() >> group & 1:
            raise SimulationError(
                f"engine: the bias is not live: the integrator leaves out force group {group}"
            )
        everything = _forces(context, -1)
        without = _forces(context, ~(1 << group))
        positions = dynamics.read_positions(context.getState(positions=True))
        positions = dynamics.whole_frame(context, positions, self.images)
        expected = np.zeros_like(everything)
        expected[self.cv.atom_indices] = self.bias.expected_forces(positions[self.cv.atom_indices])
        scale = np.abs(expected).max() + 1e-3 * np.abs(everything).max()
        error = np.abs(everything - without - expected).max() / scale
        if not error < _LIVE_TOLERANCE:
            raise SimulationError(
                f"engine: the bias is not live: the forces on the atoms changed by something else than "
                f"-kappa (xi - lam) grad xi (relative difference {error:.1e}, allowed {_LIVE_TOLERANCE:.0e})"
            )
        self.is_verified = True
        logger.debug("bias verified: forces on the atoms agree with the torch module's to %.1e", error)


def _forces(context: openmm.Context, groups: int) -> FloatArray:
    state = context.getState(forces=True, groups=groups & 0xFFFFFFFF)
    return np.asarray(
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer), dtype=float
    )
