"""How many frames trajectories hold, by their headers and indices, before any is read."""

from pathlib import Path

import mdtraj

from aecv.workflow.frames.frame_promises import dcd_outline
from aecv.workflow.frames.frame_reading import Source
from aecv.workflow.frames.input_frames import FrameFiles

_INDEXED = (".xtc", ".trr", ".nc", ".ncdf", ".netcdf")
"""Formats whose frames mdtraj counts without reading them."""


def count_frames(files: FrameFiles) -> int | None:
    """Frames of all files together, every stride-th of them; None where one of them does not tell.

    Frames that two files hold are counted twice. What is wrong with a file is left to those who read it.
    """
    counts = [_count(source) for source in files.sources]
    known = [n for n in counts if n]
    return len(range(0, sum(known), files.stride)) if len(known) == len(counts) else None


def _count(source: Source) -> int | None:
    if isinstance(source, mdtraj.Trajectory):
        return int(source.n_frames)
    suffix = Path(source).suffix.lower()
    try:
        if suffix == ".dcd":
            outline = dcd_outline(source)
            return None if outline is None else outline.n_frames
        if suffix not in _INDEXED:
            return None
        with mdtraj.open(str(source)) as file:
            return len(file)
    except Exception:  # mdtraj's readers raise what their parsing happens to hit
        return None
