"""What an engine is asked and what it gives back: plain arrays, without OpenMM.

A segment starts from plain arrays and a fresh random stream and ends in plain arrays. A run that stops
after any segment and goes on from its arrays is therefore the same run, and segments may run anywhere.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aecv.ground import seeds
from aecv.ground.arrays import FloatArray
from aecv.numerics.extended_abf.abf import Accumulators


@dataclass(frozen=True, kw_only=True, eq=False)
class WalkerState:
    """All that a walker is between two segments, besides its random stream.

    Attributes:
        positions, velocities: shape (n_atoms, 3) [nm], [nm/ps].
        box: box vectors, shape (3, 3) [nm]; zeros where the system has none.
        lam, lam_velocity: extended variable of the coming step [CV] and its velocity [CV/ps], shape (d,);
            d = 0 without bias.
    """

    positions: FloatArray
    velocities: FloatArray
    box: FloatArray
    lam: FloatArray
    lam_velocity: FloatArray


@dataclass(frozen=True, kw_only=True)
class SegmentSeed:
    """Names the random streams of one segment: the run's seed, the stage, the walker and the segment."""

    root: int
    stage: str
    walker: int
    segment: int

    @property
    def langevin(self) -> int:
        """Seed of OpenMM's thermostat."""
        return seeds.seed_31bit(self.root, "langevin", self.stage, self.walker, self.segment)

    @property
    def barostat(self) -> int:
        """Seed of OpenMM's barostat."""
        return seeds.seed_31bit(self.root, "barostat", self.stage, self.walker, self.segment)

    @property
    def lam_noise(self) -> np.random.Generator:
        """Generator of the thermostat of lambda."""
        return seeds.generator(self.root, "lambda", self.stage, self.walker, self.segment)


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentJob:
    """What an engine is asked to do.

    Attributes:
        state: where to start.
        n_steps: MD steps, a multiple of frame_steps.
        frame_steps: steps between frames.
        seed: names the random streams.
        accumulators: what all walkers have gathered so far; the bias comes from it and from this walker's
            own samples as they are taken. None for unbiased dynamics.
        unbiased: bins where lambda is not pushed, shape (grid.size,); None for none.
        potential: B at bin centres [kJ/mol], shape (grid.size,): the bias energy is -B(lambda), multilinear
            between them, through the whole segment. None: the bias adapts.
    """

    state: WalkerState
    n_steps: int
    frame_steps: int
    seed: SegmentSeed
    accumulators: Accumulators | None = None
    unbiased: NDArray[np.bool_] | None = None
    potential: FloatArray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentResult:
    """What an engine gives back.

    Attributes:
        state: where the segment ended.
        frames: of the first atoms, without the solvent after them, shape (n_frames, n_frame_atoms, 3) [nm],
            float32, every frame_steps steps, the last step included.
        lam: extended variable at the frames, shape (n_frames, d) [CV]; d = 0 without bias.
        increment: samples of this segment alone; None without bias.
        wall_s: time spent in the integrator [s], for benchmarks of an engine.
        repeated: whether the segment exploded at first and was repeated with half the time step.
    """

    state: WalkerState
    frames: NDArray[np.float32]
    lam: FloatArray
    increment: Accumulators | None
    wall_s: float
    repeated: bool = False


class Engine(Protocol):
    """Runs segments of one system along at most one CV."""

    def run(self, job: SegmentJob) -> SegmentResult:
        """Run one segment.

        Raises:
            ExplosionError: when the dynamics explode. SimulationError: when the bias is not live.
        """
        ...
