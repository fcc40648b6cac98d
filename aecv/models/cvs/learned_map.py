"""A network of any form as a kind of CV: cv.pt (TorchScript) holds it, cv.json its hash."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, first_line
from aecv.ground.forms import Count, Number
from aecv.models.cvs.archive import looked_at, program_hash
from aecv.models.cvs.cv_map import Arrays, TorchMap
from aecv.models.cvs.description import Description

if TYPE_CHECKING:
    from torch import nn

_SPREAD_NM = 0.02
"""How far the atoms of trial frames lie from the reference: as far as they move at room temperature."""
_CONTENT = Path("cv.pt")
"""What errors call a program that is in memory."""


class LearnedDescription(Description):
    """Of a program: its sizes, what it superposes on, and its hash."""

    n_atoms: Count
    n_components: Count
    reference: tuple[tuple[Number, Number, Number], ...]
    sha256: dict[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedMap(TorchMap):
    """A network of any form, with the superposition of frames inside; see `learned_map`.

    Attributes:
        content: the TorchScript file.
        superposed_on: see `CVMap.reference`.
    """

    kind: ClassVar[str] = "torch module"
    form: ClassVar[type[Description] | None] = LearnedDescription

    content: bytes
    superposed_on: FloatArray | None

    @property
    def reference(self) -> FloatArray | None:
        return self.superposed_on

    @property
    def knows_place(self) -> bool:
        return self.superposed_on is None

    @property
    def identity_text(self) -> str:
        return program_hash(self.content)

    @cached_property
    def module(self) -> Any:
        from aecv.models.cvs.torchscript import read_module

        return read_module(_CONTENT, self.content)[0]

    def description(self) -> dict[str, Any]:
        is_aligned = self.superposed_on is not None
        return {
            "align": is_aligned,
            "input": "positions of the atoms; superposed inside"
            if is_aligned
            else "positions of the atoms as they are",
            "units": {"positions": "nm", "reference": "nm", "xi": "1"},
            "reference": [] if self.superposed_on is None else self.superposed_on.tolist(),
            "sha256": {"program": self.identity_text},
        }

    @classmethod
    def read(cls, path: Path, said: Mapping[str, Any], arrays: Arrays | None, script: Path | None) -> Self:
        if script is None:
            raise CVError(f"{path}: needs its cv.pt beside it, which holds the network; export the CV again")
        content = looked_at(script)
        if said["sha256"] != {"program": program_hash(content)}:
            raise CVError(
                f"{script}: is not what it was when exported (SHA-256 differs); restore the file or "
                "export the CV again"
            )
        reference = np.array(said["reference"], dtype=float)
        return cls(
            content=content,
            superposed_on=reference if len(reference) else None,
            sizes=(said["n_atoms"], said["n_components"]),
            path=script,
        )


def learned_map(network: "nn.Module", reference: FloatArray, *, n_atoms: int) -> LearnedMap:
    """Any network that torch.jit.script compiles, as a kind of CV.

    Args:
        network: superposed frames [nm], flat, shape (F, 3 n_atoms), to xi, shape (F, d); each frame by
            itself, deterministic. It is copied and computes in double precision.
        reference: what frames are superposed on before, shape (n_atoms, 3) [nm]; (0, 3): on nothing.
        n_atoms: of the CV.

    Raises:
        CVError: when TorchScript does not know a part of it; when it fails on trial frames, mixes frames, or
            has no finite values and gradient there.
    """
    from aecv.models.cvs.function_trial import n_components
    from aecv.models.cvs.torchscript import AlignedModule, read_module, script_content

    module = AlignedModule(copy.deepcopy(network).double(), reference, n_atoms)
    try:
        content = script_content(module.requires_grad_(False), {})
    except Exception as error:  # what TorchScript raises depends on what it does not know
        raise CVError(
            f"export: needs an encoder that torch.jit.script compiles, got {type(network).__name__}: "
            f"{first_line(error)}; write it with what TorchScript knows"
        ) from error
    # what is read is written in another way than what was compiled, and from then on the same
    loaded = read_module(_CONTENT, content)[0]
    rng = np.random.default_rng(0)
    middle, spread = (reference, _SPREAD_NM) if len(reference) else (np.zeros((n_atoms, 3)), 1.0)
    frames = middle + spread * rng.standard_normal((3, n_atoms, 3))
    return LearnedMap(
        content=script_content(loaded, {}),
        superposed_on=np.asarray(reference, dtype=float) if len(reference) else None,
        sizes=(n_atoms, n_components(loaded, frames, title=type(network).__name__)),
    )
