"""Internal coordinates as files: cv.pt (TorchScript, with cv.json inside) and cv.json; and read from them.

Together they say everything; there are no arrays that would need a cv.npz.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.errors import CVError
from aecv.ground.files import write_json
from aecv.models.cvs.cv import CV
from aecv.models.cvs.description import FORMAT, FORMAT_VERSION, INTERNAL_KIND
from aecv.numerics.kernels.internal import InternalCoordinates

_UNITS = {"dihedral": "rad", "angle": "rad", "distance": "nm", "coordinate": "nm"}


def export_internal(cv: CV, directory: Path, *, system: str, system_hash: str) -> None:
    """Write cv.pt and cv.json of a CV of internal coordinates.

    Args:
        cv: with a range; see `plain_cv.with_range`.
        directory: where to; it is created.
        system: name of the molecular system.
        system_hash: hash of its files.

    Raises:
        CVError: for a CV of another kind, or without a range. StoreError: when a file cannot be written.
    """
    from aecv.models.cvs.torchscript import write_script
    from aecv.models.inputs.plain_modules import InternalModule

    internal = cv.internal
    if internal is None or not np.isfinite(cv.cv_range).all():
        raise CVError(
            f"export: needs internal coordinates with a range, got {cv!r} with {cv.cv_range.tolist()}"
        )
    parts = zip(internal.kinds, internal.atoms, internal.axes, strict=True)
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": INTERNAL_KIND,
        "name": str(cv.source),
        "system": system,
        "system_hash": system_hash,
        "n_atoms": cv.n_atoms,
        "n_components": cv.n_components,
        "components": [{"kind": kind, "atoms": list(atoms), "axis": axis} for kind, atoms, axis in parts],
        "input": "positions of the atoms as they are; components name them by their place among these",
        "units": {"positions": "nm", "xi": [_UNITS[kind] for kind in internal.kinds]},
        "atom_indices": cv.atom_indices.tolist(),
        "range": cv.cv_range.tolist(),
        "periodic": list(cv.periodic),
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_script(InternalModule(internal), directory / "cv.pt", metadata)
    write_json(directory / "cv.json", metadata)


def internal_from(path: Path, metadata: dict[str, Any], module_path: Path | None) -> CV:
    """The CV that `export_internal` wrote.

    Args:
        path: the file that it is read from.
        metadata: what cv.json says.
        module_path: its cv.pt, if there is one.

    Raises:
        CVError: for a description that is none.
    """
    try:
        internal = InternalCoordinates(
            kinds=tuple(part["kind"] for part in metadata["components"]),
            atoms=tuple(tuple(part["atoms"]) for part in metadata["components"]),
            axes=tuple(part["axis"] for part in metadata["components"]),
            n_atoms=len(metadata["atom_indices"]),
        )
        cv_range, periodic = np.array(metadata["range"], dtype=float), tuple(metadata["periodic"])
    except (KeyError, TypeError, ValueError) as error:
        raise CVError(f"{path}: the description is damaged ({error!r}); export the CV again") from error
    if not cv_range.shape[:1] == (len(periodic),) == (internal.n_components,):
        raise CVError(f"{path}: needs a range and a periodic flag per component; export the CV again")
    for c in np.flatnonzero(periodic):
        low, high = cv_range[c]
        if internal.kinds[c] != "dihedral" or not math.isclose(high - low, 2.0 * math.pi):
            raise CVError(
                f"{path}: component {c + 1} is periodic and needs to be a dihedral with a range of 2 pi, got "
                f"a {internal.kinds[c]} from {low:g} to {high:g}; export the CV again"
            )
    return CV(
        source=path,
        encoder=None,
        internal=internal,
        module_path=module_path,
        atom_indices=np.array(metadata["atom_indices"], dtype=np.int64),
        cv_range=cv_range,
        periodic=periodic,
        system=metadata["system"],
        system_hash=metadata["system_hash"],
        n_components=internal.n_components,
    )
