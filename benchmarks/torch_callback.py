"""Extended ABF through OpenMM's PythonForce with the network in torch, on any device of torch."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aecv.ground.errors import CVError
from aecv.models.cvs.cv import CV
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.torchscript import EncoderModule
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.sampling.engines.bias_force import BiasForce
from aecv.sampling.engines.native import NativeEngine


class TorchCallback(BiasForce):
    """A `BiasForce` whose xi and gradient torch computes on a device.

    Raises:
        CVError: for a CV that is no encoder.
    """

    def __init__(self, cv: CV, extended: ExtendedVariable, device: str) -> None:
        super().__init__(cv, extended)
        if not isinstance(cv.map, EncoderMap):
            raise CVError(f"torch in the callback: needs an encoder, got {cv.source}; use the native engine")
        self._device = device
        self._encoder = EncoderModule(cv.map.encoder).to(device)
        self._kernel = self._torch_step

    def _torch_step(self, step: int, *_: NDArray[np.generic]) -> float:
        """What the compiled kernel does; one way there and one back, as the spring's own gradient."""
        frame = torch.tensor(self._positions[None], device=self._device, requires_grad=True)
        values = self._encoder(frame)
        xi = values[0].detach().cpu().numpy()
        if not np.isfinite(xi).all():
            return float("nan")
        self.move(xi, step)
        pull = np.array(self._extended.kappa) * self.stretch(xi)
        (gradient,) = torch.autograd.grad(values, frame, values.new_tensor(pull)[None])
        self._forces[...] = -gradient[0].cpu().numpy()
        return 0.5 * float(pull @ self.stretch(xi))


class TorchCallbackEngine(NativeEngine):
    """Extended ABF with `TorchCallback`, on a device of torch, in the place of the kernel."""

    def __init__(self, *arguments: Any, device: str, **named: Any) -> None:
        self._device = device
        super().__init__(*arguments, **named)

    def _bias_force(self) -> TorchCallback:
        return TorchCallback(self.cv, self.extended, self._device)
