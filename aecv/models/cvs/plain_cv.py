"""Collective variables that were not learned: observables of a system; ranges and files of any CV."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, suggestion
from aecv.ground.files import replacing
from aecv.ground.settings import OF_ONE_SELECTION
from aecv.models.cvs.cv import CV, checked_range
from aecv.models.cvs.cv_files import export_cv
from aecv.models.cvs.internal_export import export_internal
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.numerics.extended_abf.abf import data_range
from aecv.numerics.kernels.internal import InternalCoordinates

_DIGITS = 10
"""Digits in which a function may not change: far above rounding, far below any other formula."""


def observable_cv(
    observables: ObservableSet,
    names: Sequence[str],
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> CV:
    """Observables of a system as a collective variable, compiled.

    A dihedral is periodic over [-pi, pi). The others are as wide as `ranges` says; one that it does not name
    has no range yet, see `with_range`.

    Args:
        observables: those of the system.
        names: one per component, 1 to 3.
        ranges: lower and upper end of a biased run per name [nm or rad]; not for dihedrals.

    Raises:
        CVError: for a name that is not there or comes twice, or a range that is none.
    """
    limits = dict(ranges or {})
    for name in (*names, *limits):
        if name not in observables.names:
            raise CVError(
                f"CV: '{name}' is none of the observables {', '.join(observables.names)}"
                f"{suggestion(name, observables.names)}"
            )
    if not 1 <= len(names) <= 3 or len(set(names)) != len(names):
        raise CVError(f"CV: needs 1 to 3 different observables, got {', '.join(names) or 'none'}")
    for name in names:
        if observables.kinds[name] in OF_ONE_SELECTION:
            raise CVError(
                f"CV: '{name}' is {OF_ONE_SELECTION[observables.kinds[name]]}, which is measured and drawn "
                "but cannot be biased along; take dihedrals, angles or distances, or write it as a function "
                "in torch (see sample_along)"
            )
    periodic = tuple(observables.kinds[name] == "dihedral" for name in names)
    cv_range = np.full((len(names), 2), np.nan)
    for row, name, is_periodic in zip(cv_range, names, periodic, strict=True):
        if is_periodic and name in limits:
            raise CVError(f"CV: '{name}' is a dihedral and periodic; leave its range out")
        row[:] = (-np.pi, np.pi) if is_periodic else limits.get(name, (np.nan, np.nan))
    own = [observables.indices[name] for name in names]
    atoms, local = np.unique(np.concatenate(own), return_inverse=True)
    parts = np.split(local, np.cumsum([len(indices) for indices in own])[:-1])
    internal = InternalCoordinates(
        kinds=tuple(observables.kinds[name] for name in names),
        atoms=tuple(tuple(int(atom) for atom in part) for part in parts),
        axes=tuple(observables.axes.get(name) for name in names),
        n_atoms=len(atoms),
    )
    return CV(
        source=", ".join(names),
        encoder=None,
        internal=internal,
        module_path=None,
        atom_indices=atoms.astype(np.int64),
        cv_range=checked_range(cv_range, periodic),
        periodic=periodic,
        system="",
        system_hash="",
        n_components=len(names),
    )


def with_range(cv: CV, frames: FloatArray, *, margin: float) -> CV:
    """The CV with a range where it has none: that of frames, and a margin on each side.

    Args:
        frames: of the CV's atoms, shape (n, n_atoms, 3) [nm]; they should reach as far as the run shall.
        margin: share of the data range.

    Raises:
        CVError: when a range is missing and there are fewer than 100 frames to take it from.
    """
    missing = ~np.isfinite(cv.cv_range).all(axis=1)
    if not missing.any():
        return cv
    if len(frames) < 100:
        raise CVError(
            f"CV {cv.source}: component {int(np.argmax(missing)) + 1} needs a range; {len(frames)} frames of "
            'a hot run are too few to take it from; give one (--range), or set starts.mode = "auto"'
        )
    cv_range = cv.cv_range.copy()
    cv_range[missing] = data_range(cv(frames)[:, missing], margin=margin)
    return replace(cv, cv_range=cv_range)


def write_cv(cv: CV, directory: Path, *, system: str, system_hash: str) -> tuple[str, ...]:
    """Write what can be written of a CV with a range; returns the names of the files, none for a function.

    A network gives cv.pt, cv.npz and cv.json, internal coordinates cv.pt and cv.json, the TorchScript file of
    another program a copy of it, cv.pt. What torch.jit.trace makes of a function keeps one way through its
    branches and the shapes of one input, and so may be another CV: nothing is written.

    Args:
        directory: where to.
        system: name of the molecular system.
        system_hash: hash of its files.
    """
    if cv.encoder is not None:
        export_cv(
            cv.encoder,
            directory,
            atom_indices=cv.atom_indices,
            cv_range=cv.cv_range,
            system=system,
            system_hash=system_hash,
        )
        return ("cv.pt", "cv.npz", "cv.json")
    if cv.internal is not None:
        export_internal(cv, directory, system=system, system_hash=system_hash)
        return ("cv.pt", "cv.json")
    if cv.module_path is not None:
        with replacing(directory / "cv.pt") as temporary:
            temporary.write_bytes(cv.module_path.read_bytes())
        return ("cv.pt",)
    return ()


def require_script(cv: CV, *, engine: str) -> None:
    """Refuse a CV that an engine cannot have as TorchScript of positions.

    A model of another program is one only together with the Python around it, which brings units, features
    and layout to what the model wants.

    Raises:
        CVError: for a Python function, and for another program's model that was probed.
    """
    if cv.function is None:
        return
    what = "a Python function" if cv.module_path is None else "a model of another program"
    raise CVError(
        f"engine {engine}: {cv.source} is {what}, which runs in Python; use --engine native, or, in Python, "
        "a TorchScript file that takes positions (F, n_atoms, 3) in nm, by load_cv(file, atom_indices=...)"
    )


def behaviour(cv: CV, frames: FloatArray) -> str:
    """A hash of what a CV does on some frames: its values and gradients to ten digits of the largest.

    It tells functions apart that have the same name.

    Args:
        frames: of its atoms, shape (F, n_atoms, 3) [nm].
    """
    digest = hashlib.sha256()
    for array in cv.with_gradient(frames):
        scale = max(float(np.abs(array).max()), np.finfo(float).tiny)
        # + 0 makes -0 the 0 that it equals
        digest.update((np.round(array / scale, _DIGITS) + 0.0).tobytes())
        digest.update(f"{scale:.{_DIGITS - 1}e}".encode())
    return digest.hexdigest()
