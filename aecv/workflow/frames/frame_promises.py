"""The number of frames that a trajectory promises, where mdtraj stops in silence at the end of a file.

A DCD file says in its header how many frames it holds, of how many atoms, and when they were. In text the
marks between frames can be counted.
Source: the DCD reader of VMD (dcdplugin.c).
"""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray

_AKMA_PS = 0.0488882129
"""CHARMM's unit of time [ps]."""
_FIRST_LINES = {".pdb": b"MODEL ", ".lammpstrj": b"ITEM: TIMESTEP"}
"""How a frame begins, in text that marks it."""
_LINES = (*_FIRST_LINES, ".xyz", ".mdcrd", ".crd", ".gro", ".arc")
"""Text with the same lines in every frame."""


@dataclass(frozen=True, kw_only=True)
class DcdOutline:
    """What the header of a DCD file and its size say.

    Attributes:
        promised: frames, as the header has them; programs that never go back to it leave 0.
        n_frames: whole frames that the file has room for.
        first_step: number of the step of the first frame; 0 where the program did not know it.
        interval: steps between frames.
        timestep_ps: of the dynamics; 0 where that is not known.
    """

    promised: int
    n_frames: int
    first_step: int
    interval: int
    timestep_ps: float

    def times_ps(self, n: int) -> FloatArray | None:
        """Times of the first n frames [ps]; None where the file does not tell.

        Programs that convert files begin at step 0 whatever frames these are: only a later beginning says
        when they were.
        """
        if self.first_step <= 0 or self.interval <= 0 or not 0 < self.timestep_ps < 1e3:
            return None
        return np.asarray((self.first_step + np.arange(n) * self.interval) * self.timestep_ps)


def promised_frames(path: Path, n_atoms: int) -> tuple[int, int | None] | None:
    """Frames that a file says it holds, and those that are whole where that can be told before they are read;
    None where its format does not say it, or its reader finds out.

    Text that ends within a line, or a frame, promises a frame that is not whole.
    """
    name = path.name.lower()
    if name.endswith(".dcd"):
        outline = dcd_outline(path)
        return None if outline is None else (outline.promised, outline.n_frames)
    kind = Path(name.removesuffix(".gz")).suffix
    if kind not in _LINES:
        return None
    begun, n_lines, last, before = 0, 0, b"", b""
    with gzip.open(path) if name.endswith(".gz") else open(path, "rb") as handle:
        for line in handle:
            n_lines += 1
            last, before = line, last
            begun += kind in _FIRST_LINES and line.startswith(_FIRST_LINES[kind])
    if kind == ".pdb":
        is_cut = last.startswith((b"ATOM", b"HETATM", b"TER")) and begun > 1
        return begun, begun - 1 if is_cut else None
    if kind in (".mdcrd", ".crd"):
        rows = -(-3 * n_atoms // 10)  # ten numbers a line, and one line of a box perhaps
        is_whole = any((n_lines - 1) % (rows + box) == 0 for box in (0, 1))
        begun = 0 if is_whole else (n_lines - 1) // rows + 1
    elif kind == ".xyz":
        begun = -(-n_lines // (n_atoms + 2))
    elif kind in (".gro", ".arc"):
        begun = n_lines // (n_atoms + (3 if kind == ".gro" else 1))
    is_cut = begun > 0 and not last.endswith(b"\n") and _decimals(last) < _decimals(before)
    return begun, begun - 1 if is_cut else None


def _decimals(line: bytes) -> int:
    """Digits after the point of a line's last number."""
    words = line.split()
    return len(words[-1].partition(b".")[2]) if words else 0


def dcd_outline(path: Path) -> DcdOutline | None:
    """The outline of a DCD file of any byte order; None for one that is laid out in another way."""
    size = path.stat().st_size
    with open(path, "rb") as handle:
        head = handle.read(92)
        order = next((o for o in "<>" if len(head) == 92 and head[:4] == struct.pack(f"{o}i", 84)), None)
        if order is None or head[4:8] != b"CORD":
            return None
        numbers = struct.unpack(f"{order}9i", head[8:44])
        (timestep,) = struct.unpack(f"{order}f", head[44:48])
        has_cell, has_fourth, *_, version = struct.unpack(f"{order}10i", head[48:88])
        (title,) = struct.unpack(f"{order}i", handle.read(4).ljust(4, b"\0"))
        handle.seek(title + 4, 1)
        atoms = handle.read(12)
        offset = handle.tell()
    if len(atoms) < 12 or numbers[8]:  # fixed atoms make the first frame longer than the others
        return None
    if version == 0:  # X-PLOR has no cell, and its time step takes two numbers
        has_cell, has_fourth = 0, 0
        (timestep,) = struct.unpack(f"{order}d", head[44:52])
    n_atoms = struct.unpack(f"{order}3i", atoms)[1]
    frame = (3 + bool(has_fourth)) * (4 * n_atoms + 8) + 56 * bool(has_cell)
    if n_atoms <= 0:
        return None
    return DcdOutline(
        promised=numbers[0],
        n_frames=max(0, size - offset) // frame,
        first_step=numbers[1],
        interval=numbers[2],
        # 1 is what programs write that do not know it
        timestep_ps=0.0 if timestep == 1.0 else float(timestep) * _AKMA_PS,
    )
