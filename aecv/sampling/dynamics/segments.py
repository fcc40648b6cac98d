"""Segments of molecular dynamics in OpenMM: pure functions of (start state, bias, seed)."""

import time
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import ExplosionError, SimulationError
from aecv.molecules.bonds import Images
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult, WalkerState
from aecv.sampling.system.barostats import barostats_of

UNSEEN_STEPS = 1000
"""Steps after which positions are looked at, at the latest."""
_OF_POSITIONS = ("nan", "coordinate", "position", "constraint", "energy", "neighbor", "finite")
"""Words of OpenMM where atoms are where they should not be; without one of them the machine is to blame."""
FASTEST_NM_PS = 100.0
"""No atom is faster while a simulation is sound: hydrogen at 1000 K has a thermal speed of 5 nm/ps."""


class UnbiasedEngine:
    """Plain molecular dynamics in a context made by the caller.

    Args:
        n_frame_atoms: leading atoms that frames hold; None for all.
        images: of a periodic system, how its frames are made whole.
    """

    def __init__(
        self,
        context: openmm.Context,
        integrator: openmm.Integrator,
        *,
        n_frame_atoms: int | None = None,
        images: Images | None = None,
    ) -> None:
        self._context = context
        self._integrator = integrator
        self._n_frame_atoms = n_frame_atoms
        self._images = images

    def run(self, job: SegmentJob) -> SegmentResult:
        """Run one segment without bias; see `Engine`."""
        start(self._context, self._integrator, job)
        n_frames = job.n_steps // job.frame_steps
        kept = slice(self._n_frame_atoms)
        frames = np.empty((n_frames, *job.state.positions[kept].shape), dtype=np.float32)
        began = time.perf_counter()
        positions = job.state.positions
        for frame in range(n_frames):
            positions = advance(self._context, self._integrator, job.frame_steps, positions)
            frames[frame] = whole_frame(self._context, positions, self._images)[kept]
        return SegmentResult(
            state=final_state(self._context, lam=np.empty(0), lam_velocity=np.empty(0), images=self._images),
            frames=frames,
            lam=np.empty((n_frames, 0)),
            increment=None,
            wall_s=time.perf_counter() - began,
        )


def start(context: openmm.Context, integrator: openmm.Integrator, job: SegmentJob) -> None:
    """Bring a context to a job's start state and random stream, at step 0.

    A new seed takes effect only when the context is initialised again, which costs well under 1 ms on the
    Reference platform.
    """
    integrator.setRandomNumberSeed(job.seed.langevin)
    for barostat in barostats_of(context.getSystem()):  # they would take a seed from the clock
        barostat.setRandomNumberSeed(job.seed.barostat)
    context.reinitialize()
    place(context, job.state, step=0)


def place(context: openmm.Context, state: WalkerState, *, step: int) -> None:
    """Bring a context to a state and a step number."""
    if np.any(state.box):
        context.setPeriodicBoxVectors(*state.box)
    context.setPositions(state.positions)
    context.setVelocities(state.velocities)
    context.setStepCount(step)


_NO_TEXT = ("", "<NULL>")
"""What OpenMM says of an exception of Python without words: of Ctrl-C in a callback, for one."""


def advance(
    context: openmm.Context, integrator: openmm.Integrator, n_steps: int, previous: NDArray[np.floating]
) -> FloatArray:
    """Positions after some steps.

    Args:
        previous: positions before them, shape (n_atoms, 3) [nm].

    Returns:
        shape (n_atoms, 3) [nm].

    Raises:
        ExplosionError: when OpenMM refuses to go on, a position is not finite, or an atom moved faster than
            FASTEST_NM_PS; this is looked at every UNSEEN_STEPS.
        KeyboardInterrupt: when a signal came while OpenMM called back.
    """
    positions = np.asarray(previous, dtype=float)
    for done in range(0, n_steps, UNSEEN_STEPS):
        positions = _advance(context, integrator, min(UNSEEN_STEPS, n_steps - done), positions)
    return positions


def _advance(
    context: openmm.Context, integrator: openmm.Integrator, n_steps: int, previous: FloatArray
) -> FloatArray:
    """Positions after some steps, which are looked at once."""
    try:
        integrator.step(n_steps)
    except openmm.OpenMMException as error:
        if str(error) in _NO_TEXT:
            raise KeyboardInterrupt from error
        if not any(word in str(error).lower() for word in _OF_POSITIONS):
            raise SimulationError(
                f"dynamics: OpenMM stopped: {error}; what was saved before is kept"
            ) from error
        raise _exploded(context, f"OpenMM stopped: {error}", previous) from error
    positions = read_positions(context.getState(positions=True))
    reach = FASTEST_NM_PS * n_steps * integrator.getStepSize().value_in_unit(unit.picosecond)
    # a barostat may put a molecule back into the box
    reach += float(np.abs(box_vectors(context.getState(), context.getSystem())).sum(axis=0).max())
    moved = np.abs(positions - previous).max(axis=1)
    if not moved.max() < reach:
        atom = int(np.argmax(np.nan_to_num(moved, nan=np.inf)))
        far = f"moved {moved[atom]:.3g} nm in {n_steps} steps"
        what = far if np.isfinite(moved[atom]) else "is not finite"
        raise _exploded(context, f"the position of atom {atom} {what}", previous, positions)
    return positions


def _exploded(
    context: openmm.Context, what: str, before: FloatArray, after: FloatArray | None = None
) -> ExplosionError:
    return ExplosionError(
        f"dynamics: exploded near step {context.getStepCount()} of its segment: {what}", before, after
    )


def read_positions(state: openmm.State) -> FloatArray:
    """Positions of a state [nm] as an array, shape (n_atoms, 3)."""
    return np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)


def whole_frame(context: openmm.Context, positions: FloatArray, images: Images | None) -> FloatArray:
    """Positions of a context, shape (n_atoms, 3) [nm], with whole molecules; unchanged without images."""
    if images is None:
        return positions
    box = box_vectors(context.getState(), context.getSystem())
    return np.asarray(images.whole(positions, box), dtype=float)


def final_state(
    context: openmm.Context, *, lam: FloatArray, lam_velocity: FloatArray, images: Images | None = None
) -> WalkerState:
    """The state that a segment leaves behind, with whole molecules where there are images."""
    state = context.getState(positions=True, velocities=True)
    velocities = state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond)
    return WalkerState(
        positions=whole_frame(context, read_positions(state), images),
        velocities=np.asarray(velocities, dtype=float),
        box=box_vectors(state, context.getSystem()),
        lam=lam.copy(),
        lam_velocity=lam_velocity.copy(),
    )


def box_vectors(state: Any, system: openmm.System) -> FloatArray:
    """Box vectors [nm], shape (3, 3); zeros where the system is not periodic."""
    if not system.usesPeriodicBoundaryConditions():
        return np.zeros((3, 3))
    return np.asarray(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
