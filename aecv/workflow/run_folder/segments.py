"""An iteration's sampling on disk while it runs, and its frames when it is complete.

While it runs, a folder `segments/` holds one archive per walker and segment with its frames, and
`ensemble.npz` with everything that the next round needs. A segment is a few rounds where a projected bias is
solved anew between them, else one. Its archive is written before the ensemble that counts it, both in one
piece each, so that a process killed at any moment leaves a state to go on from. Memory holds one segment.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import StoreError
from aecv.ground.files import read_arrays, write_arrays
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.sampling.dynamics.jobs import SegmentResult, WalkerState
from aecv.sampling.dynamics.walkers import BiasRule, Ensemble, Executor, Plan, Round, run_rounds

N_SNAPSHOTS = 20
"""Snapshots of the accumulators over an iteration; they give the bias, and F, as functions of time."""

_STATE_FIELDS = ("positions", "velocities", "box", "lam", "lam_velocity")


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Total accumulators, the prior included, at moments of an iteration.

    Attributes:
        shares: share of the iteration's time after which each snapshot was taken, shape (n,).
        samples: shape (n, grid.size, 2 + 2 d).
    """

    shares: FloatArray
    samples: FloatArray


class SegmentFolder:
    """The folder `segments/` of an iteration that is being sampled.

    Args:
        folder: its path.
        start: the ensemble before the first round.
        plan: how the iteration is cut into rounds.
    """

    def __init__(self, folder: Path, start: Ensemble, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._start = start
        self._snapshots: list[tuple[float, FloatArray]] = []
        self._wall_s = 0.0
        self._n_repeated = 0
        self._since = time.perf_counter()
        self._unsaved: list[tuple[SegmentResult, ...]] = []

    def load(self) -> Ensemble:
        """The ensemble after the last round that was saved, or the start before the first.

        Raises:
            StoreError: when it is damaged.
        """
        path = self._folder / "ensemble.npz"
        self._since = time.perf_counter()
        if not path.exists():
            return self._start
        stored = read_arrays(path)
        try:
            self._wall_s = float(stored["wall_s"])
            self._n_repeated = int(stored.get("n_repeated", 0))  # older runs do not have it
            self._snapshots = list(
                zip(stored["history_shares"].tolist(), stored["history_samples"], strict=True)
            )
            return _unpack(stored, self._start)
        except (KeyError, ValueError) as error:
            raise StoreError(
                f"{path}: needs the state of {self._plan.n_walkers} walkers, got: {error}"
            ) from error

    def save(self, round_: Round) -> None:
        """Take what a round brought; after `plan.rounds_per_save` of them write it, then the ensemble."""
        index, plan = round_.ensemble.rounds_done, self._plan
        self._unsaved.append(round_.results)
        self._n_repeated += sum(result.repeated for result in round_.results)
        now = time.perf_counter()
        self._wall_s, self._since = self._wall_s + now - self._since, now
        total = round_.ensemble.total
        if total is not None and _is_snapshot(index, plan.n_rounds):
            self._snapshots.append((float(plan.shares[index - 1]), total.samples))
        if index % plan.rounds_per_save and index < plan.n_rounds:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for walker, results in enumerate(zip(*self._unsaved, strict=True)):
            write_arrays(
                self._segment_path((index - 1) // plan.rounds_per_save, walker),
                frames=np.concatenate([result.frames for result in results]),
                lam=np.concatenate([result.lam for result in results]),
                boxes=np.array([result.state.box for result in results]),
            )
        self._unsaved = []
        write_arrays(self._folder / "ensemble.npz", **self._packed(round_.ensemble))

    @property
    def wall_s(self) -> float:
        """Time from the loading of the ensemble to the last round, all sessions together [s]."""
        return self._wall_s

    @property
    def n_repeated(self) -> int:
        """Segments that exploded at first and were repeated with half the time step."""
        return self._n_repeated

    @property
    def history(self) -> History:
        shares = np.array([share for share, _ in self._snapshots], dtype=float)
        return History(shares=shares, samples=np.array([samples for _, samples in self._snapshots]))

    def segments(self) -> Iterator[tuple[NDArray[np.float32], FloatArray]]:
        """Frames and lambda of every segment: walker by walker, each in its order of time."""
        for walker in range(self._plan.n_walkers):
            for index in range(-(-self._plan.n_rounds // self._plan.rounds_per_save)):
                stored = read_arrays(self._segment_path(index, walker))
                yield stored["frames"], stored["lam"]

    def boxes(self) -> FloatArray:
        """Box vectors at the end of every round, shape (n_rounds, n_walkers, 3, 3) [nm]."""
        n_saves = -(-self._plan.n_rounds // self._plan.rounds_per_save)
        walkers = [
            [read_arrays(self._segment_path(index, walker))["boxes"] for index in range(n_saves)]
            for walker in range(self._plan.n_walkers)
        ]
        return np.stack([np.concatenate(pieces) for pieces in walkers], axis=1)

    def _segment_path(self, index: int, walker: int) -> Path:
        return self._folder / f"segment_{index:05d}_walker_{walker:03d}.npz"

    def _packed(self, ensemble: Ensemble) -> dict[str, NDArray[Any]]:
        packed = pack_states(ensemble.states)
        packed["rounds_done"] = np.array(ensemble.rounds_done)
        packed["wall_s"] = np.array(self._wall_s)
        packed["n_repeated"] = np.array(self._n_repeated)
        packed["history_shares"] = self.history.shares
        packed["history_samples"] = self.history.samples
        if ensemble.increments is not None:
            packed["increments"] = np.array([increment.samples for increment in ensemble.increments])
            packed["potentials"] = np.array(ensemble.potentials)
        return packed


def run_saved(
    segments: SegmentFolder,
    plan: Plan,
    executor: Callable[[], Executor],
    bar: Callable[[float], AbstractContextManager[Callable[[float], None]]],
    *,
    per_step: float,
    rule: BiasRule | None = None,
) -> Ensemble:
    """Run the rounds that are not on disk yet, saving each as it ends; the ensemble after the last one.

    Args:
        executor: makes what runs segments; not called when there is nothing left to run.
        bar: opens a progress bar of a length.
        per_step: what a step of all walkers adds to that length.
        rule: as in `run_rounds`.
    """
    ensemble = segments.load()
    if ensemble.rounds_done == plan.n_rounds:
        return ensemble
    lengths = [steps * per_step for steps in plan.segment_steps]
    run = executor()
    with bar(sum(lengths)) as advance:
        advance(sum(lengths[: ensemble.rounds_done]))
        for round_ in run_rounds(ensemble, plan, run, rule=rule):
            segments.save(round_)
            ensemble = round_.ensemble
            advance(lengths[ensemble.rounds_done - 1])
    return ensemble


def pack_states(states: Sequence[WalkerState]) -> dict[str, NDArray[Any]]:
    """The fields of walkers as arrays with the walker as first axis."""
    return {name: np.array([getattr(state, name) for state in states]) for name in _STATE_FIELDS}


def unpack_states(stored: Mapping[str, NDArray[Any]]) -> tuple[WalkerState, ...]:
    """The walkers that `pack_states` packed."""
    return tuple(
        WalkerState(**{name: stored[name][walker] for name in _STATE_FIELDS})
        for walker in range(len(stored["positions"]))
    )


def _unpack(stored: dict[str, FloatArray], start: Ensemble) -> Ensemble:
    states = unpack_states(stored)
    increments, potentials = None, ()
    if start.increments is not None:
        grid = start.increments[0].grid
        increments = tuple(Accumulators(grid=grid, samples=samples) for samples in stored["increments"])
        potentials = tuple(stored["potentials"])
    return Ensemble(
        rounds_done=int(stored["rounds_done"]),
        states=states,
        increments=increments,
        prior=start.prior,
        potentials=potentials,
    )


def _is_snapshot(rounds_done: int, n_rounds: int) -> bool:
    """Whether one of N_SNAPSHOTS equal parts of the iteration ends with this round."""
    return rounds_done * N_SNAPSHOTS // n_rounds > (rounds_done - 1) * N_SNAPSHOTS // n_rounds
