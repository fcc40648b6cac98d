"""Files of a collective variable: writing those of a learned one, and loading any.

Three files hold a learned CV: cv.pt (TorchScript, with cv.json inside) for other programs, and the same
network as plain arrays, cv.npz, with cv.json beside it. Internal coordinates need no cv.npz. torch is loaded
only when a .pt is.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.errors import CVError, StoreError
from aecv.ground.files import read_arrays, read_json, write_arrays, write_json
from aecv.models.cvs.archive import metadata_inside
from aecv.models.cvs.cv import CV, array_hash, check_atom_indices, encoder_arrays
from aecv.models.cvs.description import FORMAT, FORMAT_VERSION, INTERNAL_KIND, checked_description
from aecv.models.cvs.internal_export import internal_from
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.network import ACTIVATIONS

logger = logging.getLogger(__name__)


def export_cv(
    encoder: Encoder,
    directory: Path,
    *,
    atom_indices: ArrayLike,
    cv_range: ArrayLike,
    system: str,
    system_hash: str,
) -> None:
    """Write cv.pt, cv.npz and cv.json; the same arguments give the same bytes of the last two.

    Args:
        encoder: the network.
        directory: where to; it is created.
        atom_indices: the CV's atoms in the whole system, 0-based, shape (n_atoms,).
        cv_range: box for a biased run along the CV, shape (d, 2).
        system: name of the molecular system.
        system_hash: hash of its files.

    Raises:
        CVError: for shapes that do not fit the encoder. StoreError: when a file cannot be written.
    """
    from aecv.models.cvs.torchscript import write_module

    indices, limits = np.asarray(atom_indices, dtype=np.int64), np.asarray(cv_range, dtype=float)
    check_atom_indices(indices, encoder.n_atoms)
    if limits.shape != (encoder.n_components, 2) or not np.all(limits[:, 0] < limits[:, 1]):
        raise CVError(
            f"export: the range needs ({encoder.n_components}, 2) numbers, lower < upper, got {limits}"
        )
    arrays: dict[str, NDArray[Any]] = {**encoder_arrays(encoder), "atom_indices": indices, "range": limits}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "system": system,
        "system_hash": system_hash,
        "n_atoms": encoder.n_atoms,
        "n_components": encoder.n_components,
        "layers": [encoder.weights[0].shape[1], *(w.shape[0] for w in encoder.weights)],
        "activation": ", ".join(ACTIVATIONS[f] for f in encoder.activations)
        if "activations" in arrays
        else "tanh on hidden layers",
        "align": encoder.is_aligned,
        "input": "positions of the atoms, centred and rotated onto the reference, flat"
        if encoder.is_aligned
        else "positions of the atoms as they are, flat",
        "units": {"positions": "nm", "reference": "nm", "xi": "1"},
        "atom_indices": indices.tolist(),
        "reference": encoder.reference.tolist(),
        "range": limits.tolist(),
        "sha256": {name: array_hash(array) for name, array in arrays.items()},
    }
    directory.mkdir(parents=True, exist_ok=True)
    write_module(encoder, directory / "cv.pt", metadata)
    write_arrays(directory / "cv.npz", **arrays)
    write_json(directory / "cv.json", metadata)


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
    from aecv.models.cvs.torchscript import module_arrays, read_module

    found = metadata_inside(path)
    if found is not None:
        if atom_indices is not None:
            raise CVError(f"{path}: it names its atoms itself; leave atom_indices out")
        metadata = checked_description(path, found)
        if metadata.get("kind") == INTERNAL_KIND:
            return internal_from(path, metadata, path)
        arrays = _with_metadata(module_arrays(read_module(path)[0]), metadata)
        return _from_parts(path, metadata, arrays, path)
    if atom_indices is None:
        raise CVError(f"{path}: it does not name its atoms; pass atom_indices, 0-based, in the model's order")
    indices = np.asarray(atom_indices, dtype=np.int64)
    check_atom_indices(indices, indices.size)
    n_components = n_components_apart(path, len(indices))
    logger.warning(TRUST, path)
    return CV(
        source=path,
        encoder=None,
        module_path=path,
        atom_indices=indices,
        cv_range=np.full((n_components, 2), np.nan),
        system="",
        system_hash="",
        n_components=n_components,
    )


def _load_plain(path: Path) -> CV:
    module_path = path.with_suffix(".pt")
    module = module_path if module_path.is_file() else None
    try:
        metadata = read_json(path.with_suffix(".json"))
        metadata = checked_description(path, metadata)
        is_internal = metadata.get("kind") == INTERNAL_KIND
        arrays = {} if is_internal else read_arrays(path.with_suffix(".npz"))
    except StoreError as error:
        raise CVError(f"{error}; the two plain files of a CV belong together, export it again") from error
    cv = internal_from(path, metadata, module) if is_internal else _from_parts(path, metadata, arrays, module)
    if module is not None:
        inside, identity = metadata_inside(module), "components" if is_internal else "sha256"
        if inside is not None and inside.get(identity) != read_json(path.with_suffix(".json"))[identity]:
            raise CVError(f"{module_path}: holds another CV than {path.name}; export both again")
    return cv


def _from_parts(
    path: Path, metadata: Any, arrays: Mapping[str, NDArray[Any]], module_path: Path | None
) -> CV:
    layers = range(len(metadata["layers"]) - 1)
    own = {"reference", "atom_indices", "range"} | {
        f"{part}_{k}" for k in layers for part in ("weights", "biases")
    }
    # every array, not only those that the file names: none is left unchecked
    for name in sorted(own | set(metadata["sha256"]) | set(arrays)):
        if name not in arrays or array_hash(arrays[name]) != metadata["sha256"].get(name):
            raise CVError(
                f"{path}: array '{name}' is missing or not what it was when exported (SHA-256 differs); "
                "restore the file or export the CV again"
            )
    strange = sorted(set(arrays) - own - {"activations"})
    if strange:
        raise CVError(f"{path}: has more arrays than its layers: '{strange[0]}'; export the CV again")
    try:
        encoder = Encoder(
            reference=arrays["reference"],
            weights=tuple(arrays[f"weights_{layer}"] for layer in layers),
            biases=tuple(arrays[f"biases_{layer}"] for layer in layers),
            activations=tuple(arrays.get("activations", ())),
        )
        indices, limits = arrays["atom_indices"].astype(np.int64), arrays["range"].astype(float)
    except KeyError as error:
        raise CVError(f"{path}: array {error} is missing; export the CV again") from error
    check_atom_indices(indices, encoder.n_atoms)
    return CV(
        source=path,
        encoder=encoder,
        module_path=module_path,
        atom_indices=indices,
        cv_range=limits,
        system=metadata["system"],
        system_hash=metadata["system_hash"],
        n_components=encoder.n_components,
    )


def _with_metadata(arrays: dict[str, NDArray[Any]], metadata: Any) -> dict[str, NDArray[Any]]:
    """Arrays of a .pt; those that TorchScript does not hold come from its JSON."""
    indices = np.array(metadata["atom_indices"], dtype=np.int64)
    named = metadata.get("activation", "").split(", ")
    if set(named) <= set(ACTIVATIONS):
        arrays = {**arrays, "activations": np.array([ACTIVATIONS.index(f) for f in named], dtype=np.int64)}
    return {**arrays, "atom_indices": indices, "range": np.array(metadata["range"], dtype=float)}
