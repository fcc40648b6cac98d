"""Collective variables of other programs: any TorchScript model of positions, or of features of positions.

The model gets its input by the rule of `probing`, or as the user says, is tried on frames near a structure,
and runs as a CV through autograd.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import CVError
from aecv.ground.files import sha256
from aecv.models.cvs.apart import TRUST, find_form_apart
from aecv.models.cvs.cv import CV, check_atom_indices, function_cv, shortest
from aecv.models.cvs.probing import InputForm, in_layout
from aecv.models.cvs.torchscript import read_module
from aecv.models.cvs.verification import compare_with_differences, difference_tolerance
from aecv.models.inputs.features import FeatureModule, FeatureSet

logger = logging.getLogger(__name__)

LENGTH_UNITS = {"nm": 1.0, "angstrom": 10.0}
"""What a length in nm is multiplied with for the model."""
JITTER_NM = 0.005
"""How far the atoms of probing frames lie from the structure: less than they move at room temperature."""
PUSH_TOLERANCE = 1e-3
"""Share of the gradient that moves or turns the molecule as a whole, from which it is worth a warning."""


class ForeignModule(torch.nn.Module):
    """Positions [nm], shape (F, n_atoms, 3), to what another program's model makes of them, shape (F, d)."""

    def __init__(self, path: Path, form: InputForm, features: FeatureSet | None, scale: float) -> None:
        super().__init__()
        self._recipe = (path, form, features, scale)
        # first of the numbers, so that frames come in this precision
        self.register_buffer("precision", torch.zeros(0, dtype=form.dtype))
        self._features = None if features is None else FeatureModule(features, length_scale=scale)
        self._scale, self._layout = scale, form.layout
        self.model = read_module(path)[0].to(form.dtype)

    def forward(self, positions: Tensor) -> Tensor:
        inputs = self._scale * positions if self._features is None else self._features(positions)
        return in_layout(self.model, inputs, self._layout)

    def __reduce__(self) -> tuple[Any, ...]:
        """TorchScript cannot be pickled; another process reads the file again, wherever it runs."""
        path, *rest = self._recipe
        return ForeignModule, (path.absolute(), *rest)

    @property
    def fingerprint(self) -> str:
        """The file's hash, how the model is called and with what."""
        path, form, features, scale = self._recipe
        columns = () if features is None else (features.kinds, features.atoms)
        return f"{sha256(path)} {form} {columns} {scale}"

    @property
    def path(self) -> Path:
        return self._recipe[0]

    @property
    def dtype(self) -> torch.dtype:
        return self._recipe[1].dtype


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a user says about another program's model.

    Attributes:
        path: its TorchScript file.
        atom_indices: its atoms in the whole system, 0-based, in the model's order; None with features.
        features: what it takes instead of positions.
        length_unit: "nm" or "angstrom", of its positions and distances.
        layout: one of `probing.LAYOUTS` or `probing.FEATURE_LAYOUTS`; None: by the rule there.
    """

    path: Path
    atom_indices: tuple[int, ...] | None = None
    features: FeatureSet | None = None
    length_unit: str = "nm"
    layout: str | None = None


def foreign_cv(
    foreign: Foreign,
    structure: ArrayLike,
    *,
    cv_range: ArrayLike | None = None,
    periodic: Sequence[bool] = (),
    is_free: bool = True,
) -> CV:
    """A CV from another program's TorchScript model.

    Args:
        foreign: the model and its inputs.
        structure: positions of all atoms of the system [nm], shape (N, 3), near which the model is probed.
        cv_range: box for a biased run, shape (d, 2); left out: unknown.
        periodic: per component, whether its range is a period.
        is_free: whether nothing but the CV holds place and orientation of the molecule; then a CV that
            depends on them is worth a warning.

    Raises:
        CVError: when the file is missing or no TorchScript; atoms are missing; the model does not take that
            many inputs or returns something else than 1 to 3 finite numbers per frame; or torch does not know
            how they depend on the positions.
    """
    path, features = foreign.path, foreign.features
    if (foreign.atom_indices is None) == (features is None):
        raise CVError(
            f"{path}: it does not say what it takes; give either its atoms (--atoms) in the model's order, "
            "or its input features (--features)"
        )
    if foreign.length_unit not in LENGTH_UNITS:
        raise CVError(f"length unit: needs {' or '.join(LENGTH_UNITS)}, got '{foreign.length_unit}'")
    scale = LENGTH_UNITS[foreign.length_unit]
    indices = np.array(foreign.atom_indices if features is None else features.atom_indices)
    frames = _near(np.asarray(structure, dtype=float), indices, path)
    positions = torch.tensor(frames)
    inputs = scale * positions if features is None else FeatureModule(features, length_scale=scale)(positions)
    form, note = find_form_apart(path, inputs, layout=foreign.layout)
    logger.info("CV: %s %s", path, note)
    logger.warning(TRUST, path)
    module = ForeignModule(path, form, features, scale)
    _check_differentiable(module, frames)
    cv = function_cv(module, indices, cv_range=cv_range, periodic=periodic, name=str(path), trial=frames)
    cv = replace(cv, map=replace(cv.map, path=path))  # a run keeps a copy
    _check_gradient(cv, frames)
    if is_free:
        _warn_of_pushing(cv, frames)
    return cv


def _near(structure: FloatArray, indices: IntArray, path: Path) -> FloatArray:
    """Frames of the CV's atoms near a structure, shape (F, n_atoms, 3); F is none of n_atoms, 1, 2, 3."""
    check_atom_indices(indices, indices.size)
    if indices.max() >= len(structure):
        raise CVError(
            f"{path}: needs atoms 0 .. {len(structure) - 1} (0-based) of the system, got {indices.tolist()}"
        )
    n_frames = 7 if len(indices) == 5 else 5
    noise = np.random.default_rng(0).normal(scale=JITTER_NM, size=(n_frames, len(indices), 3))
    return structure[indices] + noise


def _check_differentiable(module: ForeignModule, frames: FloatArray) -> None:
    """The model has a gradient in torch; without one there is no force."""
    positions = torch.tensor(frames, dtype=module.dtype, requires_grad=True)
    xi = module(positions)
    spread = xi.detach().double().std(dim=0)
    for c in range(xi.shape[1]):
        gradient = None
        if xi.requires_grad:
            gradient = torch.autograd.grad(xi[:, c].sum(), positions, retain_graph=True, allow_unused=True)[0]
        if gradient is None or not bool(gradient.any()):
            raise CVError(
                f"{module.path}: cannot be biased: component {c + 1} changes by {float(spread[c]):.1e} "
                "from frame to frame, but torch sees no gradient (detach(), a rounding, no_grad() or a "
                "constant of the trace on the way); export it so that it can be differentiated"
            )


def _check_gradient(cv: CV, frames: FloatArray) -> None:
    difference, allowed = compare_with_differences(cv, frames), difference_tolerance(cv)
    if not difference < allowed:
        raise CVError(
            f"{cv.source}: its gradient differs from finite differences of its values by {difference:.1e} "
            f"(relative, allowed {allowed:.0e}); a part of it is detached from the positions, or it jumps"
        )


def _warn_of_pushing(cv: CV, frames: FloatArray) -> None:
    """A CV that knows place or orientation makes its bias push or turn the molecule as a whole."""
    gradient = cv.gradient(frames)
    arms = frames - frames.mean(axis=1, keepdims=True)
    shares = [
        _share(gradient),
        _share(np.cross(arms[:, None], gradient)),
    ]
    if max(shares) < PUSH_TOLERANCE:
        return
    rotations = np.linalg.qr(np.random.default_rng(1).normal(size=(20, 3, 3)))[0]
    rotations *= np.linalg.det(rotations)[:, None, None]
    here = cv(frames[:1])
    turned = cv(arms[0] @ rotations + frames[0].mean(axis=0))
    moved = cv(frames[:1] + 0.1 * np.concatenate([np.eye(3), -np.eye(3)])[:, None])
    change = [float(np.abs(shortest(values - here, cv.periods)).max()) for values in (moved, turned)]
    logger.warning(
        "CV: %s is not invariant: moving the molecule by 0.1 nm changes it by up to %.2g, turning it by up "
        "to %.2g (atoms that move by %g nm change it by %.2g); a bias along it pushes the whole molecule. "
        "Take features, or align the positions inside the model",
        cv.source, *change, JITTER_NM, float(cv(frames).std(axis=0).max()),
    )  # fmt: skip


def _share(parts: FloatArray) -> float:
    """|sum over atoms| / sum over atoms of |.|, largest over frames and components; parts (F, d, n, 3)."""
    whole = np.linalg.norm(parts.sum(axis=2), axis=-1)
    size = np.linalg.norm(parts, axis=-1).sum(axis=2)
    return float((whole / np.maximum(size, np.finfo(float).tiny)).max())
