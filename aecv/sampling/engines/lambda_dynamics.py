"""The extended variable of one segment: samples, lambda and its random numbers, whoever gives xi.

All engines that move lambda themselves share it; they differ in what evaluates xi and its gradient. The
arrays that the kernels read and write in place are kept here between the steps of a segment.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import ExplosionError
from aecv.models.cvs.cv import CV, shortest
from aecv.models.cvs.torchscript import evaluate_with_gradient
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable
from aecv.numerics.extended_abf.kernel_memory import KernelMemory
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.sampling.dynamics.jobs import SegmentJob
from aecv.sampling.engines.checks import not_finite


class LambdaDynamics:
    """ABF samples and Langevin dynamics of lambda for one CV; see `kernels.extended_step`.

    Args:
        cv: the collective variable.
        extended: coupling and dynamics of lambda.
        memory: of a kernel that evaluates xi as well; None for that of lambda alone.

    Attributes:
        raised: what went wrong in a callback (Ctrl-C as well): OpenMM hands on an exception without text.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable, memory: KernelMemory | None = None) -> None:
        self._cv = cv
        self._extended = extended
        self._memory = memory or KernelMemory(extended, n_atoms=len(cv.atom_indices))
        self._lam, self._counters = self._memory.lam, self._memory.counters
        self._bins = np.array(extended.grid.n_bins)
        self._noise = np.zeros((1, extended.grid.n_dims))
        self.raised: BaseException | None = None

    def begin(self, job: SegmentJob) -> None:
        """Take over the accumulators, lambda and random stream of a job."""
        assert job.accumulators is not None
        memory = self._memory
        memory.samples[...] = job.accumulators.samples
        memory.unbiased[...] = False if job.unbiased is None else job.unbiased
        memory.potential[...] = 0.0 if job.potential is None else job.potential
        self._counters[kernels.FROZEN] = job.potential is not None
        self._lam[kernels.LAM] = self._lam[kernels.NEXT_LAM] = job.state.lam
        self._lam[kernels.VELOCITY] = job.state.lam_velocity
        self._counters[kernels.LAST_STEP] = -1
        self._counters[kernels.FIRST_STEP] = 0
        # one row per step, and one for a look at the forces after the last one
        self._noise = job.seed.lam_noise.standard_normal((job.n_steps + 1, len(self._bins)))
        self.raised = None

    @property
    def accumulators(self) -> Accumulators:
        return Accumulators(grid=self._extended.grid, samples=self._memory.samples.copy())

    @property
    def lam(self) -> FloatArray:
        """Lambda that the last evaluated forces belong to, shape (d,)."""
        return self._lam[kernels.LAM].copy()

    @property
    def pending_lam(self) -> FloatArray:
        """Lambda that belongs to the current positions, whose forces are not evaluated yet, shape (d,)."""
        return self._lam[kernels.NEXT_LAM].copy()

    @property
    def lam_velocity(self) -> FloatArray:
        return self._lam[kernels.VELOCITY].copy()

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """Forces may be looked at inside; the samples, lambda and the step counter come out as they were."""
        arrays = (self._memory.samples, self._lam, self._counters)
        kept = [array.copy() for array in arrays]
        try:
            yield
        finally:
            for array, old in zip(arrays, kept, strict=True):
                array[...] = old

    def move(self, xi: FloatArray, step: int) -> None:
        """One step: a sample, then lambda; nothing where this MD step has had its turn."""
        memory = self._memory
        kernels.extended_step(
            xi, step, memory.constants, self._bins, memory.samples, memory.unbiased, memory.potential,
            self._lam, self._counters, self._noise,
        )  # fmt: skip

    def stretch(self, xi: FloatArray) -> FloatArray:
        """xi - lam of the springs, the shortest way round, shape (d,)."""
        return shortest(xi - self._lam[kernels.LAM], self._memory.constants[kernels.PERIOD])

    def pulled(self, xi: FloatArray, gradient: FloatArray) -> tuple[float, FloatArray]:
        """Energy of the springs and its forces, from xi (d,) and its gradient (d, n_cv_atoms, 3)."""
        stretch, kappa = self.stretch(xi), self._memory.constants[kernels.KAPPA]
        energy = float(0.5 * np.sum(kappa * stretch**2))
        return energy, -np.einsum("c,cia->ia", kappa * stretch, gradient)

    def expected_forces(self, positions: FloatArray) -> FloatArray:
        """-sum_c kappa_c (xi_c - lam_c) grad xi_c by the torch module, shape (n_cv_atoms, 3) [kJ/mol/nm]."""
        xi, gradient = evaluate_with_gradient(self._cv.module, positions[None])
        return self.pulled(xi[0], gradient[0])[1]

    def failure(self, positions: FloatArray, step: int, why: str) -> ExplosionError:
        """What to say of an evaluation that failed: positions that are not finite are named first.

        Args:
            positions: of the CV's atoms, shape (n_cv_atoms, 3).
            why: the fault where the positions are finite.
        """
        why = not_finite(positions) or why
        return ExplosionError(f"extended ABF at step {step}, lambda {self._lam[kernels.LAM]}: {why}")
