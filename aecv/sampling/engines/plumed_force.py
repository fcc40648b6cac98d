"""PLUMED as a force of OpenMM: made, its log kept off the terminal, its refusals in words."""

import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openmm

from aecv.ground.errors import SettingsError, SimulationError
from aecv.ground.settings import BarostatSettings
from aecv.sampling.engines import plumed_segment as files
from aecv.sampling.engines.plumed_segment import SegmentInput
from aecv.sampling.system.barostats import barostats_of


def plumed_force(text: str, *, restart: bool) -> openmm.Force:
    """PLUMED as a force; with `restart` DRR reads its state file."""
    force = importlib.import_module("openmmplumed").PlumedForce(text)
    force.setRestart(restart)
    return force


def refused(error: BaseException) -> SimulationError:
    """What to raise when PLUMED refuses its input, with its own words on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return SimulationError(f"engine plumed: PLUMED refuses its input: {' '.join(lines[-3:])}")


def in_words(error: BaseException) -> BaseException:
    """What to raise for an error of `dynamics.advance`: PLUMED's own words where PLUMED ended the step.

    An exception without text is no Ctrl-C here, since nothing calls back into Python.
    """
    cause = error.__cause__
    if not isinstance(cause, openmm.OpenMMException) or "NaN" in str(cause):
        return error  # OpenMM's own: the run exploded
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    said = " ".join(lines[-3:]) if isinstance(error, SimulationError) else "nothing that could be read"
    return SimulationError(
        f"engine plumed: PLUMED stopped the run, it says: {said}; what was saved before is kept"
    )


def refuse_barostat(system: openmm.System, settings: BarostatSettings) -> None:
    """DRR counts a barostat's trials as steps.

    Raises:
        SettingsError: when a force of the system is one, or the settings bring one for the whole run.
    """
    for force in barostats_of(system):
        raise SettingsError(
            f"engine plumed: the system has a {type(force).__name__}, and DRR would take its looks at "
            "the forces for steps; take it out of the system, or use another engine (--engine native)"
        )
    if settings.always:
        raise SettingsError(
            "engine plumed: needs barostat.always = false, since DRR would take a barostat's looks at the "
            "forces for steps; leave it out, or use another engine (--engine native)"
        )


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """What C code writes to standard output goes to a file: openmm-plumed lets PLUMED log there, and has no
    switch for it in Python."""
    c_library = ctypes.CDLL(None)
    sys.stdout.flush()
    c_library.fflush(None)
    kept = os.dup(1)
    try:
        with path.open("ab") as log:
            os.dup2(log.fileno(), 1)
        yield
    finally:
        c_library.fflush(None)
        os.dup2(kept, 1)
        os.close(kept)


def state_template(task: SegmentInput) -> bytes:
    """A state file that this PLUMED's DRR writes for the grid, of a particle at the middle of it.

    Args:
        task: its folder gets the file.

    Raises:
        SimulationError: with PLUMED's words when it refuses DRR's line.
    """
    grid = task.extended.grid
    middle = np.zeros(3)
    middle[: grid.n_dims] = 0.5 * (np.array(grid.lower) + np.array(grid.upper))
    lines = ["p: POSITION ATOM=1 NOPBC"]
    for label, axis, periodic in zip(task.labels, "xyz", grid.periodic, strict=False):
        lines.append(f"{label}: COMBINE ARG=p.{axis} PERIODIC={'-pi,pi' if periodic else 'NO'}")
    system = openmm.System()
    system.addParticle(1.0)
    with log_to(task.folder / files.LOG):
        system.addForce(plumed_force("\n".join([*lines, task.drr(restart=False), ""]), restart=False))
        integrator = openmm.VerletIntegrator(task.extended.timestep_ps)
        try:
            context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
            context.setPositions([middle])
            context.setStepCount(task.last_step)
            context.getState(energy=True)
        except openmm.OpenMMException as error:
            raise refused(error) from error
        del context
    return (task.folder / files.END).read_bytes()
