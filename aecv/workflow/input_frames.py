"""Frames that a user brings: trajectories of any program that mdtraj reads, with a weight each."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from aecv.ground.errors import SamplingError, first_line, suggestion
from aecv.ground.files import sha256
from aecv.ground.grid import FloatArray, IntArray
from aecv.ground.shown import Shown
from aecv.sampling.system import MolecularSystem
from aecv.workflow.input_weights import WeightsLike, as_weights, check_weights, frame_weights

_CHUNK = 1000
"""Frames read at once."""
_OWN_TOPOLOGY = (".pdb", ".h5", ".gsd", ".lh5")
"""Trajectories that say which atoms they hold."""


@dataclass(frozen=True, kw_only=True)
class FrameFiles:
    """Where frames are.

    Attributes:
        trajectories: files of one system in the order of time: .xtc, .dcd, .trr, .nc, .h5, .pdb ...
        topology: of these files (.pdb, .gro, .prmtop, .psf ...); None where it is that of the system.
        weights: a weight per frame of all files together: a file of one column, an array, or `Weights`, which
            names the column; None: equal.
        stride: take every n-th frame.
    """

    trajectories: tuple[Path, ...]
    topology: Path | None = None
    weights: WeightsLike | None = None
    stride: int = 1

    def hashes(self) -> dict[str, str | int]:
        """What a run that begins with them depends on: SHA-256 of the files, and the stride."""
        named = {f"trajectory {index}": path for index, path in enumerate(self.trajectories)}
        if self.topology is not None:
            named["topology"] = self.topology
        for path in named.values():
            _check_there(path)
        hashes: dict[str, str | int] = {name: sha256(path) for name, path in named.items()}
        if self.weights is not None:
            hashes |= as_weights(self.weights).identity()
        return hashes | {"stride": self.stride}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InputFrames(Shown):
    """Frames as they were read.

    Attributes:
        positions: of the chosen atoms, shape (n, n_chosen, 3) [nm].
        observables: of the system, name -> shape (n,).
        weights: not negative, sum 1, shape (n,).
        n_inverted: frames with another chirality than the system's structure.
        n_turned: frames with another cis-trans state.
    """

    positions: NDArray[np.float32]
    observables: dict[str, FloatArray]
    weights: FloatArray
    n_inverted: int
    n_turned: int

    @property
    def n_frames(self) -> int:
        return len(self.weights)


def read_frames(files: FrameFiles, system: MolecularSystem, *, atoms: IntArray | None = None) -> InputFrames:
    """Read frames in pieces; memory holds the chosen atoms only.

    Molecules that the box cut are made whole where a file has a box.

    Args:
        files: where they are.
        system: whose atoms they are, in its order.
        atoms: the chosen ones, shape (n_chosen,); None for those that the autoencoder sees.

    Raises:
        SamplingError: when a file is missing or unreadable, holds other atoms than the system, positions that
            are not finite, or weights that do not fit.
    """
    chosen = system.cv_atom_indices if atoms is None else atoms
    positions, changes = [], np.zeros(2, dtype=int)
    observables: dict[str, list[FloatArray]] = {name: [] for name in system.observables.names}
    n_frames = 0
    for path, first, everything in _pieces(files, system):
        # every n-th of all files together, as the weights are
        frames = everything[-n_frames % files.stride :: files.stride]
        n_frames += len(everything)
        if not len(frames):
            continue
        if not np.isfinite(frames).all():
            bad = first + int(np.argmax(~np.isfinite(everything).all(axis=(1, 2))))
            raise SamplingError(f"{path}: needs finite positions, those of frame {bad} are not; leave it out")
        positions.append(frames[:, chosen])
        for name, values in system.observables.compute(frames).items():
            observables[name].append(values)
        changes += system.stereo.count_changes(frames)
    if not positions:
        raise SamplingError(f"{files.trajectories[0]}: needs at least one frame, there is none")
    kept = np.concatenate(positions)
    return InputFrames(
        positions=kept,
        observables={name: np.concatenate(values) for name, values in observables.items()},
        weights=_weights(files, n_frames, system.spec.settings.dynamics.temperature_k),
        n_inverted=int(changes[0]),
        n_turned=int(changes[1]),
    )


def check_frames(files: FrameFiles, system: MolecularSystem) -> None:
    """Look at the first frames of every file, before hours are spent on what comes before they are read.

    Raises:
        SamplingError: as `read_frames`, but for what stands further behind.
    """
    for path in (*files.trajectories, *(extra for extra in (files.topology,) if extra)):
        _check_there(path)
    if files.weights is not None:
        check_weights(as_weights(files.weights))
    for path in files.trajectories:
        next(_pieces(replace(files, trajectories=(path,)), system), None)


def _pieces(files: FrameFiles, system: MolecularSystem) -> Iterator[tuple[Path, int, NDArray[np.float32]]]:
    """File, number of the first frame in it, and positions [nm], shape (n, N, 3), of all atoms, or of the
    leading ones that frames of aecv hold."""
    topology = None if files.topology is None else _read_topology(files.topology)
    for path in files.trajectories:
        _check_there(path)
        first = 0
        for piece in _read(path, topology or _topology_for(path, system)):
            if first == 0:
                _check_atoms(path if topology is None else files.topology or path, piece.topology, system)
            yield path, first, _whole(path, piece, system)
            first += len(piece)


def _topology_for(path: Path, system: MolecularSystem) -> mdtraj.Topology:
    """All atoms, or those that frames of aecv hold where the file has as many."""
    if system.n_frame_atoms < system.n_atoms and path.suffix.lower() not in _OWN_TOPOLOGY:
        leading = system.frame_topology
        try:
            next(_read(path, leading), None)
        except SamplingError:
            return system.mdtraj_topology
        return leading
    return system.mdtraj_topology


def _whole(path: Path, piece: mdtraj.Trajectory, system: MolecularSystem) -> NDArray[np.float32]:
    """Positions with whole molecules where the file has a box, shape (n, N, 3) [nm]."""
    boxes = piece.unitcell_vectors
    if boxes is None or not np.any(boxes):
        return np.asarray(piece.xyz)
    try:
        return np.asarray(system.images.whole(piece.xyz, boxes))
    except SamplingError as error:
        raise SamplingError(f"{path}: {error}; write it anew without a box, with whole molecules") from error


def _read(path: Path, topology: mdtraj.Topology) -> Iterator[mdtraj.Trajectory]:
    options = {} if path.suffix.lower() in _OWN_TOPOLOGY else {"top": topology}
    try:
        pieces = mdtraj.iterload(str(path), chunk=_CHUNK, **options)
        while True:
            with _said_elsewhere():
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece
    except Exception as error:  # mdtraj's readers raise what their parsing happens to hit
        raise SamplingError(
            f"{path}: needs a trajectory that mdtraj reads, of {topology.n_atoms} atoms, got: "
            f"{first_line(error)}; name the file's own topology with --top"
        ) from error


@contextmanager
def _said_elsewhere() -> Iterator[None]:
    """mdtraj's DCD reader greets on standard output, where results belong: to standard error with it."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # a process without standard output
        yield
        return
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _read_topology(path: Path) -> mdtraj.Topology:
    _check_there(path)
    try:
        return mdtraj.load_topology(str(path))
    except Exception as error:  # as above
        raise SamplingError(
            f"{path}: needs a topology that mdtraj reads, got: {first_line(error)}"
        ) from error


def _check_there(path: Path) -> None:
    if not path.is_file():
        beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SamplingError(f"{path}: needs a file of frames, there is none{suggestion(path.name, beside)}")


def _check_atoms(path: Path, found: mdtraj.Topology, system: MolecularSystem) -> None:
    """Refuse files of other atoms: weights and CVs would be of something else."""
    own, name = system.mdtraj_topology, system.spec.name
    if found.n_atoms not in (own.n_atoms, system.n_frame_atoms):
        or_those = "" if system.n_frame_atoms == own.n_atoms else f" or the first {system.n_frame_atoms}"
        raise SamplingError(
            f"{path}: needs the {own.n_atoms} atoms of '{name}'{or_those}, has {found.n_atoms}; write the "
            "trajectory with these atoms alone, or describe the system that it is of"
        )
    for theirs, ours in zip(found.atoms, own.atoms, strict=False):
        if theirs.element != ours.element:
            raise SamplingError(
                f"{path}: needs the atoms of '{name}' in its order, has {theirs} ({theirs.element.symbol}) "
                f"as atom {ours.index}, where {ours} ({ours.element.symbol}) belongs; reorder them"
            )


def _weights(files: FrameFiles, n_frames: int, temperature_k: float) -> FloatArray:
    """Weights with sum 1 of every n-th of all frames."""
    kept = np.arange(0, n_frames, files.stride)
    if files.weights is None:
        return np.full(len(kept), 1.0 / len(kept))
    no_times = np.full(n_frames, np.nan)
    return frame_weights(as_weights(files.weights), kept=kept, times_ps=no_times, temperature_k=temperature_k)
