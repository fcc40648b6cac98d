"""Trajectories of any program in pieces, each with its time stamps, and what ails a file that cannot be
read."""

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import mdtraj
import numpy as np
from mdtraj.formats.registry import FormatRegistry

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SamplingError, suggestion
from aecv.workflow.frames.frame_promises import dcd_outline, promised_frames

Source: TypeAlias = Path | mdtraj.Trajectory
"""A file, or frames in memory."""

_MOST_FRAMES, _MOST_NUMBERS = 1000, 30_000_000
"""Frames, and numbers, that are read at once."""
OWN_TOPOLOGY = (".pdb", ".cif", ".mmcif", ".pdbx", ".h5", ".hdf5", ".gro", ".gsd", ".lh5", ".mol2")
"""Trajectories that say which atoms they hold."""
_AT_ONCE = (".cif", ".mmcif", ".pdbx", ".inpcrd", ".rst7", ".restrt", ".ncrst", ".mol2", ".gsd", ".hoomdxml")
"""Formats of one frame, or that mdtraj reads in one go only."""
_TIMED = (".xtc", ".trr", ".dtr", ".stk")
_MAYBE_TIMED = (".nc", ".ncdf", ".netcdf", ".h5", ".hdf5", ".gro", ".rst7", ".restrt", ".ncrst", ".inpcrd")
_PACKAGES = {"tables": "PyTables", "pytables": "PyTables", "netcdf4": "netCDF4"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Frames that follow each other in a file.

    Attributes:
        first: number of the first one in its file.
        trajectory: the frames.
        times_ps: their time stamps, shape (n,) [ps]; NaN where the file has none.
    """

    first: int
    trajectory: mdtraj.Trajectory
    times_ps: FloatArray


def name_of(source: Source) -> str:
    """What messages call a file, or frames in memory."""
    return str(source) if isinstance(source, Path) else "trajectory in memory"


def ending(path: Path) -> str:
    """The ending that tells a format: .xtc, .pdb of x.pdb.gz ..."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def read_pieces(source: Source, topology: mdtraj.Topology, *, is_own: bool) -> Iterator[Piece]:
    """The frames of a source in their order.

    Args:
        source: a file, or frames in memory, which have a topology of their own.
        topology: of files that have none.
        is_own: whether `topology` was named for these files, rather than taken from the system.

    Raises:
        SamplingError: for a file that is missing, of an unknown kind, of another number of atoms, damaged or
            cut off, or that needs a package.
    """
    if isinstance(source, mdtraj.Trajectory):
        times = _of_memory(source)
        for first in range(0, len(source), _MOST_FRAMES):
            part = slice(first, first + _MOST_FRAMES)
            yield Piece(first=first, trajectory=source[part], times_ps=times[part])
        return
    check_there(source)
    n_read = 0
    try:
        timed = _quietly(_has_times, source)
        promised = promised_frames(source, topology.n_atoms)
        pieces = _loaded(source, topology)
        while (piece := _quietly(next, pieces, None)) is not None:
            times = _times(source, piece, n_read) if timed else np.full(len(piece), np.nan)
            yield Piece(first=n_read, trajectory=piece, times_ps=times)
            n_read += len(piece)
    except SamplingError:
        raise
    except Exception as error:  # mdtraj's readers raise what their parsing happens to hit
        raise _fault(source, topology, n_read, error, is_own=is_own) from error
    _check_promise(source, promised, n_read)


def last_frame(path: Path, topology: mdtraj.Topology, *, is_own: bool) -> Piece | None:
    """The last frame of a file whose format allows to jump there; None of any other.

    Raises:
        SamplingError: when the file ends within a frame.
    """
    if ending(path) not in (".xtc", ".trr", ".dcd", ".nc", ".ncdf", ".netcdf"):
        return None
    found: mdtraj.Trajectory | None = None
    n_frames = 0
    try:
        _check_promise(path, promised_frames(path, topology.n_atoms), None)
        with _said_nowhere(), mdtraj.open(str(path)) as handle:
            n_frames = len(handle)
            handle.seek(n_frames - 1)
            found = handle.read_as_traj(topology, n_frames=1)
    except SamplingError:
        raise
    except Exception as error:  # as above
        raise _fault(path, topology, max(n_frames - 1, 0), error, is_own=is_own) from error
    if not len(found):
        raise _cut_off(path, n_frames - 1, "the next one is incomplete")
    return Piece(first=n_frames - 1, trajectory=found, times_ps=np.full(1, np.nan))


def n_atoms_of(source: Source, *topologies: mdtraj.Topology) -> int | None:
    """Atoms of the first frame, where one of some topologies opens the file; None where none does."""
    for topology in topologies:
        try:
            piece = next(read_pieces(source, topology, is_own=True), None)
        except SamplingError:
            continue
        return None if piece is None else int(piece.trajectory.n_atoms)
    return None


def first_frame(source: Source, topology: mdtraj.Topology) -> tuple[FloatArray, FloatArray | None]:
    """Positions of the first frame [nm], shape (N, 3), and its box vectors [nm], shape (3, 3) or None.

    Raises:
        SamplingError: as `read_pieces`, and when there is no frame.
    """
    piece = next(read_pieces(source, topology, is_own=True), None)
    if piece is None:
        raise SamplingError(f"{name_of(source)}: needs at least one frame, there is none")
    box = piece.trajectory.unitcell_vectors
    return piece.trajectory.xyz[0], None if box is None or not np.any(box) else np.asarray(
        box[0], dtype=float
    )


def read_topology(path: Path) -> mdtraj.Topology:
    """The atoms that a file names.

    Raises:
        SamplingError: when it is missing, or mdtraj does not read it.
    """
    check_there(path)
    try:
        return mdtraj.load_topology(str(path))
    except Exception as error:  # as above
        raise SamplingError(
            f"{path}: needs a topology that mdtraj reads (.pdb, .gro, .prmtop, .psf), got: "
            f"{_plain_line(error)}{_mended(error)}"
        ) from error


def check_there(path: Path) -> None:
    """Refuse a path without a file, with the name that may have been meant."""
    if path.is_file() or (path.is_dir() and ending(path) in (".dtr", ".stk")):
        return
    if path.is_dir():
        raise SamplingError(f"{path}: needs a file of frames, is a folder; name the files in it")
    beside = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
    raise SamplingError(f"{path}: needs a file of frames, there is none{suggestion(path.name, beside)}")


def _loaded(path: Path, topology: mdtraj.Topology) -> Iterator[mdtraj.Trajectory]:
    """Frames in pieces, or all at once where mdtraj can only do that."""
    kind = ending(path)
    options: dict[str, Any] = {} if kind in OWN_TOPOLOGY else {"top": topology}
    if kind in _AT_ONCE:
        return iter([mdtraj.load(str(path), **options)])
    n_frames = max(1, min(_MOST_FRAMES, _MOST_NUMBERS // (3 * topology.n_atoms)))
    return iter(mdtraj.iterload(str(path), chunk=n_frames, **options))


def _has_times(path: Path) -> bool:
    """Whether a file says when its frames were; mdtraj makes times up where it does not."""
    kind = ending(path)
    if kind == ".dcd":
        outline = dcd_outline(path)
        return outline is not None and outline.times_ps(1) is not None
    if kind not in _MAYBE_TIMED:
        return kind in _TIMED
    with mdtraj.open(str(path)) as handle:
        found = handle.read() if kind in _AT_ONCE else handle.read(n_frames=1)
    return found[1] is not None


def _times(path: Path, piece: mdtraj.Trajectory, first: int) -> FloatArray:
    outline = dcd_outline(path) if ending(path) == ".dcd" else None
    known = None if outline is None else outline.times_ps(first + len(piece))
    return np.asarray(piece.time, dtype=float) if known is None else known[first:]


def _of_memory(source: mdtraj.Trajectory) -> FloatArray:
    """Times of frames in memory; NaN for the 0, 1, 2 ... that mdtraj makes up where it knows none."""
    times = np.asarray(source.time, dtype=float)
    return np.full(len(times), np.nan) if np.array_equal(times, np.arange(len(times))) else times


def _fault(
    path: Path, topology: mdtraj.Topology, n_read: int, error: Exception, *, is_own: bool
) -> SamplingError:
    """What ails a file, said so that the advice fits."""
    kinds = (*FormatRegistry.loaders, *FormatRegistry.fileobjects)
    needs = f"{path}: needs a trajectory that mdtraj reads, of {topology.n_atoms} atoms, got"
    if isinstance(error, OSError) and error.errno is not None:
        return SamplingError(f"{path}: needs a file that can be read, got: {error.strerror}")
    if ending(path) not in kinds:
        known = ".xtc, .dcd, .trr, .nc, .h5, .pdb, .gro, .rst7 ..."
        return SamplingError(f"{needs}: a name that ends in none of its formats ({known}); convert it")
    if mended := _mended(error):
        return SamplingError(f"{needs}: {_plain_line(error)}{mended}")
    n_atoms, n_whole = _quietly(_outline, path, topology)
    if n_atoms is not None and n_atoms != topology.n_atoms:
        advice = (
            "the topology of --top belongs to another trajectory"
            if is_own
            else "name the file's own topology with --top, or write it with the system's atoms alone"
        )
        return SamplingError(f"{needs}: one of {n_atoms} atoms; {advice}")
    if n_whole or n_read:
        return _cut_off(path, max(n_whole, n_read), f"then {_plain_line(error)}")
    return SamplingError(
        f"{needs}: {_plain_line(error)}; it is empty, damaged or of another format than its ending says: "
        "copy or write it again"
    )


def _check_promise(path: Path, promised: tuple[int, int | None] | None, n_read: int | None) -> None:
    """Refuse a file that holds fewer frames than it says; n_read: frames that were read, None: not yet."""
    if promised is None:
        return
    n_promised, n_whole = promised
    n_there = n_whole if n_read is None or (n_whole is not None and n_whole < n_read) else n_read
    if n_there is not None and n_there < n_promised:
        raise _cut_off(path, n_there, f"it was to hold {n_promised}")


def _cut_off(path: Path, n_whole: int, why: str) -> SamplingError:
    whole = _keeping(path, n_whole) if n_whole else ""
    return SamplingError(
        f"{path}: is cut off or damaged after frame {n_whole} ({why}); copy or write it again{whole}"
    )


def _keeping(path: Path, n_whole: int) -> str:
    """`; the whole frames alone: COMMAND`; mdtraj's mdconvert reads an .xtc to its end, and fails there."""
    kind = ending(path)
    if kind == ".dcd":
        return f"; the whole frames alone: mdconvert -i :{n_whole} -o whole.dcd {shlex.quote(str(path))}"
    if kind in (".xtc", ".trr"):
        code = (
            f"import mdtraj as m; r = m.open({str(path)!r}).read({n_whole}); "
            f"m.open('whole{kind}', 'w').write(*r)"
        )
        return f"; the whole frames alone: python -c {shlex.quote(code)}"
    return ""


def _outline(path: Path, topology: mdtraj.Topology) -> tuple[int | None, int]:
    """Number of atoms in a damaged file, where that can be told, and of the frames before the damage."""
    n_atoms, n_frames = None, 0
    options = {"n_atoms": topology.n_atoms} if ending(path) == ".mdcrd" else {}
    try:
        with mdtraj.open(str(path), **options) as handle:
            while True:
                found = handle.read(n_frames=1)
                positions = found if isinstance(found, np.ndarray) else found[0]
                if not len(positions):
                    break
                n_atoms, n_frames = n_atoms or positions.shape[1], n_frames + 1
    except Exception:  # where the damage is
        pass
    return n_atoms, n_frames


def _mended(error: BaseException) -> str:
    """`; pip install PACKAGE` where that is what is missing."""
    text = str(error).lower()
    if not isinstance(error, ImportError):
        return ""
    for module, title in _PACKAGES.items():
        if module in text:
            return f"; it needs {title}: pip install {'tables' if title == 'PyTables' else title}"
    return "; install what it names"


def _plain_line(error: BaseException) -> str:
    """The first line with letters: mdtraj frames some of its messages in coloured rules."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if any(c.isalpha() for c in line[:60]) and "[9" not in line), "") or (
        type(error).__name__
    )


def _quietly(function: Any, *arguments: Any) -> Any:
    with _said_nowhere():
        return function(*arguments)


@contextmanager
def _said_nowhere() -> Iterator[None]:
    """mdtraj's DCD reader greets on standard output, where results belong; what is wrong it raises."""
    sys.stdout.flush()
    try:
        kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process without standard output
        yield
        return
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)
