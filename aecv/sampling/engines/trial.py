"""Whether OpenMM's platforms work here: found out by stepping a few atoms, not by listing.

It imports nothing heavy but OpenMM and numpy, since most trials run in a fresh process.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import PurePath
from typing import NamedTuple

import numpy as np
import openmm
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import first_line

N_STEPS = 20
PATIENCE_S = 300.0
"""Longest wait for one trial: a busy machine takes a minute to load its libraries."""
FORCE_TOLERANCE = 1e-3
"""Relative difference of forces from the Reference platform's; single precision gives 1e-6 to 1e-5."""
_PULL = np.array([10.0, -20.0, 30.0])
_N_ATOMS = 8


class Trial(NamedTuple):
    """What a trial came to: its name, why it failed (None: it works), and how well."""

    name: str
    problem: str | None
    note: str


def platform_names() -> list[str]:
    """Platforms that OpenMM knows here, working or not."""
    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def plugin_failures() -> dict[str, str]:
    """Per library of OpenMM that could not be loaded the reason, such as a driver that is not there.

    A library that fails because it needs another one of OpenMM is left out: that one is named.
    """
    failures: dict[str, str] = {}
    for text in openmm.Platform.getPluginLoadFailures():
        library, _, reason = str(text).strip().splitlines()[0].partition(": ")
        if not reason.startswith("libOpenMM") and reason not in failures.values():
            failures[PurePath(library).name] = reason
    return failures


def try_apart(name: str, trial: Callable[[], Trial]) -> Trial:
    """A trial in a process of its own: a broken driver ends the process that calls it.

    Args:
        name: for the answer when there is none.
        trial: can be pickled.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        result: Future[Trial] = pool.submit(trial)
        try:
            return result.result(timeout=PATIENCE_S)
        except BrokenProcessPool:
            return Trial(name, "the process that tried it died; its driver or library is broken", "")
        except TimeoutError:
            for process in list(pool._processes.values()):
                process.kill()
            return Trial(name, f"no answer within {PATIENCE_S:g} s", "")
        except Exception as error:  # whatever OpenMM, its plugins or a driver raise
            return Trial(name, first_line(error), "")


def try_here(name: str, trial: Callable[[], Trial]) -> Trial:
    """A trial in this process, for what is careful itself.

    Args:
        name: for the answer when there is none.
        trial: may raise.
    """
    try:
        return trial()
    except Exception as error:  # whatever an engine's packages raise
        return Trial(name, first_line(error), "")


def try_platform(name: str) -> Trial:
    """Step a few charged atoms with bonds on a platform, with a force from Python on one of them.

    The forces are compared with those of the Reference platform, and Python's with what it gave.
    """
    platform = openmm.Platform.getPlatformByName(name)
    here, reference = _context(platform), _context(openmm.Platform.getPlatformByName("Reference"))
    forces, expected = forces_of_groups(here, 1), forces_of_groups(reference, 1)
    error = float(np.abs(forces - expected).max() / np.abs(expected).max())
    if not error < FORCE_TOLERANCE:
        return Trial(name, f"its forces differ from those of Reference by {error:.1e} (relative)", "")
    pull = forces_of_groups(here, 2)
    if not np.allclose(pull[0], _PULL, rtol=1e-5) or np.any(np.abs(pull[1:]) > 1e-5):
        return Trial(name, "a force from Python (PythonForce) does not arrive at the atoms", "")
    here.getIntegrator().step(N_STEPS)
    positions = here.getState(positions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    if not np.isfinite(positions).all():
        return Trial(name, f"positions are not finite after {N_STEPS} steps", "")
    return Trial(name, None, f"forces agree with Reference to {error:.0e}")


def try_engine(name: str) -> Trial:
    """What an engine says about itself; the native one takes some steps as well.

    Imports all that the engine needs.
    """
    from aecv.sampling.engines.choice import availability

    found = availability(name)
    if not found.works:
        return Trial(name, f"{found.reason}; {found.remedy}" if found.remedy else found.reason, "")
    if name != "native":
        return Trial(name, None, found.reason)
    from aecv.sampling.engines.native_trial import try_native

    return Trial(name, None, f"{try_native(N_STEPS)} steps of extended ABF, forces verified")


def _context(platform: openmm.Platform) -> openmm.Context:
    """A chain of atoms with charges, bonds and a force from Python in group 1."""
    system, bonds, pairs = openmm.System(), openmm.HarmonicBondForce(), openmm.NonbondedForce()
    for atom in range(_N_ATOMS):
        system.addParticle(12.0)
        pairs.addParticle(0.3 * (-1) ** atom, 0.3, 0.4)
        if atom:
            bonds.addBond(atom - 1, atom, 0.25, 1000.0)
    pull = openmm.PythonForce(constant_pull)
    pull.setParticles([0])
    pull.setForceGroup(1)
    for force in (bonds, pairs, pull):
        system.addForce(force)
    context = openmm.Context(system, openmm.LangevinMiddleIntegrator(300.0, 1.0, 0.001), platform)
    shifts = np.random.default_rng(0).normal(scale=0.02, size=(_N_ATOMS, 3))
    context.setPositions(np.arange(_N_ATOMS)[:, None] * np.array([0.25, 0.05, 0.0]) + shifts)
    return context


def constant_pull(state: openmm.State) -> tuple[float, FloatArray]:
    """Energy [kJ/mol] and force [kJ/mol/nm], shape (1, 3), of the force from Python."""
    return 0.0, _PULL[None]


def forces_of_groups(context: openmm.Context, groups: int) -> FloatArray:
    """Forces [kJ/mol/nm], shape (N, 3), of the force groups whose bits are set."""
    state = context.getState(forces=True, groups=groups)
    forces = state.getForces(asNumpy=True)
    return np.asarray(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer), dtype=float)
