"""The collective variable: evaluating it; and, for a learned one, writing and loading it.

Three files hold a learned CV: cv.pt (TorchScript, with cv.json inside) for other programs, and the same
network as plain arrays, cv.npz, with cv.json beside it. Internal coordinates need no cv.npz. torch is loaded
only when a .pt is.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.errors import CVError, StoreError
from aecv.ground.files import read_arrays, read_json, sha256, write_arrays, write_json
from aecv.numerics.encoder import Encoder, encode, encode_gradient
from aecv.numerics.internal import InternalCoordinates, internal_gradient, internal_values

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FORMAT = "aecv-cv"
FORMAT_VERSION = 1
INTERNAL_KIND = "internal coordinates"
"""What cv.json says of a CV that is no network; see `internal_export`."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class CV:
    """A collective variable xi(q) of some atoms' positions.

    It is an `encoder` or `internal` coordinates, both compiled; or anything else that torch can
    differentiate, a `function` or the TorchScript file of another program.

    Attributes:
        source: the file that it was loaded from, or what it is called.
        encoder: a network as arrays; None for the other kinds.
        module_path: its TorchScript file; None when only the plain files were there, or it has none.
        atom_indices: the atoms, in the order in which the encoder wants them, shape (n_atoms,).
        cv_range: box for a biased run: where the pooled frames lie, and a margin, shape (d, 2); NaN when
            unknown. Of a periodic component it is one period.
        system: name of the molecular system; empty when unknown.
        system_hash: hash of the system's files; empty when unknown.
        n_components: d.
        periodic: per component; left out: none.
        internal: internal coordinates; None for the other kinds.
        function: positions as a torch tensor, shape (F, n_atoms, 3) [nm], to one of shape (F, d) or (F,);
            None for the other kinds.
    """

    source: Path | str
    encoder: Encoder | None
    module_path: Path | None
    atom_indices: IntArray
    cv_range: FloatArray
    system: str
    system_hash: str
    n_components: int
    periodic: tuple[bool, ...] = ()
    internal: InternalCoordinates | None = None
    function: Callable[[Any], Any] | None = None

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
        from aecv.models.plain_cv import function_cv

        _check_atoms(np.asarray(atom_indices, dtype=np.int64), np.size(atom_indices))
        return function_cv(function, atom_indices, cv_range=cv_range, periodic=periodic, name=name)

    @property
    def n_atoms(self) -> int:
        return len(self.atom_indices)

    @property
    def is_compiled(self) -> bool:
        """Whether it runs in a compiled kernel; if not, through autograd."""
        return self.encoder is not None or self.internal is not None

    @property
    def periods(self) -> FloatArray:
        """Period per component, 0 where it is not periodic, shape (d,)."""
        return np.where(self.periodic, np.ptp(self.cv_range, axis=1), 0.0)

    @property
    def fingerprint(self) -> str:
        """A hash of what it is; of a function only the name, since code has no lasting hash."""
        digest = hashlib.sha256(repr(self.periodic).encode())
        arrays = {"atom_indices": self.atom_indices, "range": self.cv_range}
        if self.encoder is not None:
            arrays |= _encoder_arrays(self.encoder)
        elif self.internal is not None:
            parts = (self.internal.kinds, self.internal.atoms, self.internal.axes)
            digest.update(repr(parts).encode())
        elif self.module_path is not None:
            digest.update(sha256(self.module_path).encode())
        else:
            digest.update(str(self.source).encode())
        for name in sorted(arrays):
            digest.update(f"{name} {_array_hash(arrays[name])}".encode())
        return digest.hexdigest()

    @cached_property
    def module(self) -> Any:
        """The CV as a torch module, made or loaded at first use; a TorchScript module where it has a .pt.

        Raises:
            CVError: when it needs a .pt and there is none, or it cannot be read.
        """
        if self.internal is not None:
            from aecv.models.plain_modules import InternalModule

            return InternalModule(self.internal)
        if self.function is not None:
            from aecv.models.plain_modules import FunctionModule

            return FunctionModule(self.function)
        from aecv.models.torchscript import read_module

        if self.module_path is None:
            raise CVError(f"{self.source}: needs its cv.pt beside it, there is none; export the CV again")
        return read_module(self.module_path)[0]

    def __call__(self, positions: ArrayLike) -> FloatArray:
        """xi, shape (F, d), of the CV atoms' positions [nm], shape (F, n_atoms, 3) or (n_atoms, 3).

        Raises:
            CVError: for another shape, or output that is not finite.
            AlignmentError: for a frame without a unique rotation onto the reference.
        """
        frames = self._frames(positions)
        if self.encoder is not None:
            return encode(self.encoder, frames)
        if self.internal is not None:
            return internal_values(self.internal, frames)
        from aecv.models.torchscript import evaluate

        return evaluate(self.module, frames)

    def gradient(self, positions: ArrayLike) -> FloatArray:
        """d xi_c / d q [1/nm], shape (F, d, n_atoms, 3); arguments and errors as for calling it."""
        return self.with_gradient(positions)[1]

    def with_gradient(self, positions: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """xi, shape (F, d), and its gradient [1/nm], shape (F, d, n_atoms, 3); errors as for calling it."""
        frames = self._frames(positions)
        if self.encoder is not None:
            return encode_gradient(self.encoder, frames)
        if self.internal is not None:
            return internal_gradient(self.internal, frames)
        from aecv.models.torchscript import evaluate_with_gradient

        return evaluate_with_gradient(self.module, frames)

    def of_frames(self, positions: ArrayLike) -> FloatArray:
        """xi, shape (F, d), of all atoms' positions [nm], shape (F, n_total, 3); takes the CV atoms out."""
        frames = np.asarray(positions, dtype=float)
        needed = int(self.atom_indices.max()) + 1
        if frames.ndim != 3 or frames.shape[2] != 3 or frames.shape[1] < needed:
            raise CVError(f"CV: needs positions of all atoms, (F, >= {needed}, 3), got {frames.shape}")
        return self(frames[:, self.atom_indices])

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

    def __getstate__(self) -> dict[str, Any]:
        """Fields without the loaded module, which cannot be pickled; workers load it again."""
        return {name: value for name, value in self.__dict__.items() if name != "module"}


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
    from aecv.models.torchscript import write_module

    indices, limits = np.asarray(atom_indices, dtype=np.int64), np.asarray(cv_range, dtype=float)
    _check_atoms(indices, encoder.n_atoms)
    if limits.shape != (encoder.n_components, 2) or not np.all(limits[:, 0] < limits[:, 1]):
        raise CVError(
            f"export: the range needs ({encoder.n_components}, 2) numbers, lower < upper, got {limits}"
        )
    arrays: dict[str, NDArray[Any]] = {**_encoder_arrays(encoder), "atom_indices": indices, "range": limits}
    metadata = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "system": system,
        "system_hash": system_hash,
        "n_atoms": encoder.n_atoms,
        "n_components": encoder.n_components,
        "layers": [encoder.weights[0].shape[1], *(w.shape[0] for w in encoder.weights)],
        "activation": "tanh on hidden layers",
        "align": encoder.is_aligned,
        "input": "positions of the atoms, centred and rotated onto the reference, flat"
        if encoder.is_aligned
        else "positions of the atoms as they are, flat",
        "units": {"positions": "nm", "reference": "nm", "xi": "1"},
        "atom_indices": indices.tolist(),
        "reference": encoder.reference.tolist(),
        "range": limits.tolist(),
        "sha256": {name: _array_hash(array) for name, array in arrays.items()},
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
    from aecv.models.torchscript import evaluate_with_gradient

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


def _load_module(path: Path, atom_indices: ArrayLike | None) -> CV:
    from aecv.models.torchscript import evaluate, module_arrays, read_module

    module, metadata = read_module(path)
    if metadata is not None:
        if atom_indices is not None:
            raise CVError(f"{path}: it names its atoms itself; leave atom_indices out")
        _check_metadata(path, metadata)
        if metadata.get("kind") == INTERNAL_KIND:
            return _internal(path, metadata, path)
        return _from_parts(path, metadata, _with_metadata(module_arrays(module), metadata), path)
    if atom_indices is None:
        raise CVError(f"{path}: it does not name its atoms; pass atom_indices, 0-based, in the model's order")
    indices = np.asarray(atom_indices, dtype=np.int64)
    _check_atoms(indices, indices.size)
    n_components = evaluate(module, np.zeros((1, len(indices), 3))).shape[1]
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
        _check_metadata(path, metadata)
        is_internal = metadata.get("kind") == INTERNAL_KIND
        arrays = {} if is_internal else read_arrays(path.with_suffix(".npz"))
    except StoreError as error:
        raise CVError(f"{error}; the two plain files of a CV belong together, export it again") from error
    cv = _internal(path, metadata, module) if is_internal else _from_parts(path, metadata, arrays, module)
    if module is not None:
        inside, identity = _metadata_inside(module), "components" if is_internal else "sha256"
        if inside is not None and inside.get(identity) != metadata[identity]:
            raise CVError(f"{module_path}: holds another CV than {path.name}; export both again")
    return cv


def _internal(path: Path, metadata: dict[str, Any], module_path: Path | None) -> CV:
    from aecv.models.internal_export import internal_from

    return internal_from(path, metadata, module_path)


def _from_parts(
    path: Path, metadata: Any, arrays: Mapping[str, NDArray[Any]], module_path: Path | None
) -> CV:
    for name, expected in metadata["sha256"].items():
        if name not in arrays or _array_hash(arrays[name]) != expected:
            raise CVError(
                f"{path}: array '{name}' is missing or not what it was when exported (SHA-256 differs); "
                "restore the file or export the CV again"
            )
    layers = range(len(metadata["layers"]) - 1)
    try:
        encoder = Encoder(
            reference=arrays["reference"],
            weights=tuple(arrays[f"weights_{layer}"] for layer in layers),
            biases=tuple(arrays[f"biases_{layer}"] for layer in layers),
        )
        indices, limits = arrays["atom_indices"].astype(np.int64), arrays["range"].astype(float)
    except KeyError as error:
        raise CVError(f"{path}: array {error} is missing; export the CV again") from error
    _check_atoms(indices, encoder.n_atoms)
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


def _with_metadata(arrays: dict[str, FloatArray], metadata: Any) -> dict[str, NDArray[Any]]:
    """Arrays of a .pt; those that TorchScript does not hold come from its JSON."""
    indices = np.array(metadata["atom_indices"], dtype=np.int64)
    return {**arrays, "atom_indices": indices, "range": np.array(metadata["range"], dtype=float)}


def _check_metadata(path: Path, metadata: Any) -> None:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise CVError(f"{path}: needs the description of a CV (format '{FORMAT}'), got something else")
    version = metadata.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CVError(
            f"{path}: has format version {version}, this aecv reads up to {FORMAT_VERSION}; "
            "install a newer aecv"
        )
    own = ("components", "periodic") if metadata.get("kind") == INTERNAL_KIND else ("layers", "sha256")
    needed = ("system", "system_hash", "atom_indices", "range", *own)
    missing = [key for key in needed if key not in metadata]
    if missing:
        raise CVError(f"{path}: the description lacks {', '.join(missing)}; export the CV again")


def _metadata_inside(path: Path) -> dict[str, Any] | None:
    """cv.json inside a .pt, read as the zip archive that it is, without torch."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/extra/cv.json")]
            content = json.loads(archive.read(names[0])) if names else None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise CVError(
            f"{path}: needs a complete TorchScript file, got: {error}; export it again, or delete it"
        ) from error
    return content if isinstance(content, dict) else None


def _encoder_arrays(encoder: Encoder) -> dict[str, FloatArray]:
    arrays = {"reference": encoder.reference}
    for layer, (w, b) in enumerate(zip(encoder.weights, encoder.biases, strict=True)):
        arrays |= {f"weights_{layer}": w, f"biases_{layer}": b}
    return arrays


def _array_hash(array: NDArray[Any]) -> str:
    header = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(array).tobytes()).hexdigest()


def _check_atoms(indices: IntArray, n_atoms: int) -> None:
    unique: Sequence[int] = np.unique(indices).tolist()
    if indices.shape != (n_atoms,) or len(unique) != n_atoms or n_atoms < 1 or unique[0] < 0:
        raise CVError(f"CV: needs {n_atoms} different atom indices >= 0, got {indices.tolist()}")
