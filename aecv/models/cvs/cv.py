"""The collective variable: its values and gradients, whatever kind it is. Its files: `cv_files`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import CVError
from aecv.models.cvs.cv_map import CVMap
from aecv.models.cvs.description import array_hash
from aecv.models.cvs.function_map import FunctionMap

_N_TRIAL = 3
"""Made-up frames on which a function has to show that it treats frames one by one."""
_PIECE = 20_000
"""Frames that `CV.of_some` holds in double precision at once."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CV:
    """A collective variable xi(q) of some atoms' positions.

    Its `map` says of what kind it is: a network or internal coordinates, both compiled; or anything else that
    torch can differentiate. The atoms, the range and the system are the same for all kinds.

    Attributes:
        source: the file that it was loaded from, or what it is called.
        map: the atoms' positions to xi.
        atom_indices: the atoms, in the order in which the map wants them, shape (n_atoms,).
        cv_range: box for a biased run: where the pooled frames lie, and a margin, shape (d, 2); NaN when
            unknown. Of a periodic component it is one period.
        system: name of the molecular system; empty when unknown.
        system_hash: hash of the system's files; empty when unknown.
        periodic: per component; left out: none.

    Example:
        >>> import aecv
        >>> cv = aecv.CV.from_function(lambda x: (x[:, 0] - x[:, 1]).norm(dim=-1), [4, 14], name="far")
        >>> cv.of_frames([[[0.0, 0.0, 0.1 * k] for k in range(22)]]).round(3)
        array([[1.]])
    """

    source: Path | str
    map: CVMap
    atom_indices: IntArray
    cv_range: FloatArray
    system: str = ""
    system_hash: str = ""
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "periodic", self.periodic or (False,) * self.n_components)

    @classmethod
    def from_function(
        cls,
        function: Callable[[Any], Any],
        atom_indices: ArrayLike,
        *,
        cv_range: ArrayLike | None = None,
        periodic: Sequence[bool] = (),
        name: str | None = None,
    ) -> "CV":
        """A CV from any differentiable Python function in torch; every MD step calls it through autograd.

        Args:
            function: positions as a tensor, shape (F, n_atoms, 3) [nm], float64, to a tensor of shape (F, d)
                or (F,); each frame by itself. Module-level functions can be pickled.
            atom_indices: its atoms in the whole system, 0-based, in the function's order, shape (n_atoms,).
            cv_range: box for a biased run, shape (d, 2); of a periodic component one period. Left out:
                unknown.
            periodic: per component, whether values that differ by the width of its range are the same.
            name: what it is called in messages and records; the function's own name when left out.

        Raises:
            CVError: when the function does not do that on made-up frames.
        """
        check_atom_indices(np.asarray(atom_indices, dtype=np.int64), np.size(atom_indices))
        return function_cv(function, atom_indices, cv_range=cv_range, periodic=periodic, name=name)

    @property
    def n_atoms(self) -> int:
        return len(self.atom_indices)

    @property
    def n_components(self) -> int:
        """d."""
        return self.map.n_components

    @property
    def is_compiled(self) -> bool:
        """Whether it runs in a compiled kernel; if not, through autograd."""
        return self.map.kernel is not None

    @property
    def module(self) -> Any:
        """The CV as a torch module, made or loaded at first use; a TorchScript module where it has a .pt.

        Raises:
            CVError: when it needs a .pt and there is none, or it cannot be read.
        """
        return self.map.module

    @property
    def periods(self) -> FloatArray:
        """Period per component, 0 where it is not periodic, shape (d,)."""
        return np.where(self.periodic, np.ptp(self.cv_range, axis=1), 0.0)

    @property
    def fingerprint(self) -> str:
        """A hash of what it is; of a function only the name, since code has no lasting hash."""
        digest = hashlib.sha256(repr(self.periodic).encode())
        digest.update(self.map.identity_text.encode())
        arrays = {"atom_indices": self.atom_indices, "range": self.cv_range} | self.map.arrays
        for name in sorted(arrays):
            digest.update(f"{name} {array_hash(arrays[name])}".encode())
        return digest.hexdigest()

    def __call__(self, positions: ArrayLike) -> FloatArray:
        """xi, shape (F, d), of the CV atoms' positions [nm], shape (F, n_atoms, 3) or (n_atoms, 3).

        Raises:
            CVError: for another shape, or output that is not finite.
            AlignmentError: for a frame without a unique rotation onto the reference.
        """
        return self.map.values(self._frames(positions))

    def gradient(self, positions: ArrayLike) -> FloatArray:
        """d xi_c / d q [1/nm], shape (F, d, n_atoms, 3); arguments and errors as for calling it."""
        return self.with_gradient(positions)[1]

    def with_gradient(self, positions: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """xi, shape (F, d), and its gradient [1/nm], shape (F, d, n_atoms, 3); errors as for calling it."""
        return self.map.with_gradient(self._frames(positions))

    def of_frames(self, positions: ArrayLike) -> FloatArray:
        """xi, shape (F, d), of all atoms' positions [nm], shape (F, n_total, 3); takes the CV atoms out."""
        frames = np.asarray(positions, dtype=float)
        needed = int(self.atom_indices.max()) + 1
        if frames.ndim != 3 or frames.shape[2] != 3 or frames.shape[1] < needed:
            raise CVError(f"CV: needs positions of all atoms, (F, >= {needed}, 3), got {frames.shape}")
        return self(frames[:, self.atom_indices])

    def of_some(self, positions: NDArray[np.floating], atoms: IntArray) -> FloatArray:
        """xi, shape (F, d), of frames that hold some atoms, in pieces that memory holds in double precision.

        Args:
            positions: shape (F, len(atoms), 3) [nm].
            atoms: which they are, shape (n_held,).

        Raises:
            CVError: when one of the CV's atoms is not among them.
        """
        places = {int(atom): place for place, atom in enumerate(atoms)}
        missing = [int(atom) for atom in self.atom_indices if int(atom) not in places]
        if missing:
            raise CVError(
                f"{self.source}: needs atom {missing[0]}, the frames hold {np.asarray(atoms).tolist()}; "
                "use a trajectory of all atoms"
            )
        own = [places[int(atom)] for atom in self.atom_indices]
        parts = np.array_split(positions, max(1, len(positions) // _PIECE))
        return np.concatenate([self(part[:, own]) for part in parts])

    def _frames(self, positions: ArrayLike) -> FloatArray:
        frames = np.asarray(positions, dtype=float)
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.ndim != 3 or frames.shape[1:] != (self.n_atoms, 3) or len(frames) == 0:
            raise CVError(
                f"CV: positions need shape (F >= 1, {self.n_atoms}, 3) in nm, got {np.shape(positions)}; "
                "pass the CV's atoms only, in its order, or use of_frames for all atoms"
            )
        return frames

    def __repr__(self) -> str:
        return f"CV({str(self.source)!r}, {self.n_components} components of {self.n_atoms} atoms)"


def function_cv(
    function: Callable[[Any], Any],
    atom_indices: ArrayLike,
    *,
    cv_range: ArrayLike | None = None,
    periodic: Sequence[bool] = (),
    name: str | None = None,
    trial: FloatArray | None = None,
) -> CV:
    """A Python function in torch as a collective variable; see `CV.from_function`.

    Args:
        trial: frames on which it is tried, shape (F, n_atoms, 3) [nm]; made-up ones when left out.

    Raises:
        CVError: when the function fails on the trial frames, mixes frames, gives NaN there, or does not
            depend on the positions; for a periodic component without a range.
    """
    indices = np.asarray(atom_indices, dtype=np.int64)
    title = str(name or getattr(function, "__name__", type(function).__name__))
    from aecv.models.cvs.function_trial import n_components
    from aecv.models.cvs.torchscript import FunctionModule

    made_up = np.random.default_rng(0).normal(size=(_N_TRIAL, indices.size, 3))
    d = n_components(FunctionModule(function), made_up if trial is None else trial, title=title)
    limits = np.full((d, 2), np.nan) if cv_range is None else np.asarray(cv_range, dtype=float).reshape(-1, 2)
    flags = tuple(bool(flag) for flag in periodic) or (False,) * d
    if len(limits) != d or len(flags) != d:
        raise CVError(
            f"CV {title}: needs a range and a periodic flag for each of its {d} components, got "
            f"{len(limits)} and {len(flags)}"
        )
    return CV(
        source=title,
        map=FunctionMap(function=function, name=title, sizes=(indices.size, d)),
        atom_indices=indices,
        cv_range=checked_range(limits, flags),
        periodic=flags,
    )


def compare_with_torchscript(cv: CV, positions: ArrayLike) -> float:
    """Largest difference between the compiled CV and its torch module, over values and gradients.

    Args:
        cv: internal coordinates, or an encoder with a .pt.
        positions: of the CV atoms [nm], shape (F, n_atoms, 3); F of a few hundred is enough.

    Returns:
        the larger of the two relative differences; each is relative to the largest number of its kind.

    Raises:
        CVError: when one of the two is missing or fails.
    """
    from aecv.models.cvs.torchscript import evaluate_with_gradient

    frames = cv._frames(positions)
    if not cv.is_compiled:
        raise CVError(f"{cv.source}: it is no network of aecv, there are no arrays to compare it with")
    theirs = evaluate_with_gradient(cv.module, frames)
    ours = cv.with_gradient(frames)
    if theirs[0].shape != ours[0].shape:
        raise CVError(f"{cv.source}: needs {ours[0].shape[1]} components, got {theirs[0].shape[1]}")
    differences = (shortest(ours[0] - theirs[0], cv.periods), ours[1] - theirs[1])
    return max(
        float(np.abs(difference).max() / max(np.abs(a).max(), np.finfo(float).tiny))
        for a, difference in zip(ours, differences, strict=True)
    )


def shortest(differences: ArrayLike, periods: FloatArray) -> FloatArray:
    """Differences of CV values the shortest way round, shape (..., d); as they are where a period is 0."""
    values = np.asarray(differences, dtype=float)
    turns = np.round(values / np.where(periods > 0, periods, np.inf))
    return np.asarray(values - periods * turns)


def check_atom_indices(indices: IntArray, n_atoms: int) -> None:
    """Refuse atom indices that are not n_atoms different ones >= 0, with a CVError."""
    unique: Sequence[int] = np.unique(indices).tolist()
    if indices.shape != (n_atoms,) or len(unique) != n_atoms or n_atoms < 1 or unique[0] < 0:
        raise CVError(f"CV: needs {n_atoms} different atom indices >= 0, got {indices.tolist()}")


def checked_range(cv_range: FloatArray, periodic: Sequence[bool]) -> FloatArray:
    """The range itself, shape (d, 2); a CVError where a row is no lower < upper, or a period unknown."""
    for c, (low, high) in enumerate(cv_range):
        unknown = np.isnan(low) and np.isnan(high) and not periodic[c]
        if not unknown and not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise CVError(
                f"CV: component {c + 1} needs a range lower < upper{', one period' if periodic[c] else ''}, "
                f"got {low:g} and {high:g}"
            )
    return cv_range
