"""Extended ABF through openmm-torch: xi, its gradient and the springs in one torch force.

PythonTorchForce (openmm-torch after 1.5) calls back in every step, as OpenMM's PythonForce does, with the
positions as a tensor. TorchForce (up to 1.5) evaluates a TorchScript module in C++, without a way back:
lambda is a global parameter of it, and moves between steps that are made one at a time. Lambda and the
samples are those of the native engine in both cases.

Cost of TorchForce: besides the module, in every step one evaluation of xi by aecv and one call into OpenMM.
"""

from types import ModuleType

import numpy as np
import openmm
import torch
from numpy.typing import NDArray
from torch import Tensor

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, ExplosionError, SimulationError
from aecv.models.cvs.biasing import require_script
from aecv.models.cvs.cv import CV
from aecv.models.cvs.spring import script_springs
from aecv.models.cvs.torchscript import module_dtype
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.engines.lambda_dynamics import LambdaDynamics
from aecv.sampling.engines.torch_plugin import INSTALL, load_openmmtorch
from aecv.sampling.engines.torch_plugin import availability as availability


def check_cv(cv: CV) -> None:
    """Refuse what TorchForce cannot have as TorchScript; PythonTorchForce takes everything.

    Raises:
        CVError: see `biasing.require_script`. SimulationError: when openmm-torch cannot be loaded.
    """
    if not _has_callback(_plugin()):
        require_script(cv, engine="torchforce")


class TorchForceEngine(ContextEngine):
    """Extended ABF through openmm-torch; see `ContextEngine`.

    Raises:
        SimulationError: when openmm-torch cannot be loaded.
        CVError: also for what runs in Python where there is TorchForce alone, and for atoms of several
            molecules in a periodic box.
    """

    def make_bias(self) -> tuple[LambdaDynamics, openmm.Force]:
        if self.images is not None and self.images.n_molecules > 1:
            raise CVError(
                f"engine torchforce: {self.cv.source} has atoms of {self.images.n_molecules} molecules, "
                "which drift apart by box vectors, and openmm-torch hands over positions as they are; take "
                "the atoms of one molecule, or --engine native"
            )
        openmmtorch = _plugin()
        self._is_callback = _has_callback(openmmtorch)
        if self._is_callback:
            bias = TensorBias(self.cv, self.extended)
            force = openmmtorch.PythonTorchForce(bias.evaluate)
            force.setParticles([int(index) for index in self.cv.atom_indices])
            return bias, force
        self._parameters = [f"aecv_lambda_{c}" for c in range(self.extended.grid.n_dims)]
        return LambdaDynamics(self.cv, self.extended), self._script_force(openmmtorch)

    def _script_force(self, openmmtorch: ModuleType) -> openmm.Force:
        """TorchForce with lambda as global parameters."""
        module = script_springs(self.cv, self.extended.kappa, n_atoms=self.system.n_atoms)
        force = openmmtorch.TorchForce(module)
        for name in self._parameters:
            force.addGlobalParameter(name, 0.0)
        return force

    def advance(self, n_steps: int, positions: NDArray[np.floating]) -> FloatArray:
        """Positions after some steps. With TorchForce each is made by itself, after lambda has moved."""
        if self._is_callback:
            return super().advance(n_steps, positions)
        for _ in range(n_steps):
            step = self.context.getStepCount()
            self.bias.move(self._xi(positions, step), step)
            for name, value in zip(self._parameters, self.bias.lam, strict=True):
                self.context.setParameter(name, value)
            positions = dynamics.advance(self.context, self.integrator, 1, positions)
        return np.asarray(positions, dtype=float)

    def _xi(self, positions: NDArray[np.floating], step: int) -> FloatArray:
        """xi at the positions that the coming forces belong to, shape (d,)."""
        chosen = np.asarray(positions, dtype=float)[self.cv.atom_indices]
        try:
            xi: FloatArray = self.cv(chosen)[0]
        except CVError as error:
            raise self.bias.failure(chosen, step, str(error)) from error
        if not np.isfinite(xi).all():
            raise self.bias.failure(chosen, step, "the CV is not finite")
        return xi


class TensorBias(LambdaDynamics):
    """Spring, ABF sample and step of lambda by torch alone; `evaluate` is what PythonTorchForce calls.

    Args:
        cv: the collective variable.
        extended: coupling and dynamics of lambda.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable) -> None:
        super().__init__(cv, extended)
        self._dtype = module_dtype(cv.module)
        self._kappa = np.array(extended.kappa)

    def evaluate(self, state: openmm.State, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energy [kJ/mol] and forces on the CV's atoms; a new MD step moves lambda as well.

        Args:
            positions: of the CV's atoms [nm], shape (n_cv_atoms, 3), wherever OpenMM has them.
        """
        step = state.getStepCount()
        try:
            return self._evaluate(step, positions)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1:]
            self.raised = self._failed(step, positions, f"torch failed: {''.join(reason).strip()}")
            raise self.raised from error
        except BaseException as error:
            self.raised = error
            raise

    def _evaluate(self, step: int, positions: Tensor) -> tuple[Tensor, Tensor]:
        # lambda lives on the CPU, so xi must come there in any case
        frame = positions.detach().to("cpu", self._dtype)[None].requires_grad_(True)
        with torch.enable_grad():
            values = self._cv.module(frame)
        xi = values[0].detach().double().numpy()
        if not np.isfinite(xi).all():
            raise self._failed(step, positions, "the CV or its gradient is not finite")
        self.move(xi, step)
        pull = self._kappa * self.stretch(xi)
        energy = 0.5 * float(pull @ self.stretch(xi))
        (gradient,) = torch.autograd.grad(values, frame, values.new_tensor(pull)[None])
        forces = -gradient[0].to(positions.device, positions.dtype)
        if not bool(torch.isfinite(forces).all()):
            raise self._failed(step, positions, "the CV or its gradient is not finite")
        return torch.tensor(energy, dtype=torch.float64), forces.contiguous()

    def _failed(self, step: int, positions: Tensor, why: str) -> ExplosionError:
        return self.failure(positions.detach().double().cpu().numpy(), step, why)


def _plugin() -> ModuleType:
    try:
        return load_openmmtorch()
    except (ImportError, openmm.OpenMMException) as error:
        raise SimulationError(
            f"engine torchforce: openmm-torch cannot be loaded ({error}); {INSTALL}"
        ) from error


def _has_callback(openmmtorch: ModuleType) -> bool:
    return hasattr(openmmtorch, "PythonTorchForce")
