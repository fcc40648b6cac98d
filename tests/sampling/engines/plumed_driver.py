"""A little `plumed driver` by the C interface; a process of its own, since PLUMED aborts on bad input.

    python plumed_driver.py KERNEL FRAMES.npy FORCES.npy STRIDE

reads plumed.dat in the working folder and positions [nm], shape (F, N, 3); masses are 1, there is no box, and
a frame comes every STRIDE steps of 1 fs. Writes the forces [kJ/mol/nm], shape (F, N, 3).
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np


def find_kernel() -> Path | None:
    """libplumedKernel.so: named by PLUMED_KERNEL, or belonging to the command `plumed`."""
    named, command = os.environ.get("PLUMED_KERNEL"), shutil.which("plumed")
    if named:
        return Path(named)
    if command is None:
        return None
    beside = Path(command).resolve().parents[1] / "lib" / "libplumedKernel.so"
    return beside if beside.is_file() else None


def drive(kernel: Path, folder: Path, frames: np.ndarray, *, stride: int = 1) -> np.ndarray:
    """Forces of the input in a folder on frames [nm]; what PLUMED says of a failure is in the assertion."""
    np.save(folder / "frames.npy", np.ascontiguousarray(frames, dtype=float))
    command = [sys.executable, __file__, str(kernel.resolve()), "frames.npy", "forces.npy", str(stride)]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return np.load(folder / "forces.npy")


class Plumed:
    """One PLUMED object of a kernel."""

    def __init__(self, kernel: str) -> None:
        library = ctypes.CDLL(kernel, mode=ctypes.RTLD_GLOBAL)
        library.plumed_plumedmain_create.restype = ctypes.c_void_p
        for name in ("cmd", "finalize"):
            getattr(library, f"plumed_plumedmain_{name}").restype = None
        self._cmd = library.plumed_plumedmain_cmd
        self._finalize = library.plumed_plumedmain_finalize
        self._object = ctypes.c_void_p(library.plumed_plumedmain_create())

    def __call__(self, key: str, value: object = None) -> None:
        pointer = None
        if isinstance(value, np.ndarray):
            pointer = value.ctypes.data_as(ctypes.c_void_p)
        elif value is not None:
            kept = _as_c(value)
            pointer = ctypes.cast(kept, ctypes.c_void_p)
        self._cmd(self._object, key.encode(), pointer)

    def close(self) -> None:
        """Flush and close its files."""
        self._finalize(self._object)


def _as_c(value: object) -> ctypes.c_char_p | ctypes.Array[ctypes.c_int] | ctypes.Array[ctypes.c_double]:
    if isinstance(value, int):
        return (ctypes.c_int * 1)(value)
    if isinstance(value, float):
        return (ctypes.c_double * 1)(value)
    return ctypes.c_char_p(str(value).encode())


def main(kernel: str, source: str, target: str, stride: str) -> None:
    frames = np.load(source)
    n = frames.shape[1]
    plumed = Plumed(kernel)
    plumed("setRealPrecision", 8)
    plumed("setMDEngine", "aecv-test")
    plumed("setNatoms", n)
    plumed("setTimestep", 0.001)
    plumed("setKbT", 2.494339)
    plumed("setLogFile", "plumed.log")
    plumed("setPlumedDat", "plumed.dat")
    plumed("init")
    masses, charges, box = np.ones(n), np.zeros(n), np.zeros((3, 3))
    forces = np.zeros_like(frames)
    for step, frame in enumerate(frames):
        positions, virial = np.ascontiguousarray(frame), np.zeros((3, 3))
        plumed("setStep", step * int(stride))
        for key, array in (
            ("setPositions", positions), ("setMasses", masses), ("setCharges", charges),
            ("setForces", forces[step]), ("setBox", box), ("setVirial", virial),
        ):  # fmt: skip
            plumed(key, array)
        plumed("calc")
    plumed.close()
    np.save(target, forces)


if __name__ == "__main__":
    main(*sys.argv[1:])
