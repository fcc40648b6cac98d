"""The callback of the extended-ABF force: what happens in every MD step, in Python."""

import logging
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from aecv.models.cv import CV
from aecv.models.torchscript import evaluate_with_gradient
from aecv.numerics import internal_kernels, kernels
from aecv.numerics.abf import ExtendedVariable
from aecv.sampling import dynamics
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics

logger = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
_POSITIONS = openmm.State.Positions


class BiasForce(LambdaDynamics):
    """Spring, ABF sample and step of lambda for one CV; `evaluate` is what OpenMM calls.

    Args:
        cv: the collective variable; one that is not compiled runs through autograd.
        extended: coupling and dynamics of lambda.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable) -> None:
        super().__init__(cv, extended)
        n_dims = extended.grid.n_dims
        self._positions = np.empty((len(cv.atom_indices), 3))
        self._forces = np.zeros((len(cv.atom_indices), 3))
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

    def evaluate(self, state: openmm.State) -> tuple[float, FloatArray]:
        """Energy [kJ/mol] and forces on the CV's atoms; a new MD step moves lambda as well."""
        try:
            _get_vector(state, _POSITIONS, self._positions)
            energy = self._apply(state.getStepCount())
            if energy != energy:
                raise self.failure(self._positions, state.getStepCount(), self._why)
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
        self.move(xi, step)
        energy, self._forces[...] = self.pulled(xi, gradient)
        return energy


def _get_vector(state: openmm.State, kind: int, out: FloatArray) -> None:
    """Positions into an array that exists: half the time of State.getPositions(asNumpy=True), which
    allocates and attaches units. The method behind it is private to OpenMM, hence the plain way beside it."""
    if hasattr(state, "_getVectorAsNumpy"):
        state._getVectorAsNumpy(kind, out)
    else:
        out[...] = dynamics.read_positions(state)
