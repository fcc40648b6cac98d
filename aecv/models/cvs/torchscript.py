"""Learned CVs as TorchScript modules, and evaluation of any collective variable that is a torch module."""

import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, first_line
from aecv.ground.files import parse_json, replacing
from aecv.models.cvs.archive import looked_at
from aecv.models.inputs.alignment import align
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.network import ELU, IDENTITY, RELU, SIGMOID, SOFTPLUS, TANH

METADATA_NAME = "cv.json"
CHUNK = 10_000
_MODULES: dict[int, Callable[[], list[torch.nn.Module]]] = {
    TANH: lambda: [torch.nn.Tanh()],
    IDENTITY: list,
    SIGMOID: lambda: [torch.nn.Sigmoid()],
    ELU: lambda: [torch.nn.ELU()],
    SOFTPLUS: lambda: [torch.nn.Softplus(threshold=40.0)],  # where exp(-x) is below rounding
    RELU: lambda: [torch.nn.ReLU()],
}


class AlignedModule(torch.nn.Module):
    """Positions [nm] of any shape that reshapes to (-1, n_atoms, 3) -> xi, shape (batch, d).

    Computes in float64 (or in the dtype that the module was converted to) and answers in the dtype of the
    input.

    Args:
        network: superposed frames [nm], flat, shape (batch, 3 n_atoms), to xi.
        reference: what frames are superposed on, shape (n_atoms, 3) [nm]; (0, 3) for frames as they are.
        n_atoms: of the CV.
    """

    is_aligned: Final[bool]

    def __init__(self, network: torch.nn.Module, reference: FloatArray, n_atoms: int) -> None:
        super().__init__()
        self.n_atoms = n_atoms
        self.is_aligned = len(reference) > 0
        self.reference: Tensor
        self.register_buffer("reference", torch.tensor(reference))
        self.network = network

    def forward(self, positions: Tensor) -> Tensor:
        frames = positions.reshape(-1, self.n_atoms, 3).to(self.reference.dtype)
        if self.is_aligned:
            frames = align(frames, self.reference)
        return self.network(frames.flatten(1)).to(positions.dtype)


class EncoderModule(AlignedModule):
    """An encoder as `AlignedModule`."""

    def __init__(self, encoder: Encoder) -> None:
        layers: list[torch.nn.Module] = []
        for w, b, activation in zip(encoder.weights, encoder.biases, encoder.activations, strict=True):
            linear = torch.nn.Linear(w.shape[1], w.shape[0], dtype=torch.float64)
            linear.weight = torch.nn.Parameter(torch.tensor(w), requires_grad=False)
            linear.bias = torch.nn.Parameter(torch.tensor(b), requires_grad=False)
            layers += [linear, *_MODULES[activation]()]
        super().__init__(torch.nn.Sequential(*layers), encoder.reference, encoder.n_atoms)


class FunctionModule(torch.nn.Module):
    """A Python function of positions, shape (F, n_atoms, 3) [nm], as a module; (F,) becomes (F, 1)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, positions: Tensor) -> Tensor:
        xi = self.function(positions)
        return xi[:, None] if isinstance(xi, Tensor) and xi.ndim == 1 else xi


def write_script(module: torch.nn.Module, path: Path, metadata: dict[str, Any]) -> None:
    """Write a module as TorchScript that plain `torch.jit.load` reads; metadata goes inside."""
    content = script_content(module, metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def script_content(module: torch.nn.Module, metadata: dict[str, Any]) -> bytes:
    """The file that `write_script` writes.

    Saved through memory, because torch writes the name of the file into the archive.
    """
    buffer = io.BytesIO()
    with _quiet():
        script = torch.jit.script(module.eval())
        torch.jit.save(script, buffer, _extra_files={METADATA_NAME: json.dumps(metadata)})
    return buffer.getvalue()


class FlatModule(torch.nn.Module):
    """Any CV module, for programs that give one row of numbers: (1, 3 n_atoms) [nm] -> (1, d).

    The module gets positions of shape (1, n_atoms, 3) in its own dtype; the answer has the input's.
    """

    def __init__(self, module: torch.nn.Module, n_atoms: int) -> None:
        super().__init__()
        self.module = module
        self.n_atoms = n_atoms
        self.kind: Tensor
        self.register_buffer("kind", torch.empty(0, dtype=module_dtype(module)))

    def forward(self, positions: Tensor) -> Tensor:
        frames = positions.reshape(-1, self.n_atoms, 3).to(self.kind.dtype)
        return self.module(frames).to(positions.dtype)


def write_flat_module(module: torch.nn.Module, n_atoms: int, path: Path) -> None:
    """Write a TorchScript CV as `FlatModule`.

    Args:
        module: a scripted module that takes positions of shape (F, n_atoms, 3).
    """
    with _quiet():
        torch.jit.save(torch.jit.script(FlatModule(module, n_atoms).eval()), str(path))


def read_module(
    path: Path, content: bytes | None = None
) -> tuple[torch.jit.ScriptModule, dict[str, Any] | None]:
    """A TorchScript module, and aecv's metadata if it holds any.

    Loading a module runs what it wants to be run then: it is a program, with the rights of this process. What
    torch gets is what was looked at before; see `archive.looked_at`.

    Args:
        path: its file.
        content: of the file, where it has been read already.

    Raises:
        CVError: when the file is missing, truncated, no TorchScript or uses files, or its metadata no JSON.
    """
    content = looked_at(path, content)
    extra = {METADATA_NAME: ""}
    try:
        with _quiet():
            module = torch.jit.load(io.BytesIO(content), map_location="cpu", _extra_files=extra)
    except Exception as error:  # torch raises what its parsing of a damaged file happens to hit
        reason = first_line(error)
        if reason.endswith("failed in the TorchScript interpreter."):  # where in the program, then what
            reason = str(error).strip().splitlines()[-1]
        raise CVError(
            f"{path}: needs a complete TorchScript file (torch.jit.save), torch says: {reason}; "
            "export the model again with torch.jit.script"
        ) from error
    try:
        return module.eval(), parse_json(extra[METADATA_NAME]) if extra[METADATA_NAME] else None
    except ValueError as error:  # no JSON, or no text at all: TorchScript checks no sums
        raise CVError(f"{path}: its {METADATA_NAME} needs to be JSON, got: {error}") from error


def module_arrays(module: torch.jit.ScriptModule) -> dict[str, NDArray[Any]]:
    """Reference, weights and biases of a scripted `EncoderModule`, named as in the plain file.

    Raises:
        CVError: when they are not there.
    """
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    layers = sorted({int(name.split(".")[1]) for name in state if name.startswith("network.")})
    if not layers or "reference" not in state:
        raise CVError("CV: the TorchScript module says it is aecv's but lacks its reference or layers")
    arrays = {"reference": state.pop("reference")}
    for index, layer in enumerate(layers):
        arrays[f"weights_{index}"] = state[f"network.{layer}.weight"]
        arrays[f"biases_{index}"] = state[f"network.{layer}.bias"]
    return arrays


def evaluate(module: torch.nn.Module, positions: FloatArray) -> FloatArray:
    """CV, shape (F, d), of positions [nm], shape (F, n_atoms, 3), by a torch module.

    Raises:
        CVError: when the module fails or its output is not finite or has another shape.
    """
    chunks = []
    for start in range(0, len(positions), CHUNK):
        frames = torch.tensor(positions[start : start + CHUNK], dtype=module_dtype(module))
        with _clear_errors(positions.shape), torch.no_grad():
            xi = module(frames)
        chunks.append(_checked(xi, len(frames)).double().numpy())
    return np.concatenate(chunks)


def evaluate_with_gradient(module: torch.nn.Module, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
    """CV, shape (F, d), and gradient [1/nm], shape (F, d, n_atoms, 3), by autograd.

    Raises:
        As `evaluate`, and when the output does not depend on the input.
    """
    values, gradients = [], []
    for start in range(0, len(positions), CHUNK):
        frames = torch.tensor(
            positions[start : start + CHUNK], dtype=module_dtype(module), requires_grad=True
        )
        with _clear_errors(positions.shape):
            xi = _checked(module(frames), len(frames))
            columns = [
                torch.autograd.grad(xi[:, c].sum(), frames, retain_graph=True)[0] for c in range(xi.shape[1])
            ]
        values.append(xi.detach().double().numpy())
        gradients.append(torch.stack(columns, dim=1).double().numpy())
    return np.concatenate(values), np.concatenate(gradients)


def module_dtype(module: torch.nn.Module) -> torch.dtype:
    """float64 unless the module's own numbers are of another kind."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            return tensor.dtype
    return torch.float64


def _checked(xi: Any, n_frames: int) -> Tensor:
    if not isinstance(xi, Tensor) or xi.ndim != 2 or xi.shape[0] != n_frames or xi.shape[1] < 1:
        came = tuple(xi.shape) if isinstance(xi, Tensor) else type(xi).__name__
        raise CVError(f"CV: the torch module needs to return shape ({n_frames}, d), got {came}")
    if not bool(torch.isfinite(xi).all()):
        raise CVError("CV: the torch module returned NaN or infinity; check positions and model")
    return xi


@contextmanager
def _clear_errors(shape: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise CVError(
            f"CV: the torch module failed on positions of shape {shape}: {reason}; "
            "it needs the positions [nm] of its own atoms"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """TorchScript is deprecated upstream, but it is what PLUMED and openmm-torch read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=Warning)
        yield
