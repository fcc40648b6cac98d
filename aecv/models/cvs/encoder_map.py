"""A chain of layers as a kind of CV: compiled, with cv.pt (TorchScript), cv.npz and cv.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.ground.forms import Count
from aecv.models.cvs.cv_map import Arrays, CompiledStep, CVMap
from aecv.models.cvs.description import Description, array_hash
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels.encoder import Encoder, encode, encode_gradient, tanh_layers
from aecv.numerics.kernels.network import ACTIVATIONS


class EncoderDescription(Description):
    """Of a network: its sizes, and hashes of its arrays."""

    layers: Annotated[tuple[Count, ...], Field(min_length=2, max_length=100)]
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class EncoderMap(CVMap):
    """A network, after the superposition of frames on its reference where it has one.

    Attributes:
        encoder: its arrays.
    """

    form: ClassVar[type[Description] | None] = EncoderDescription
    has_arrays: ClassVar[bool] = True

    encoder: Encoder

    @property
    def n_atoms(self) -> int:
        return self.encoder.n_atoms

    @property
    def n_components(self) -> int:
        return self.encoder.n_components

    @property
    def kernel(self) -> Encoder:
        return self.encoder

    @property
    def reference(self) -> FloatArray | None:
        return self.encoder.reference if self.encoder.is_aligned else None

    @property
    def knows_place(self) -> bool:
        return not self.encoder.is_aligned

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        arrays: dict[str, NDArray[Any]] = {"reference": self.encoder.reference}
        for layer, (w, b) in enumerate(zip(self.encoder.weights, self.encoder.biases, strict=True)):
            arrays |= {f"weights_{layer}": w, f"biases_{layer}": b}
        if not self._is_tanh:  # as in files from before there were others
            arrays["activations"] = np.array(self.encoder.activations, dtype=np.int64)
        return arrays

    @property
    def _is_tanh(self) -> bool:
        return self.encoder.activations == tanh_layers(len(self.encoder.weights))

    @cached_property
    def module(self) -> Any:
        from aecv.models.cvs.torchscript import read_module

        if self.path is None:
            raise CVError("CV: needs its cv.pt beside its plain files, there is none; export the CV again")
        return read_module(self.path)[0]

    def values(self, frames: FloatArray) -> FloatArray:
        return encode(self.encoder, frames)

    def with_gradient(self, frames: FloatArray) -> tuple[FloatArray, FloatArray]:
        return encode_gradient(self.encoder, frames)

    def step(self, extended: ExtendedVariable) -> CompiledStep:
        from aecv.numerics.extended_abf import step_kernels  # compiles

        return CompiledStep(
            memory=step_kernels.encoder_memory(self.encoder, extended),
            kernel=step_kernels.encoder_step,
            why="the CV's atoms have no unique rotation onto the reference, or the network gave NaN",
        )

    def description(self) -> dict[str, Any]:
        encoder = self.encoder
        return {
            "layers": [encoder.weights[0].shape[1], *(w.shape[0] for w in encoder.weights)],
            "activation": "tanh on hidden layers"
            if self._is_tanh
            else ", ".join(ACTIVATIONS[f] for f in encoder.activations),
            "align": encoder.is_aligned,
            "input": "positions of the atoms, centred and rotated onto the reference, flat"
            if encoder.is_aligned
            else "positions of the atoms as they are, flat",
            "units": {"positions": "nm", "reference": "nm", "xi": "1"},
        }

    def to_script(self) -> Any:
        from aecv.models.cvs.torchscript import EncoderModule

        # from its numbers: a cv.pt that came with them may be another program
        return EncoderModule(self.encoder)

    @classmethod
    def read(cls, path: Path, said: Mapping[str, Any], arrays: Arrays | None, script: Path | None) -> Self:
        if arrays is None:
            from aecv.models.cvs.torchscript import module_arrays, read_module

            arrays = module_arrays(read_module(path)[0])
            named = said.get("activation", "").split(", ")
            if set(named) <= set(ACTIVATIONS):
                numbers = [ACTIVATIONS.index(f) for f in named]
                arrays = {**arrays, "activations": np.array(numbers, dtype=np.int64)}
        # atoms and range are those of cv.json; those of cv.npz are looked at as well
        told = {
            "atom_indices": np.array(said["atom_indices"], dtype=np.int64),
            "range": np.array(said["range"], dtype=float),
        }
        layers = range(len(said["layers"]) - 1)
        for found in (told | dict(arrays), dict(arrays) | told):
            _check_arrays(path, said["sha256"], found, layers)
        encoder = Encoder(
            reference=arrays["reference"],
            weights=tuple(arrays[f"weights_{layer}"] for layer in layers),
            biases=tuple(arrays[f"biases_{layer}"] for layer in layers),
            activations=tuple(arrays.get("activations", ())),
        )
        return cls(encoder=encoder, path=script)


def _check_arrays(path: Path, hashes: Mapping[str, str], arrays: Arrays, layers: range) -> None:
    own = {"reference", "atom_indices", "range"} | {
        f"{part}_{k}" for k in layers for part in ("weights", "biases")
    }
    # every array, not only those that the file names: none is left unchecked
    for name in sorted(own | set(hashes) | set(arrays)):
        if name not in arrays or array_hash(arrays[name]) != hashes.get(name):
            raise CVError(
                f"{path}: array '{name}' is missing or not what it was when exported (SHA-256 differs); "
                "restore the file or export the CV again"
            )
    strange = sorted(set(arrays) - own - {"activations"})
    if strange:
        raise CVError(f"{path}: has more arrays than its layers: '{strange[0]}'; export the CV again")
