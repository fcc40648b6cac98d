"""A short run at high temperature, in pieces that are kept: a process that goes on does the same run.

A piece ends with a snapshot. OpenMM's checkpoint after it holds positions, velocities and, of the Reference
platform and GPUs, the state of the random generator, so that the run is one however often it was stopped.
Rejected: a seed per piece, as the segments of an iteration have it; the starts of every run would change.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import ExplosionError, SimulationError, first_line
from aecv.ground.progress import Progress
from aecv.ground.seeds import seed_31bit
from aecv.ground.settings import StartSettings
from aecv.sampling.dynamics.segments import whole_frame
from aecv.sampling.starting.minimising import checked_state
from aecv.sampling.starting.pieces import HOT, HOT_HALF, Pieces, piece
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice

logger = logging.getLogger(__name__)

_CHECKPOINT = "checkpoint"


@dataclass(frozen=True, kw_only=True, eq=False)
class HotPiece:
    """What a piece of the hot run brought.

    Attributes:
        snapshot: its last frame, shape (N, 3) [nm].
        sound: its frames with the structure's stereochemistry, shape (n, n_frame_atoms, 3) [nm].
        changed: whether the snapshot has another one.
    """

    snapshot: FloatArray
    sound: NDArray[np.float32]
    changed: bool


class HotRun:
    """Evenly spaced snapshots of runs from given structures, and the frames between them.

    A snapshot with another chirality or cis-trans state is kept, for the report, but the run goes back to the
    last sound one: a peptide bond that turned over would stay so for hundreds of ps and waste them.

    Args:
        system: what is simulated.
        settings: the [starts] section.
        seed: root seed.
        firsts: where it begins, shape (n, N, 3) [nm]; its time is shared among them.
        platform: as in `make_context`.
        half: whether with half the time step.
    """

    def __init__(
        self,
        system: MolecularSystem,
        settings: StartSettings,
        seed: int,
        firsts: FloatArray,
        *,
        platform: PlatformChoice | str | None,
        half: bool,
    ) -> None:
        self._system, self._settings, self._seed, self._firsts = system, settings, seed, firsts
        self._platform = platform
        self._kind = HOT_HALF if half else HOT
        self._timestep = (0.5 if half else 1.0) * system.spec.settings.dynamics.timestep_ps
        frame_ps = system.spec.settings.sampling.frame_ps
        per_piece = settings.hot_ps / settings.candidates
        self._n_frames = max(1, round(per_piece / frame_ps))
        self._n_steps = max(1, round(per_piece / self._n_frames / self._timestep))

    def run(self, pieces: Pieces, progress: Progress) -> tuple[FloatArray, NDArray[np.float32]]:
        """Snapshots, shape (candidates, N, 3) [nm], and sound frames every sampling.frame_ps, shape
        (n_frames, n_frame_atoms, 3) [nm].

        Args:
            pieces: keeps what is done.
            progress: opens a bar in ps.

        Raises:
            ExplosionError: when it explodes.
        """
        done, checkpoint = self._kept(pieces)
        frame_ps = self._n_steps * self._timestep
        piece_ps = self._n_frames * frame_ps
        if len(done) < self._settings.candidates:
            context, integrator = self._context(done, checkpoint)
            title = f"starts: hot run at {self._settings.hot_temperature_k:g} K"
            with progress(title, self._settings.candidates * piece_ps, "ps") as advance:
                advance(len(done) * piece_ps)
                while len(done) < self._settings.candidates:
                    self._begin(context, done)
                    done.append(self._next(context, integrator, lambda: advance(frame_ps)))
                    self._keep(pieces, done, context.createCheckpoint())
        return np.array([item.snapshot for item in done]), np.concatenate([item.sound for item in done])

    def _keep(self, pieces: Pieces, done: list[HotPiece], checkpoint: bytes) -> None:
        """Keep the last piece, then the checkpoint that counts it in place of the one before."""
        pieces.save(piece(self._kind, len(done) - 1), asdict(done[-1]))
        state = np.frombuffer(checkpoint, dtype=np.uint8)
        pieces.save(f"{self._kind}_{_CHECKPOINT}", {"n_done": np.array(len(done)), "state": state})

    def _kept(self, pieces: Pieces) -> tuple[list[HotPiece], bytes]:
        """The pieces of earlier processes, and the checkpoint after the last one; none where any is lost."""
        kept = pieces.load(f"{self._kind}_{_CHECKPOINT}", ("n_done", "state"))
        if kept is None:
            return [], b""
        fields = tuple(HotPiece.__dataclass_fields__)
        found = [pieces.load(piece(self._kind, index), fields) for index in range(int(kept["n_done"]))]
        whole = [HotPiece(**{name: item[name] for name in fields}) for item in found if item is not None]
        return (whole, kept["state"].tobytes()) if len(whole) == len(found) else ([], b"")

    def _context(
        self, done: list[HotPiece], checkpoint: bytes
    ) -> tuple[openmm.Context, openmm.LangevinMiddleIntegrator]:
        """A context at the end of the pieces that are done; these are forgotten where it cannot go on."""
        # the checkpoint of the CPU platform holds no random generator: what follows gets another stream
        names = ("starts", "hot", len(done)) if done else ("starts", "hot")
        context, integrator = make_context(
            self._system,
            platform=self._platform,
            seed=seed_31bit(self._seed, *names),
            temperature=self._settings.hot_temperature_k,
            timestep=self._timestep,
            constant_pressure=False,
        )
        # Reinitialising seeds the random generator anew, so that what the process did before does not matter.
        context.reinitialize(preserveState=True)
        if not done:
            return context, integrator
        try:
            context.loadCheckpoint(checkpoint)
        except openmm.OpenMMException as error:  # of another GPU, for one
            logger.warning("starts: the hot run cannot go on and begins again (%s)", first_line(error))
            done.clear()
            return self._context(done, b"")
        return context, integrator

    def _begin(self, context: openmm.Context, done: list[HotPiece]) -> None:
        """Heat a structure anew where a run begins, or the last snapshot was not sound."""
        index, n = len(done), self._settings.candidates
        run = index * len(self._firsts) // n
        own = [item for k, item in enumerate(done) if k * len(self._firsts) // n == run]
        if own and not own[-1].changed:
            return
        sound = [item.snapshot for item in own if not item.changed]
        context.setPositions(sound[-1] if sound else self._firsts[run])
        velocity_seed = seed_31bit(self._seed, "starts", "velocities", index)
        context.setVelocitiesToTemperature(self._settings.hot_temperature_k, velocity_seed)

    def _next(
        self,
        context: openmm.Context,
        integrator: openmm.LangevinMiddleIntegrator,
        on_frame: Callable[[], None],
    ) -> HotPiece:
        """The next piece."""
        frames = []
        for _ in range(self._n_frames):
            positions = self._after(context, integrator)
            frames.append(whole_frame(context, positions, self._system.box_images))
            on_frame()
        found = np.array(frames)
        changed = self._system.stereo.inverted(found) | self._system.stereo.turned(found)
        return HotPiece(
            snapshot=found[-1],
            sound=found[~changed, : self._system.n_frame_atoms].astype(np.float32),
            changed=bool(changed[-1]),
        )

    def _after(self, context: openmm.Context, integrator: openmm.LangevinMiddleIntegrator) -> FloatArray:
        """Positions after the steps between two frames [nm], shape (N, 3)."""
        doing = f"hot run at {self._settings.hot_temperature_k:g} K (starts.hot_temperature_k)"
        try:
            integrator.step(self._n_steps)
        except openmm.OpenMMException as error:
            raise ExplosionError(f"{doing} failed ({error}); lower the temperature") from error
        try:
            return checked_state(context, doing=doing)[0]
        except SimulationError as error:
            raise ExplosionError(str(error)) from error
