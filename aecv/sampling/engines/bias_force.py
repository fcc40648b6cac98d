"""The callback of the extended-ABF force: what happens in every MD step, in Python.

At a hundred thousand steps a second a look-up of an attribute counts: hence the one method without branches,
and OpenMM's functions without the methods around them.
"""

import logging

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.models.cvs.cv import CV
from aecv.models.cvs.torchscript import evaluate_with_gradient
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.geometry.spanning_tree import SpanningTree
from aecv.numerics.geometry.whole import make_frame_whole
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics

logger = logging.getLogger(__name__)


class BiasForce(LambdaDynamics):
    """Spring, ABF sample and step of lambda for one CV; `evaluate` is what OpenMM calls.

    Args:
        cv: the collective variable; one that is not compiled runs through autograd.
        extended: coupling and dynamics of lambda.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable) -> None:
        compiled = cv.map.step(extended)
        super().__init__(cv, extended, None if compiled is None else compiled.memory)
        if compiled is not None:
            self._kernel, self._why = compiled.kernel, compiled.why
        else:
            logger.warning(
                "CV: %s is not one that a compiled kernel knows; it runs through autograd, about ten times "
                "slower",
                cv.source,
            )
            self._kernel = self._autograd_step
            self._why = "the CV or its gradient is not finite"
        self._positions, self._forces = self._memory.positions, self._memory.forces
        self._floats, self._table = self._memory.floats, self._memory.table

    def evaluate(self, state: openmm.State) -> tuple[float, FloatArray]:
        """Energy [kJ/mol] and forces on the CV's atoms; a new MD step moves lambda as well."""
        try:
            _read_positions(state, self._positions)
            step = state.getStepCount()
            energy = self._kernel(step, self._floats, self._table, self._noise)
            if energy != energy:
                raise self.failure(self._positions, step, self._why)
        except BaseException as error:
            self.raised = error
            raise
        return energy, self._forces

    def _autograd_step(self, step: int, *_: NDArray[np.generic]) -> float:
        """What the kernels do, through torch."""
        if not np.isfinite(self._positions.sum()):
            return np.nan
        values, gradients = evaluate_with_gradient(self._cv.module, self._positions[None])
        xi, gradient = values[0], gradients[0]
        if not np.isfinite(xi.sum() + gradient.sum()):
            return np.nan
        self.move(xi, step)
        energy, self._forces[...] = self.pulled(xi, gradient)
        return energy


class PeriodicBiasForce(BiasForce):
    """The same in a periodic box, whose images the CV does not see: its atoms are made whole first.

    OpenMM keeps a molecule in one piece, but not several near each other; its GPU platforms put each one back
    into the box for itself. Shifts by box vectors do not change the forces.

    Args:
        cv, extended: as above.
        tree: of the places in the CV's list of atoms.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable, tree: SpanningTree) -> None:
        super().__init__(cv, extended)
        self._tree = tree
        self._box = np.zeros((3, 3))
        self._of_whole, self._kernel = self._kernel, self._make_whole_first

    def evaluate(self, state: openmm.State) -> tuple[float, FloatArray]:
        """As `BiasForce.evaluate`."""
        # with it and the shifts an evaluation takes 11 us, where it takes 3 us without (six atoms)
        self._box[...] = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer)
        return super().evaluate(state)

    def _make_whole_first(
        self, step: int, floats: FloatArray, table: NDArray[np.int64], noise: FloatArray
    ) -> float:
        make_frame_whole(self._positions, self._box, self._tree.atoms, self._tree.parents)
        return float(self._of_whole(step, floats, table, noise))


def _read_into(state: openmm.State, out: FloatArray) -> None:
    """Positions into an array that exists: half the time of State.getPositions(asNumpy=True), which
    allocates and attaches units."""
    state._getVectorAsNumpy(openmm.State.Positions, out)


def _read_slowly(state: openmm.State, out: FloatArray) -> None:
    """The public way."""
    out[...] = dynamics.read_positions(state)


# the fast method is private to OpenMM: one that lacks it is served as well
_read_positions = _read_into if hasattr(openmm.State, "_getVectorAsNumpy") else _read_slowly
