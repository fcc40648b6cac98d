"""Frames of a simulation: DCD files, read and written in pieces, and a PDB file as their topology.

DCD is written here rather than through mdtraj, whose header holds the date and uninitialised memory: the same
run would never give the same file. VMD, mdtraj and MDAnalysis read these files.
Layout: CHARMM's 32-bit little-endian Fortran records; positions in Angstrom, float32, one record per axis.
Source: the DCD reader of VMD (dcdplugin.c).
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.errors import StoreError
from aecv.ground.files import replacing

FrameArray = NDArray[np.float32]

_ANGSTROM_PER_NM = 10.0
_AKMA_PS = 0.0488882129
"""CHARMM's unit of time [ps]."""
_TITLE = b"Frames written by aecv; positions in Angstrom".ljust(80)
_HEADER = np.dtype(
    [
        ("begin", "<i4"),
        ("magic", "S4"),
        ("n_frames", "<i4"),
        ("first_step", "<i4"),
        ("interval", "<i4"),
        ("n_steps", "<i4"),
        ("unused", "<i4", (4,)),
        ("n_fixed", "<i4"),
        ("timestep", "<f4"),
        ("has_cell", "<i4"),
        ("four_dimensional", "<i4"),
        ("more", "<i4", (7,)),
        ("version", "<i4"),
        ("end", "<i4"),
    ]
)


def write_dcd(path: Path, chunks: Iterable[ArrayLike], *, frame_ps: float = 1.0) -> int:
    """Write frames as they come; the file takes its name when the last one is there.

    Args:
        path: usually frames.dcd.
        chunks: positions [nm], each of shape (n, n_atoms, 3); n may differ and be 0.
        frame_ps: time between frames [ps], for viewers.

    Returns:
        The number of frames.

    Raises:
        StoreError: when a chunk has another shape or numbers that are not finite, there is none, or the file
            cannot be written.
    """
    n_frames, n_atoms = 0, 0
    with replacing(path) as temporary, open(temporary, "wb") as handle:
        for chunk in chunks:
            frames = np.asarray(chunk)
            if frames.ndim != 3 or frames.shape[2] != 3 or frames.shape[1] != (n_atoms or frames.shape[1]):
                raise StoreError(
                    f"{path}: frames need shape (n, {n_atoms or 'n_atoms'}, 3), got {frames.shape} after "
                    f"{n_frames} frames"
                )
            if not np.all(np.isfinite(frames)):
                raise StoreError(
                    f"{path}: frames need finite positions, got NaN or inf after {n_frames} frames"
                )
            if handle.tell() == 0:
                n_atoms = frames.shape[1]
                handle.write(_header(0, n_atoms, frame_ps))
            handle.write(_records(frames).tobytes())
            n_frames += len(frames)
        if not n_atoms:
            raise StoreError(f"{path}: needs at least one chunk of frames, got none")
        handle.seek(0)
        handle.write(_header(n_frames, n_atoms, frame_ps))
        handle.flush()
    return n_frames


def pick_frames(path: Path, frames: Sequence[int], atom_indices: Sequence[int]) -> FrameArray:
    """Some frames of a DCD file, wherever they lie in it.

    Args:
        path: the file.
        frames: their numbers from 0, in any order.
        atom_indices: which atoms to return.

    Returns:
        Positions [nm], shape (len(frames), len(atom_indices), 3).

    Raises:
        StoreError: when the file is missing, truncated or of another kind, or has no such frame or atom.
    """
    layout = _read_layout(path)
    chosen, atoms = np.asarray(frames, dtype=np.int64), np.asarray(atom_indices, dtype=np.int64)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < layout.n_frames:
        raise StoreError(f"{path}: has frames 0 to {layout.n_frames - 1}, asked for {chosen.max()}")
    if atoms.size and not 0 <= atoms.min() <= atoms.max() < layout.n_atoms:
        raise StoreError(f"{path}: has atoms 0 to {layout.n_atoms - 1}, asked for {atoms.max()}")
    if not chosen.size:
        return np.empty((0, len(atoms), 3), dtype=np.float32)
    records = np.memmap(path, dtype=layout.record, mode="r", offset=layout.offset, shape=(layout.n_frames,))
    angstrom = np.stack([records[axis][chosen][:, atoms] for axis in "xyz"], axis=2).astype(float)
    return (angstrom / _ANGSTROM_PER_NM).astype(np.float32)


def count_frames(path: Path) -> int:
    """Number of frames in a DCD file; raises as `pick_frames`."""
    return _read_layout(path).n_frames


def write_pdb(path: Path, topology: mdtraj.Topology, positions: ArrayLike) -> None:
    """Write one frame [nm], shape (n_atoms, 3), as PDB: the topology beside a DCD file."""
    frame = mdtraj.Trajectory(np.asarray(positions, dtype=np.float32)[None], topology)
    with replacing(path) as temporary:
        frame.save_pdb(str(temporary))  # without a unit cell it writes no date


@dataclass(frozen=True)
class _Layout:
    n_frames: int
    n_atoms: int
    offset: int
    record: np.dtype[np.void]


def _record(n_atoms: int, *, has_cell: bool) -> np.dtype[np.void]:
    cell = [("cell_begin", "<i4"), ("cell", "<f8", (6,)), ("cell_end", "<i4")] if has_cell else []
    axes = [
        field
        for axis in "xyz"
        for field in ((f"{axis}_begin", "<i4"), (axis, "<f4", (n_atoms,)), (f"{axis}_end", "<i4"))
    ]
    return np.dtype([*cell, *axes])


def _records(frames: NDArray[np.floating]) -> NDArray[np.void]:
    n_atoms = frames.shape[1]
    records = np.zeros(len(frames), dtype=_record(n_atoms, has_cell=False))
    for dim, axis in enumerate("xyz"):
        records[f"{axis}_begin"] = records[f"{axis}_end"] = 4 * n_atoms
        records[axis] = frames[:, :, dim].astype(float) * _ANGSTROM_PER_NM
    return records


def _header(n_frames: int, n_atoms: int, frame_ps: float) -> bytes:
    header = np.zeros(1, dtype=_HEADER)
    header["begin"] = header["end"] = 84
    header["magic"] = b"CORD"
    header["n_frames"] = header["n_steps"] = n_frames
    header["interval"] = 1
    header["timestep"] = frame_ps / _AKMA_PS
    header["version"] = 24
    title = np.array([84, 1], dtype="<i4").tobytes() + _TITLE + np.array([84], dtype="<i4").tobytes()
    return header.tobytes() + title + np.array([4, n_atoms, 4], dtype="<i4").tobytes()


def _read_layout(path: Path) -> _Layout:
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as handle:
            head = handle.read(_HEADER.itemsize + 4)
            header = np.frombuffer(head[: _HEADER.itemsize], dtype=_HEADER)[0]
            title = int(np.frombuffer(head[_HEADER.itemsize :], dtype="<i4")[0])
            handle.seek(title + 4, os.SEEK_CUR)
            n_atoms = int(np.frombuffer(handle.read(12), dtype="<i4")[1])
            offset = handle.tell()
    except (OSError, IndexError, ValueError, OverflowError) as error:
        raise StoreError(f"{path}: needs a readable DCD file, got: {error}") from error
    sound = (int(header["begin"]), bytes(header["magic"]), int(header["end"])) == (84, b"CORD", 84)
    if not sound or header["n_fixed"] or header["four_dimensional"] or not 0 < n_atoms < 2**29:
        raise StoreError(
            f"{path}: needs a little-endian 32-bit DCD file without fixed atoms; convert it with mdconvert"
        )
    record = _record(n_atoms, has_cell=bool(header["has_cell"]))
    n_frames = int(header["n_frames"])
    if size != offset + n_frames * record.itemsize:
        raise StoreError(
            f"{path}: {n_frames} frames of {n_atoms} atoms need {offset + n_frames * record.itemsize} bytes, "
            f"got {size}; the file is truncated or damaged"
        )
    return _Layout(n_frames, n_atoms, offset, record)
