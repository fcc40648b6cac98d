"""The callback of the extended-ABF force: what happens in every MD step, in Python.

The arrays that the kernel reads and writes in place are kept here between the steps of a segment.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from aecv.ground.errors import SimulationError
from aecv.models.cv import CV, shortest
from aecv.models.torchscript import evaluate_with_gradient
from aecv.numerics import internal_kernels, kernels
from aecv.numerics.abf import Accumulators, ExtendedVariable
from aecv.sampling import dynamics
from aecv.sampling.dynamics import SegmentJob

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
_POSITIONS = openmm.State.Positions


class BiasForce:
    """Spring, ABF sample and step of lambda for one CV; `evaluate` is what OpenMM calls.

    What goes wrong inside (Ctrl-C as well) is kept in `raised`: OpenMM hands on an exception without text.

    Args:
        cv: the collective variable; one that is not compiled runs through autograd.
        extended: coupling and dynamics of lambda.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable) -> None:
        n_dims = extended.grid.n_dims
        self._cv = cv
        self._extended = extended
        self._constants = extended.constants
        self._bins = np.array(extended.grid.n_bins)
        self._samples = Accumulators.zeros(extended.grid).samples
        self._unbiased = np.zeros(extended.grid.size, dtype=bool)
        self._potential = np.zeros(extended.grid.size)
        self._lam = np.zeros((kernels.N_LAM_ROWS, n_dims))
        self._counters = np.zeros(kernels.N_COUNTERS, dtype=np.int64)
        self._noise = np.zeros((1, n_dims))
        self._positions = np.empty((len(cv.atom_indices), 3))
        self._forces = np.zeros((len(cv.atom_indices), 3))
        self.raised: BaseException | None = None
        self._definition: tuple[NDArray[Any], ...]
        self._scratch: tuple[FloatArray, ...]
        if cv.encoder is not None:
            encoder = cv.encoder
            self._definition = (encoder.reference, encoder.parameters, encoder.layers)
            self._scratch = (np.zeros((2, int(encoder.layers.sum()))), np.zeros((4, 3, 3)), np.zeros((9, 4)))
            self._apply = self._apply_encoder
            self._why = "the CV's atoms have no unique rotation onto the reference, or the network gave NaN"
        elif cv.internal is not None:
            self._definition = (cv.internal.codes, cv.internal.table)
            self._scratch = (np.zeros(n_dims), np.zeros((n_dims, 4, 3)), np.zeros((9, 3)))
            self._apply = self._apply_internal
            self._why = "atoms of an angle or dihedral lie on a line, or two atoms coincide"
        else:
            logger.warning(
                "CV: %s is not one that a compiled kernel knows; it runs through autograd, about ten times "
                "slower",
                cv.source,
            )
            self._apply = self._apply_autograd
            self._why = "the CV or its gradient is not finite"

    def begin(self, job: SegmentJob) -> None:
        """Take over the accumulators, lambda and random stream of a job."""
        assert job.accumulators is not None
        self._samples[...] = job.accumulators.samples
        self._unbiased[...] = False if job.unbiased is None else job.unbiased
        self._potential[...] = 0.0 if job.potential is None else job.potential
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
        """-sum_c kappa_c (xi_c - lam_c) grad xi_c by the torch module, shape (n_cv_atoms, 3) [kJ/mol/nm]."""
        xi, gradient = evaluate_with_gradient(self._cv.module, positions[None])
        return self._pulled(xi[0], gradient[0])[1]

    def evaluate(self, state: openmm.State) -> tuple[float, FloatArray]:
        """Energy [kJ/mol] and forces on the CV's atoms; a new MD step moves lambda as well."""
        try:
            _get_vector(state, _POSITIONS, self._positions)
            energy = self._apply(state.getStepCount())
            if energy != energy:
                self._fail(state)
        except BaseException as error:
            self.raised = error
            raise
        return energy, self._forces

    def _apply_encoder(self, step: int) -> float:
        """The encoder's kernel on the positions; leaves the forces, returns the energy, NaN for a failure."""
        energy: float = kernels.extended_abf_force(
            self._positions, step, *self._definition, self._constants, self._bins, self._samples,
            self._unbiased, self._potential, self._lam, self._counters, self._noise, *self._scratch,
            self._forces,
        )  # fmt: skip
        return energy

    def _apply_internal(self, step: int) -> float:
        """As `_apply_encoder`, for internal coordinates."""
        energy: float = internal_kernels.extended_internal_force(
            self._positions, step, *self._definition, self._constants, self._bins, self._samples,
            self._unbiased, self._potential, self._lam, self._counters, self._noise, *self._scratch,
            self._forces,
        )  # fmt: skip
        return energy

    def _apply_autograd(self, step: int) -> float:
        """As `_apply_encoder`, through torch."""
        if not np.isfinite(self._positions.sum()):
            return np.nan
        values, gradients = evaluate_with_gradient(self._cv.module, self._positions[None])
        xi, gradient = values[0], gradients[0]
        if not np.isfinite(xi.sum() + gradient.sum()):
            return np.nan
        kernels.extended_step(
            xi, step, self._constants, self._bins, self._samples, self._unbiased, self._potential,
            self._lam, self._counters, self._noise,
        )  # fmt: skip
        energy, self._forces[...] = self._pulled(xi, gradient)
        return energy

    def _pulled(self, xi: FloatArray, gradient: FloatArray) -> tuple[float, FloatArray]:
        """Energy of the springs and its forces, from xi (d,) and its gradient (d, n_cv_atoms, 3)."""
        stretch = shortest(xi - self._lam[kernels.LAM], self._constants[kernels.PERIOD])
        kappa = self._constants[kernels.KAPPA]
        energy = float(0.5 * np.sum(kappa * stretch**2))
        return energy, -np.einsum("c,cia->ia", kappa * stretch, gradient)

    def _fail(self, state: openmm.State) -> None:
        what = (
            self._why
            if np.all(np.isfinite(self._positions))
            else f"positions of the CV's atoms are not finite (first: CV atom "
            f"{int(np.flatnonzero(~np.isfinite(self._positions).all(axis=1))[0])})"
        )
        self._problem = (
            f"extended ABF at step {state.getStepCount()}, lambda {self._lam[kernels.LAM]}: {what}"
        )
        raise SimulationError(self._problem)


def _get_vector(state: openmm.State, kind: int, out: FloatArray) -> None:
    """Positions into an array that exists: half the time of State.getPositions(asNumpy=True), which
    allocates and attaches units. The method behind it is private to OpenMM, hence the plain way beside it."""
    if hasattr(state, "_getVectorAsNumpy"):
        state._getVectorAsNumpy(kind, out)
    else:
        out[...] = dynamics.read_positions(state)
