"""Internal coordinates as a kind of CV: compiled; cv.pt (TorchScript) and cv.json say everything of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.ground.forms import Count
from aecv.ground.observable_kinds import KINDS
from aecv.models.cvs.cv_map import Arrays, CompiledStep, CVMap
from aecv.models.cvs.description import Description
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels.internal import InternalCoordinates, internal_gradient, internal_values


class InternalDescription(Description):
    """Of internal coordinates."""

    class Component(BaseModel):
        kind: str
        atoms: tuple[Count, ...]
        axis: int | None

    components: tuple[Component, ...]
    periodic: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class InternalMap(CVMap):
    """Dihedrals, angles, distances and coordinates of atoms.

    Attributes:
        internal: which they are.
    """

    kind: ClassVar[str] = "internal coordinates"
    form: ClassVar[type[Description] | None] = InternalDescription
    identity: ClassVar[str] = "components"

    internal: InternalCoordinates

    @property
    def n_atoms(self) -> int:
        return self.internal.n_atoms

    @property
    def n_components(self) -> int:
        return self.internal.n_components

    @property
    def kernel(self) -> InternalCoordinates:
        return self.internal

    @property
    def knows_place(self) -> bool:
        return "coordinate" in self.internal.kinds

    @property
    def identity_text(self) -> str:
        return repr((self.internal.kinds, self.internal.atoms, self.internal.axes))

    @cached_property
    def module(self) -> Any:
        from aecv.models.inputs.internal_module import InternalModule

        return InternalModule(self.internal)

    def values(self, frames: FloatArray) -> FloatArray:
        return internal_values(self.internal, frames)

    def with_gradient(self, frames: FloatArray) -> tuple[FloatArray, FloatArray]:
        return internal_gradient(self.internal, frames)

    def step(self, extended: ExtendedVariable) -> CompiledStep:
        from aecv.numerics.extended_abf import step_kernels  # compiles

        return CompiledStep(
            memory=step_kernels.internal_memory(self.internal, extended),
            kernel=step_kernels.internal_step,
            why="atoms of an angle or dihedral lie on a line, or two atoms coincide",
        )

    def description(self) -> dict[str, Any]:
        parts = zip(self.internal.kinds, self.internal.atoms, self.internal.axes, strict=True)
        return {
            "components": [{"kind": kind, "atoms": list(atoms), "axis": axis} for kind, atoms, axis in parts],
            "input": "positions of the atoms as they are; components name them by their place among these",
            "units": {"positions": "nm", "xi": [KINDS[kind].unit for kind in self.internal.kinds]},
        }

    @classmethod
    def read(cls, path: Path, said: Mapping[str, Any], arrays: Arrays | None, script: Path | None) -> Self:
        parts = said["components"]
        try:
            internal = InternalCoordinates(
                kinds=tuple(part["kind"] for part in parts),
                atoms=tuple(tuple(part["atoms"]) for part in parts),
                axes=tuple(part["axis"] for part in parts),
                n_atoms=len(said["atom_indices"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CVError(f"{path}: the description is damaged ({error!r}); export the CV again") from error
        for c, (kind, (low, high), periodic) in enumerate(
            zip(internal.kinds, said["range"], said["periodic"], strict=False)  # lengths: `cv_files` asks
        ):
            if periodic and (not KINDS[kind].is_periodic or not math.isclose(high - low, 2.0 * math.pi)):
                raise CVError(
                    f"{path}: component {c + 1} is periodic and needs to be a dihedral with a range of 2 pi, "
                    f"got a {kind} from {low:g} to {high:g}; export the CV again"
                )
        return cls(internal=internal, path=script)
