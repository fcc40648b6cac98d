"""Files of a collective variable: writing one of any kind, and loading it.

Three files hold a learned CV: cv.pt (TorchScript, with cv.json inside) for other programs, and the same
network as plain arrays, cv.npz, with cv.json beside it. What cv.json says in full needs no cv.npz. torch is
loaded only when a .pt is.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.errors import CVError, StoreError
from aecv.ground.files import read_arrays, read_json, replacing, write_arrays, write_json
from aecv.models.cvs.archive import metadata_inside
from aecv.models.cvs.cv import CV, check_atom_indices
from aecv.models.cvs.cv_map import Arrays, CVMap
from aecv.models.cvs.description import FORMAT, FORMAT_VERSION, array_hash, checked_description
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.kinds import DESCRIBED, FORMS
from aecv.models.cvs.script_map import ScriptMap
from aecv.numerics.kernels.encoder import Encoder

logger = logging.getLogger(__name__)


def export_cv(
    learned: Encoder | CVMap,
    directory: Path,
    *,
    atom_indices: ArrayLike,
    cv_range: ArrayLike,
    system: str,
    system_hash: str,
) -> None:
    """Write the files of a learned CV, cv.pt and cv.json, and of an encoder cv.npz.

    Args:
        learned: an encoder, or a network of any other form by `learned_map`.
        directory: where to; it is created.
        atom_indices: the CV's atoms in the whole system, 0-based, shape (n_atoms,).
        cv_range: box for a biased run along the CV, shape (d, 2).
        system: name of the molecular system.
        system_hash: hash of its files.

    Raises:
        CVError: for shapes that do not fit. StoreError: when a file cannot be written.
    """
    cv = CV(
        source=directory,
        map=EncoderMap(encoder=learned) if isinstance(learned, Encoder) else learned,
        atom_indices=np.asarray(atom_indices, dtype=np.int64),
        cv_range=np.asarray(cv_range, dtype=float),
    )
    write_cv(cv, directory, system=system, system_hash=system_hash)


def write_cv(cv: CV, directory: Path, *, system: str, system_hash: str) -> tuple[str, ...]:
    """Write what can be written of a CV with a range; returns the names of the files, none for a function.

    The same CV gives the same bytes of cv.npz and cv.json. Of the TorchScript file of another program there
    is a copy, cv.pt.

    Args:
        directory: where to; it is created for files of aecv.
        system: name of the molecular system.
        system_hash: hash of its files.

    Raises:
        CVError: for shapes that do not fit, or without a range. StoreError: when a file cannot be written.
    """
    own = cv.map
    if own.form is None:
        if own.path is None:
            return ()
        with replacing(directory / "cv.pt") as temporary:
            temporary.write_bytes(own.path.read_bytes())
        return ("cv.pt",)
    check_atom_indices(cv.atom_indices, own.n_atoms)
    if cv.cv_range.shape != (own.n_components, 2) or not np.all(cv.cv_range[:, 0] < cv.cv_range[:, 1]):
        raise CVError(
            f"export: the range needs ({own.n_components}, 2) numbers, lower < upper, got "
            f"{cv.cv_range.tolist()}"
        )
    from aecv.models.cvs.torchscript import write_script

    arrays = {**own.arrays, "atom_indices": cv.atom_indices, "range": cv.cv_range}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **({"kind": own.kind} if own.kind else {}),
        **({"name": cv.source} if own.kind and isinstance(cv.source, str) else {}),  # a folder is no name
        "system": system,
        "system_hash": system_hash,
        "n_atoms": own.n_atoms,
        "n_components": own.n_components,
        **own.description(),
        "atom_indices": cv.atom_indices.tolist(),
        **({"reference": arrays["reference"].tolist()} if own.has_arrays else {}),
        "range": cv.cv_range.tolist(),
        **({"periodic": list(cv.periodic)} if own.kind else {}),
        **({"sha256": {name: array_hash(array) for name, array in arrays.items()}} if own.has_arrays else {}),
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_script(own.to_script(), directory / "cv.pt", metadata)
    if own.has_arrays:
        write_arrays(directory / "cv.npz", **arrays)
    write_json(directory / "cv.json", metadata)
    return ("cv.pt", "cv.npz", "cv.json") if own.has_arrays else ("cv.pt", "cv.json")


def load_cv(path: str | Path, *, atom_indices: ArrayLike | None = None) -> CV:
    """Load a collective variable.

    Args:
        path: cv.pt, cv.json, cv.npz, or a folder that holds them. With the plain files a .pt of the same
            name beside them is used for comparisons. A .pt of another origin works too.
        atom_indices: needed for a .pt of another origin; not accepted otherwise.

    Raises:
        CVError: when a file is missing, damaged, of a newer format or not what its hashes say.
    """
    location = Path(path)
    if location.is_dir():
        location = location / ("cv.json" if (location / "cv.json").exists() else "cv.pt")
    if not location.is_file():
        raise CVError(f"{location}: needs cv.pt, cv.json with cv.npz, or a folder of them, there is none")
    if location.suffix not in (".pt", ".json", ".npz"):
        raise CVError(f"{location}: needs a file that ends in .pt, .json or .npz")
    if location.suffix == ".pt":
        return _load_module(location, atom_indices)
    if atom_indices is not None:
        raise CVError(f"{location}: it names its atoms itself; leave atom_indices out")
    return _load_plain(location)


def _load_module(path: Path, atom_indices: ArrayLike | None) -> CV:
    from aecv.models.cvs.apart import TRUST, n_components_apart

    found = metadata_inside(path)
    if found is not None:
        if atom_indices is not None:
            raise CVError(f"{path}: it names its atoms itself; leave atom_indices out")
        return _described(path, checked_description(path, found, FORMS), None, path)
    if atom_indices is None:
        raise CVError(f"{path}: it does not name its atoms; pass atom_indices, 0-based, in the model's order")
    indices = np.asarray(atom_indices, dtype=np.int64)
    check_atom_indices(indices, indices.size)
    n_components = n_components_apart(path, len(indices))
    logger.warning(TRUST, path)
    return CV(
        source=path,
        map=ScriptMap(path=path, sizes=(len(indices), n_components)),
        atom_indices=indices,
        cv_range=np.full((n_components, 2), np.nan),
    )


def _load_plain(path: Path) -> CV:
    script = path.with_suffix(".pt") if path.with_suffix(".pt").is_file() else None
    try:
        beside = read_json(path.with_suffix(".json"))
        said = checked_description(path, beside, FORMS)
        kind = DESCRIBED[said.get("kind", "")]
        arrays = read_arrays(path.with_suffix(".npz")) if kind.has_arrays else None
    except StoreError as error:
        raise CVError(f"{error}; the two plain files of a CV belong together, export it again") from error
    cv = _described(path, said, arrays, script)
    if script is not None:
        inside = metadata_inside(script)
        if inside is not None and inside.get(kind.identity) != beside[kind.identity]:
            raise CVError(f"{script}: holds another CV than {path.name}; export both again")
    return cv


def _described(path: Path, said: dict[str, Any], arrays: Arrays | None, script: Path | None) -> CV:
    """The CV of any kind that aecv wrote."""
    indices, cv_range = np.array(said["atom_indices"], dtype=np.int64), np.array(said["range"], dtype=float)
    own = DESCRIBED[said.get("kind", "")].read(path, said, arrays, script)
    check_atom_indices(indices, own.n_atoms)
    n_flags = len(said["periodic"]) if own.kind else own.n_components
    if not cv_range.shape[:1] == (n_flags,) == (own.n_components,):
        raise CVError(f"{path}: needs a range and a periodic flag per component; export the CV again")
    return CV(
        source=path,
        map=own,
        atom_indices=indices,
        cv_range=cv_range,
        periodic=said["periodic"],
        system=said["system"],
        system_hash=said["system_hash"],
    )
