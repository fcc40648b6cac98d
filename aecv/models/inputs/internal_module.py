"""Internal coordinates as a torch module."""

from collections.abc import Callable

import torch
from torch import Tensor

from aecv.numerics.kernels.internal import InternalCoordinates


class InternalModule(torch.nn.Module):
    """Positions [nm] of any shape that reshapes to (-1, n_atoms, 3) -> internal coordinates, (batch, d).

    By other formulas than the compiled kernel's, and with autograd's gradient, so that the two check each
    other.
    """

    def __init__(self, coordinates: InternalCoordinates) -> None:
        super().__init__()
        self.n_atoms = coordinates.n_atoms
        parts = zip(coordinates.kinds, coordinates.atoms, coordinates.axes, strict=True)
        self.parts = torch.nn.ModuleList([_Coordinate(*part) for part in parts])

    def forward(self, positions: Tensor) -> Tensor:
        frames = positions.reshape(-1, self.n_atoms, 3)
        columns: list[Tensor] = []
        for part in self.parts:
            columns.append(part(frames))  # TorchScript knows loops over modules, no comprehensions
        return torch.stack(columns, dim=1)


class _Coordinate(torch.nn.Module):
    """One internal coordinate of frames (F, n_atoms, 3), shape (F,); in a form that TorchScript compiles."""

    def __init__(self, kind: str, atoms: tuple[int, ...], axis: int | None) -> None:
        super().__init__()
        self.kind = kind
        self.atoms = list(atoms)
        self.axis = -1 if axis is None else axis

    def forward(self, frames: Tensor) -> Tensor:
        points = frames[:, self.atoms]
        if self.kind == "coordinate":
            return points[:, 0, self.axis]
        if self.kind == "distance":
            return _distance(points[:, 0], points[:, 1])
        if self.kind == "angle":
            return _angle(points[:, 0], points[:, 1], points[:, 2])
        return _dihedral(points[:, 0], points[:, 1], points[:, 2], points[:, 3])


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return torch.linalg.vector_norm(second - first, dim=-1)


def _angle(first: Tensor, middle: Tensor, last: Tensor) -> Tensor:
    """2 atan2(|u - v|, |u + v|) of the unit vectors (Kahan): exact to rounding at every angle."""
    u = torch.nn.functional.normalize(first - middle, dim=-1)
    v = torch.nn.functional.normalize(last - middle, dim=-1)
    return 2.0 * torch.atan2(torch.linalg.vector_norm(u - v, dim=-1), torch.linalg.vector_norm(u + v, dim=-1))


def _dihedral(p0: Tensor, p1: Tensor, p2: Tensor, p3: Tensor) -> Tensor:
    """Angle between the outer bonds, both projected on the plane across the middle one."""
    axis = torch.nn.functional.normalize(p2 - p1, dim=-1)
    before, after = p0 - p1, p3 - p2
    v = before - (before * axis).sum(dim=-1, keepdim=True) * axis
    w = after - (after * axis).sum(dim=-1, keepdim=True) * axis
    return torch.atan2((torch.linalg.cross(axis, v) * w).sum(dim=-1), (v * w).sum(dim=-1))


FORMULAS: dict[str, Callable[..., Tensor]] = {
    "distance": _distance,
    "angle": _angle,
    "dihedral": _dihedral,
}
