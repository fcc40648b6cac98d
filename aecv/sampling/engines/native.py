"""Extended ABF inside OpenMM: one PythonForce on the CV's atoms, one compiled kernel per step.

The force is evaluated once per MD step with the positions of that step. `getStepCount` tells a new step
from a repeated evaluation (an energy query, a minimiser): only a new step adds an ABF sample and moves
lambda. A CV that the kernel cannot express (another program's TorchScript) is evaluated by autograd in the
same place, at a tenth of the speed.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.errors import CVError, SimulationError
from aecv.models.cv import CV, compare_with_torchscript
from aecv.models.torchscript import evaluate_with_gradient
from aecv.numerics import kernels
from aecv.numerics.abf import Accumulators, ExtendedVariable
from aecv.sampling import dynamics
from aecv.sampling.dynamics import SegmentJob, SegmentResult
from aecv.sampling.system import MolecularSystem, PlatformChoice, make_context

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]

_CV_TOLERANCE = 1e-8
"""Relative difference of kernel and TorchScript, in value and gradient, from which a run refuses to start."""
_LIVE_TOLERANCE = 1e-4
"""Relative difference of applied and expected forces; single-precision platforms reach 1e-6 to 1e-5."""


class NativeEngine:
    """Extended ABF along one CV on one OpenMM context.

    Args:
        system: the molecular system; its CV atoms have to be those of the CV.
        cv: the collective variable.
        extended: coupling and dynamics of lambda.
        platform: where it runs.
        probe: positions of real frames of the CV's atoms, shape (n, n_cv_atoms, 3) [nm], on which the
            kernel is compared with the exported TorchScript file.

    Raises:
        CVError: when kernel and TorchScript differ, or the CV's atoms or dimension do not fit.
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
        self._cv = cv
        self._extended = extended
        self._bias = _Bias(cv, extended)
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
            except SimulationError as error:
                raise self._bias.explain(error) from error
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
        """Compare the forces in the context with what the CV's own TorchScript file says they should be.

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
        logger.info("bias verified: forces on the atoms agree with cv.pt to %.1e", error)


class _Bias:
    """The callback of the PythonForce, with the arrays that the kernel reads and writes in place."""

    def __init__(self, cv: CV, extended: ExtendedVariable) -> None:
        n_dims = extended.grid.n_dims
        self._cv = cv
        self._extended = extended
        self._constants = extended.constants
        self._bins = np.array(extended.grid.n_bins)
        self._samples = Accumulators.zeros(extended.grid).samples
        self._unbiased = np.zeros(extended.grid.size, dtype=bool)
        self._lam = np.zeros((kernels.N_LAM_ROWS, n_dims))
        self._counters = np.zeros(kernels.N_COUNTERS, dtype=np.int64)
        self._noise = np.zeros((1, n_dims))
        self._positions = np.empty((len(cv.atom_indices), 3))
        self._forces = np.zeros((len(cv.atom_indices), 3))
        self._problem = ""
        self.evaluate: Callable[[openmm.State], tuple[float, FloatArray]]
        if cv.encoder is None:
            logger.warning(
                "CV: the network of %s is not one that the compiled kernel knows; it runs through autograd, "
                "about ten times slower",
                cv.source,
            )
            self.evaluate = self._evaluate_generic
        else:
            encoder = cv.encoder
            self._network = (encoder.reference, encoder.parameters, encoder.layers)
            self._scratch = (np.zeros((2, int(encoder.layers.sum()))), np.zeros((4, 3, 3)), np.zeros((9, 4)))
            self.evaluate = self._evaluate_compiled

    def begin(self, job: SegmentJob) -> None:
        """Take over the accumulators, lambda and random stream of a job."""
        assert job.accumulators is not None
        self._samples[...] = job.accumulators.samples
        self._unbiased[...] = False if job.unbiased is None else job.unbiased
        self._lam[kernels.LAM] = self._lam[kernels.NEXT_LAM] = job.state.lam
        self._lam[kernels.VELOCITY] = job.state.lam_velocity
        self._counters[kernels.LAST_STEP] = -1
        self._counters[kernels.FIRST_STEP] = 0
        # one row per step, and one for a look at the forces after the last one
        self._noise = job.seed.lam_noise.standard_normal((job.n_steps + 1, len(self._bins)))
        self._problem = ""

    @property
    def accumulators(self) -> Accumulators:
        return Accumulators(grid=self._extended.grid, samples=self._samples.copy())

    @property
    def pending_lam(self) -> FloatArray:
        """Lambda that belongs to the current positions, whose forces are not evaluated yet."""
        return self._lam[kernels.NEXT_LAM].copy()

    @property
    def lam_velocity(self) -> FloatArray:
        return self._lam[kernels.VELOCITY].copy()

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Forces may be looked at inside; the samples, lambda and the step counter come out as they were."""
        arrays = (self._samples, self._lam, self._counters)
        kept = [array.copy() for array in arrays]
        try:
            yield
        finally:
            for array, old in zip(arrays, kept, strict=True):
                array[...] = old

    def expected_forces(self, positions: FloatArray) -> FloatArray:
        """-sum_c kappa_c (xi_c - lam_c) grad xi_c by the .pt, shape (n_cv_atoms, 3) [kJ/mol/nm]."""
        xi, gradient = evaluate_with_gradient(self._cv.module, positions[None])
        pull = self._constants[kernels.KAPPA] * (xi[0] - self._lam[kernels.LAM])
        return -np.einsum("c,cia->ia", pull, gradient[0])

    def explain(self, error: SimulationError) -> SimulationError:
        """The error, with what the callback knows about its cause."""
        return SimulationError(f"{self._problem} ({error})") if self._problem else error

    def _evaluate_compiled(self, state: openmm.State) -> tuple[float, FloatArray]:
        _get_vector(state, _POSITIONS, self._positions)
        work, matrices, quartic = self._scratch
        energy = kernels.extended_abf_force(
            self._positions,
            state.getStepCount(),
            *self._network,
            self._constants,
            self._bins,
            self._samples,
            self._unbiased,
            self._lam,
            self._counters,
            self._noise,
            work,
            matrices,
            quartic,
            self._forces,
        )
        if energy != energy:
            self._fail(state)
        return energy, self._forces

    def _evaluate_generic(self, state: openmm.State) -> tuple[float, FloatArray]:
        _get_vector(state, _POSITIONS, self._positions)
        if not np.isfinite(self._positions.sum()):
            self._fail(state)
        values, gradients = evaluate_with_gradient(self._cv.module, self._positions[None])
        xi, gradient = values[0], gradients[0]
        if not np.isfinite(xi.sum() + gradient.sum()):
            self._fail(state)
        kernels.extended_step(
            xi,
            state.getStepCount(),
            self._constants,
            self._bins,
            self._samples,
            self._unbiased,
            self._lam,
            self._counters,
            self._noise,
        )
        stretch = xi - self._lam[kernels.LAM]
        kappa = self._constants[kernels.KAPPA]
        self._forces[...] = -np.einsum("c,cia->ia", kappa * stretch, gradient)
        return float(0.5 * np.sum(kappa * stretch**2)), self._forces

    def _fail(self, state: openmm.State) -> None:
        what = (
            "the CV's atoms have no unique rotation onto the reference, or the network gave NaN"
            if np.all(np.isfinite(self._positions))
            else f"positions of the CV's atoms are not finite (first: CV atom "
            f"{int(np.flatnonzero(~np.isfinite(self._positions).all(axis=1))[0])})"
        )
        self._problem = (
            f"extended ABF at step {state.getStepCount()}, lambda {self._lam[kernels.LAM]}: {what}"
        )
        raise SimulationError(self._problem)


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


_POSITIONS = openmm.State.Positions


def _get_vector(state: openmm.State, kind: int, out: FloatArray) -> None:
    """Positions into an array that exists: half the time of State.getPositions(asNumpy=True), which
    allocates and attaches units. The method behind it is private to OpenMM, hence the plain way beside it."""
    if hasattr(state, "_getVectorAsNumpy"):
        state._getVectorAsNumpy(kind, out)
    else:
        out[...] = dynamics.read_positions(state)


def _forces(context: openmm.Context, groups: int) -> FloatArray:
    state = context.getState(forces=True, groups=groups & 0xFFFFFFFF)
    return np.asarray(
        state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer), dtype=float
    )


def _verify_cv(cv: CV, probe: FloatArray) -> None:
    """Refuse a CV whose arrays and TorchScript file differ on real frames."""
    if cv.encoder is None:  # the TorchScript file is what runs; there is nothing to compare it with
        return
    difference = compare_with_torchscript(cv, probe)
    if not difference < _CV_TOLERANCE:
        raise CVError(
            f"engine: kernel and TorchScript of {cv.source} differ by {difference:.1e} (relative, values and "
            f"gradients on {len(probe)} frames; allowed {_CV_TOLERANCE:.0e}); export the CV again"
        )
    logger.info("CV verified: kernel and cv.pt agree to %.1e on %d frames", difference, len(probe))
