"""Frames that a user brings: trajectories of any program that mdtraj reads, with a weight each."""

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import mdtraj
import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import SamplingError
from aecv.ground.files import sha256
from aecv.ground.shown import Shown
from aecv.molecules.subject import Subject
from aecv.numerics.statistics.timeline import Timeline, timeline
from aecv.workflow.frames.frame_fit import FrameFit, some_of
from aecv.workflow.frames.frame_reading import Source, check_there, n_atoms_of, name_of, read_topology
from aecv.workflow.frames.frame_source import FrameSource
from aecv.workflow.frames.input_weights import WeightsLike, as_weights, check_weights, frame_weights

logger = logging.getLogger(__name__)

Given: TypeAlias = str | Path | mdtraj.Trajectory
"""A trajectory, as it may be given."""


@dataclass(frozen=True, kw_only=True)
class FrameFiles:
    """Trajectories that a user brings, with their topology, weights and stride.

    Attributes:
        trajectories: files of one system in the order of time (.xtc, .dcd, .trr, .nc, .h5, .pdb, .gro, .rst7
            ...), mdtraj.Trajectory objects, or one of these alone.
        topology: of these files (.pdb, .gro, .prmtop, .psf ...); None where it is that of the system.
        weights: a weight per frame of all files together: a file of one column, an array, or `Weights`, which
            names the column; None: equal.
        stride: take every n-th frame.

    Example:
        >>> import aecv
        >>> parts = ["a.xtc", "b.xtc"]
        >>> frames = aecv.FrameFiles(trajectories=parts, topology="a.pdb", weights="w.txt", stride=2)
    """

    trajectories: Given | Sequence[Given]
    topology: str | Path | None = None
    weights: WeightsLike | None = None
    stride: int = 1

    @property
    def sources(self) -> tuple[Source, ...]:
        """The trajectories as paths and objects.

        Raises:
            SamplingError: when there is none.
        """
        given = self.trajectories
        several = [given] if isinstance(given, str | Path | mdtraj.Trajectory) else list(given)
        if not several:
            raise SamplingError(
                "frames: needs a trajectory, got none; name a file, or give an mdtraj.Trajectory"
            )
        return tuple(item if isinstance(item, mdtraj.Trajectory) else Path(item) for item in several)

    @property
    def topology_path(self) -> Path | None:
        return None if self.topology is None else Path(self.topology)

    def hashes(self) -> dict[str, str | int]:
        """What a run that begins with them depends on: SHA-256 of the files, and the stride."""
        found: dict[str, str | int] = {
            f"trajectory {index}": _hash_of(source) for index, source in enumerate(self.sources)
        }
        if self.topology_path is not None:
            found["topology"] = _hash_of(self.topology_path)
        if self.weights is not None:
            found |= as_weights(self.weights).identity()
        return found | {"stride": self.stride}


Frames: TypeAlias = FrameFiles | Given | Sequence[Given]
"""What is taken where frames are asked for."""


def frame_files(frames: Frames) -> FrameFiles:
    """Frames in any form as `FrameFiles`."""
    return frames if isinstance(frames, FrameFiles) else FrameFiles(trajectories=frames)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InputFrames(Shown):
    """Frames as they were read, each once and in the order of time where their files tell it.

    Attributes:
        positions: of the chosen atoms, shape (n, n_chosen, 3) [nm].
        observables: of the system, name -> shape (n,).
        weights: not negative, sum 1, shape (n,).
        times_ps: time stamps, shape (n,) [ps]; NaN where a file has none.
        series: number of the file that each is from, shape (n,).
        kept: numbers of these frames among all that were read, shape (n,).
        read_times_ps: time stamps of all that were read, with those left out, shape (n_read,) [ps].
        n_inverted: frames with another chirality than the system's structure.
        n_turned: frames with another cis-trans state.
        notes: sentences on what was put in order or left out, and on what is odd.
    """

    positions: NDArray[np.float32]
    observables: dict[str, FloatArray]
    weights: FloatArray
    times_ps: FloatArray
    series: IntArray
    kept: IntArray
    read_times_ps: FloatArray
    n_inverted: int
    n_turned: int
    notes: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        return len(self.weights)


@dataclass(kw_only=True, eq=False)
class _Read:
    """What is known of frames while they are read: of every n-th one what is kept, of all of them times and
    marks."""

    stride: int
    n_frames: int = 0
    positions: list[NDArray[np.float32]] = field(default_factory=list)
    observables: list[dict[str, FloatArray]] = field(default_factory=list)
    changes: list[NDArray[np.bool_]] = field(default_factory=list)
    times: list[FloatArray] = field(default_factory=list)
    marks: list[NDArray[np.floating]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_frames(files: Frames, system: Subject, *, atoms: IntArray | None = None) -> InputFrames:
    """Read frames in pieces; memory holds the chosen atoms only.

    Molecules that the box cut are made whole where a file has a box. Frames are held against the structure: a
    spread of them by the lengths of their bonds, and their atoms by names where files have names. Frames that
    a restart wrote twice are taken once, and parts put in the order of time, as `numerics.timeline` says.

    Args:
        files: where they are.
        system: whose atoms they are, in its order unless names tell another one.
        atoms: the chosen ones, shape (n_chosen,); None for those that the autoencoder sees.

    Raises:
        SamplingError: when a file is missing, unreadable or cut off, holds other atoms than the system, or in
            another order, or molecules that are cut, or another isomer, positions that are not finite, or
            weights that do not fit.
    """
    files = frame_files(files)
    system, chosen = held(files, system, system.cv_atom_indices if atoms is None else atoms)
    fit = FrameFit(system=system)
    read = _Read(stride=files.stride)
    for source in _sources(files, fit, chosen):
        _read_source(source, read)
    if not read.positions:
        raise SamplingError(f"{name_of(files.sources[0])}: needs at least one frame, there is none")
    line, times = timeline(read.times, read.marks), np.concatenate(read.times)
    kept = line.kept[line.kept % files.stride == 0]
    if not len(kept):
        raise SamplingError(
            f"{name_of(files.sources[0])}: needs at least one frame, a stride of {files.stride} leaves none "
            f"of {len(line.kept)}; take a shorter one"
        )
    rows = kept // files.stride
    observables = {
        name: np.concatenate([values[name] for values in read.observables])[rows]
        for name in system.observables.names
    }
    weights = _weights(files, times, kept, observables, system.spec.settings.dynamics.temperature_k)
    changes = np.concatenate(read.changes)[rows].sum(axis=0)
    notes = (*system.unchecked, *read.notes, *_told(line, read.places), *_told_changes(changes, len(kept)))
    for note in notes:
        logger.warning("%s", note)
    return InputFrames(
        positions=np.concatenate(read.positions)[rows],
        observables=observables,
        weights=weights,
        times_ps=times[kept],
        series=np.repeat(np.arange(len(read.times)), [len(own) for own in read.times])[kept],
        kept=kept,
        read_times_ps=times,
        n_inverted=int(changes[0]),
        n_turned=int(changes[1]),
        notes=notes,
    )


def check_frames(files: Frames, system: Subject) -> None:
    """Look at the first frames of every file and the last one, before hours are spent on what comes before
    they are read.

    Raises:
        SamplingError: as `read_frames`, but for what stands in between.
    """
    files = frame_files(files)
    if files.weights is not None:
        check_weights(as_weights(files.weights))
    system, chosen = held(files, system, system.cv_atom_indices)
    fit = FrameFit(system=system)
    for source in _sources(files, fit, chosen):
        n_frames, n_mirrored = 0, np.zeros(len(fit.centres), dtype=np.int64)
        for piece in source.ends():
            rows = np.arange(len(piece.positions))
            n_mirrored += fit.mirrored(piece.positions, rows).sum(axis=0)
            n_frames += len(piece.positions)
        fit.check_handedness(source.place, n_mirrored, n_frames)


def held(files: FrameFiles, system: Subject, chosen: IntArray) -> tuple[Subject, IntArray]:
    """The molecule that files hold, and the places of the chosen atoms in it: all of it, or these alone.

    Args:
        chosen: shape (n_chosen,).

    Returns:
        the molecule, and the places, shape (n_chosen,).
    """
    if not system.is_divisible or np.any(np.diff(chosen) <= 0):
        return system, chosen
    n_atoms = n_atoms_of(files.sources[0], system.mdtraj_topology, system.mdtraj_topology.subset(chosen))
    if n_atoms != len(chosen) or n_atoms == system.n_atoms:
        return system, chosen
    return system.part(chosen), np.arange(len(chosen))


def _sources(files: FrameFiles, fit: FrameFit, chosen: IntArray) -> Iterator[FrameSource]:
    path = files.topology_path
    topology = None if path is None else read_topology(path)
    if topology is not None and topology.n_atoms > fit.system.n_atoms and fit.system.is_divisible:
        topology = None  # files hold a part of it, which the molecule is
    for source in files.sources:
        named = topology if isinstance(source, Path) else None
        yield FrameSource(source=source, topology=named, fit=fit, marked=chosen)


def _read_source(source: FrameSource, read: _Read) -> None:
    """Add the frames of one file; every n-th of all files together is kept, as the weights are."""
    system, fit = source.system, source.fit
    mirrored: list[NDArray[np.bool_]] = []
    times: list[FloatArray] = []
    marks: list[NDArray[np.floating]] = []
    for piece in source.pieces(notes=read.notes):
        everything = piece.positions
        frames = everything[-read.n_frames % read.stride :: read.stride]
        times.append(piece.times_ps)
        marks.append(piece.marks)
        if len(frames):
            _check_finite(source.place, piece.first + (-read.n_frames % read.stride), read.stride, frames)
            read.positions.append(frames[:, source.marked])
            read.observables.append(system.observables.compute(frames))
            read.changes.append(
                np.stack([system.stereo.inverted(frames), system.stereo.turned(frames)], axis=1)
            )
        mirrored.append(fit.mirrored(everything, some_of(len(everything))))
        read.n_frames += len(everything)
    if marks:
        read.times.append(np.concatenate(times))
        read.marks.append(np.concatenate(marks))
        read.places.append(source.place)
        found = np.concatenate(mirrored)
        fit.check_handedness(source.place, found.sum(axis=0), len(found))
        if (note := fit.told_handedness(source.place, found.sum(axis=0), len(found))) is not None:
            read.notes.append(note)


def _check_finite(place: str, first: int, stride: int, frames: NDArray[np.float32]) -> None:
    finite = np.isfinite(frames).all(axis=(1, 2))
    if not finite.all():
        bad = first + stride * int(np.argmin(finite))
        raise SamplingError(f"{place}: needs finite positions, those of frame {bad} are not; leave it out")


def _hash_of(source: Source) -> str:
    """SHA-256 of a file, or of positions, boxes, times and names of atoms in memory."""
    if isinstance(source, Path):
        check_there(source)
        return sha256(source)
    digest = hashlib.sha256(np.ascontiguousarray(source.xyz).tobytes())
    for array in (source.time, source.unitcell_vectors):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    digest.update("\n".join(str(atom) for atom in source.topology.atoms).encode())
    return digest.hexdigest()


def _told(line: Timeline, names: Sequence[str]) -> Iterator[str]:
    """Sentences on times: what counts once, what was put in order, what stays odd."""
    for repeat in line.repeats:
        first, last = repeat.times_ps
        when = f" from {first:g} to {last:g} ps" if np.isfinite(first) else ""
        again = "it holds twice" if repeat.part == repeat.other else f"{names[repeat.other]} holds as well"
        yield f"{names[repeat.part]}: {repeat.n_frames} frames{when}, which {again}, count once"
    if line.is_reordered:
        yield "frames: their parts were put in the order of time"
    for one, other in line.apart:
        yield (
            f"{names[one]}, {names[other]}: their times overlap but their frames differ, so that both count; "
            "if one is the other's restart, leave out what was written twice"
        )
    for part in line.unordered:
        yield f"{names[part]}: its times go back again and again; frames stay in the order of the file"


def _told_changes(changes: IntArray, n_frames: int) -> Iterator[str]:
    if changes.any():
        yield (
            f"frames: of {n_frames} frames {changes[0]} have another chirality, {changes[1]} another "
            "cis-trans state than the structure"
        )


def _weights(
    files: FrameFiles,
    times_ps: FloatArray,
    kept: IntArray,
    observables: Mapping[str, FloatArray],
    temperature_k: float,
) -> FloatArray:
    """Weights with sum 1 of the frames that are kept.

    Args:
        times_ps: of all frames of all files in the order given, shape (n_frames,) [ps]; NaN where not known.
        kept: numbers of the frames that count, in their order, shape (n_kept,).
        observables: of these.
    """
    if files.weights is None:
        return np.full(len(kept), 1.0 / len(kept))
    return frame_weights(
        as_weights(files.weights),
        kept=kept,
        times_ps=times_ps,
        temperature_k=temperature_k,
        observables=observables,
    )
