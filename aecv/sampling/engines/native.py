"""Extended ABF inside OpenMM: one PythonForce on the CV's atoms, one compiled kernel per step.

Encoders and internal coordinates have a kernel; any other CV (a function, another program's TorchScript) is
evaluated by autograd in the same place, at a tenth of the speed.
"""

import openmm

from aecv.models.cvs.cv import CV
from aecv.sampling.engines.availability import Availability
from aecv.sampling.engines.bias_force import BiasForce, PeriodicBiasForce
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics


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


def check_cv(_: CV) -> None:
    """It runs every CV: what has no kernel goes through autograd."""


class NativeEngine(ContextEngine):
    """Extended ABF along one CV on one OpenMM context; see `ContextEngine`."""

    def make_bias(self) -> tuple[LambdaDynamics, openmm.Force]:
        bias = self._bias_force()
        force = openmm.PythonForce(bias.evaluate)
        force.setUsesPeriodicBoundaryConditions(self.images is not None)
        force.setParticles([int(index) for index in self.cv.atom_indices])
        return bias, force

    def _bias_force(self) -> BiasForce:
        """What OpenMM calls back."""
        if self.images is None:
            return BiasForce(self.cv, self.extended)
        return PeriodicBiasForce(self.cv, self.extended, self.images.cv_tree)
