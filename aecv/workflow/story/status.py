"""How far a run has come, read from its folder without touching it: it may be running at this moment."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aecv.ground.settings import ConvergenceSettings, Settings
from aecv.ground.shown import Shown
from aecv.sampling.starting.pieces import (
    EQUILIBRATION_TITLES,
    HOT,
    HOT_HALF,
    MINIMUM,
    PIECES,
    equilibration_parts,
    n_minima,
)
from aecv.workflow.learning.verdict import TRIAL, Verdict, judge
from aecv.workflow.run_folder.ended import Ended, read_end
from aecv.workflow.run_folder.in_use import is_in_use
from aecv.workflow.run_folder.reader import RunReader
from aecv.workflow.run_folder.records import IterationRecord, converged_at, records_dataframe
from aecv.workflow.run_folder.sampled import STARTS, is_sample_run
from aecv.workflow.run_folder.stage_records import damages
from aecv.workflow.run_folder.store import ALONG, name_of
from aecv.workflow.story.history import history_of


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a stage: how much of it is done, in some unit."""

    name: str
    done: float
    total: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Work that is not finished.

    Attributes:
        place: folder.
        name: "starts", "sampling", "learning" or "analysis".
        done_ns, total_ns: simulated time so far and in the end; None for a stage without.
        remaining_s: at the speed so far [s]; None where that is not known.
        parts: of the search for starts and the equilibration, in the order of the work.
    """

    place: str
    name: str
    done_ns: float | None = None
    total_ns: float | None = None
    remaining_s: float | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Status(Shown):
    """How far a run has come.

    Attributes:
        system: its name.
        state: "running", "stopped" or "finished".
        n_finished, n_asked: iterations; 0 of 0 for a run along a given CV.
        stage: what is or was being worked on; None for a finished run.
        records: of the finished iterations.
        converged: whether the CV repeats itself; None before there is a score.
        sentences: the verdict so far; its advice is for a run that is finished.
        ended: what ended a run that stopped; None where it was killed, and for any other.
        idle_s: since something was last written [s].
        convergence: the settings that the verdict goes by.
        damaged: files of finished stages that are missing, cut off or changed, a sentence each.
    """

    system: str
    state: str
    n_finished: int
    n_asked: int
    stage: Stage | None
    records: tuple[IterationRecord, ...]
    converged: bool | None
    sentences: tuple[str, ...]
    idle_s: float
    convergence: ConvergenceSettings
    ended: Ended | None = None
    damaged: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = asdict(replace(self, records=())) | {"records": [record.as_dict() for record in self.records]}
        return {name: value for name, value in plain.items() if name != "convergence"}

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame, a row per finished iteration: the fields of `IterationRecord`.

        Raises:
            MissingPackageError: without pandas.
        """
        return records_dataframe(self.records)

    def plot(self) -> Any:
        """A matplotlib Figure: the scores of the iterations, and what they have to reach."""
        from aecv.results.plots import score_history

        return score_history(history_of(self.records, self.convergence))

    def __repr__(self) -> str:
        where = "" if self.stage is None else f", {self.stage.name} of {self.stage.place}"
        done = f", {self.n_finished} of {self.n_asked} iterations" if self.n_asked else ""
        return f"Status of {self.system}: {self.state}{done}{where}"


def status(path: Path | str) -> Status:
    """How far a run has come: its iterations, what it works on, and the verdict so far.

    Args:
        path: its folder.

    Raises:
        StoreError: when there is no run, or a file of it is damaged.

    Example:
        >>> import aecv
        >>> aecv.status("runs/ala2")
        Status of ala2: finished, 3 of 3 iterations
    """
    run = RunReader(Path(path))
    records = tuple(_records(run))
    stage = first_unfinished(run, records)
    state = "running" if is_in_use(run.path) else "stopped" if stage else "finished"
    is_trial = run.settings.run.trial
    verdict = judge(records, run.settings.convergence, trial=is_trial) if records else None
    scored = any(record.score is not None for record in records)
    return Status(
        system=run.settings.system.name,
        state=state,
        n_finished=len(records),
        n_asked=0 if is_sample_run(run.path) else run.settings.run.iterations,
        stage=stage,
        records=records,
        converged=verdict.converged if verdict and scored else None,
        sentences=_sentences(verdict, is_whole=stage is None, is_trial=is_trial),
        ended=read_end(run.path) if state == "stopped" else None,
        idle_s=_idle(run.path),
        convergence=run.settings.convergence,
        damaged=(*run.gaps, *damages(run.path)),
    )


def _sentences(verdict: Verdict | None, *, is_whole: bool, is_trial: bool) -> tuple[str, ...]:
    """The verdict so far; advice is for a run at its end."""
    if verdict is None:
        return (TRIAL,) if is_trial else ()
    return verdict.sentences if is_whole else verdict.findings


def _records(run: RunReader) -> Iterator[IterationRecord]:
    for iteration in run.iterations:
        yield IterationRecord.load(run.iteration_dir(iteration))


def first_unfinished(run: RunReader, records: Sequence[IterationRecord]) -> Stage | None:
    """The first stage that is not finished, in the order of the work."""
    for place, name, total in _stages(run, records):
        if run.is_done(place, name):
            continue
        label = name_of(place)
        if name == "sampling":
            return _sampling(run, label, total)
        parts = _parts(run.settings, run.iteration_dir(place) / PIECES) if name == "starts" else ()
        return Stage(place=label, name=name, parts=parts)
    return None


def _parts(settings: Settings, folder: Path) -> tuple[Part, ...]:
    """How far the starts are, by their pieces; those of the search are all there once it has its result."""
    is_found = (folder / "found.npz").is_file()
    search = [(MINIMUM, "minimising", n_minima(settings), float(n_minima(settings)), "structures")]
    if settings.starts.mode == "auto":
        hot = HOT_HALF if any(folder.glob(f"{HOT_HALF}_*")) else HOT
        search.insert(0, (hot, "hot run", settings.starts.candidates, settings.starts.hot_ps, "ps"))
    parts = []
    for kind, name, n, total, unit in search:
        n_done = n if is_found else len(list(folder.glob(f"{kind}_[0-9]*.npz")))
        parts.append(Part(name=name, done=total * min(1.0, n_done / n), total=total, unit=unit))
    for part in equilibration_parts(settings):
        share = len(list((folder / part.stage).glob("segment_*_walker_000.npz"))) / part.n_rounds
        name = EQUILIBRATION_TITLES[part.stage]
        parts.append(Part(name=name, done=share * part.length_ps, total=part.length_ps, unit="ps"))
    return tuple(parts)


def _stages(run: RunReader, records: Sequence[IterationRecord]) -> Iterator[tuple[int | str, str, float]]:
    """Place, stage and simulated time [ns] of everything that the settings ask for, as the loop does it."""
    settings = run.settings
    if is_sample_run(run.path):
        yield STARTS, "starts", 0.0
        yield ALONG, "sampling", settings.sampling.ns
        yield ALONG, "analysis", 0.0
        return
    yield 0, "starts", 0.0
    for iteration in range(settings.run.iterations):
        yield iteration, "sampling", settings.sampling.ns
        yield iteration, "learning", 0.0
        known = records[: iteration + 1]
        stops = settings.convergence.stop and iteration + 1 >= len(records)
        if stops and converged_at(known, settings.convergence) is not None:
            break
    ns = settings.production_ns
    if ns:
        name = f"production_{(run.iterations or [0])[-1]:02d}"
        yield name, "sampling", ns
        yield name, "analysis", 0.0


def _sampling(run: RunReader, place: str, total_ns: float) -> Stage:
    """A sampling that is under way, by the files of its segments."""
    sampling = run.settings.sampling
    segments = run.iteration_dir(place) / "segments"
    written = sorted(segments.glob("segment_*_walker_000.npz"))
    done = min(total_ns, len(written) * sampling.segment_ps * sampling.walkers / 1000.0)
    remaining = None
    if len(written) > 1:
        first, last = _written(written[0]), _written(written[-1])
        per_segment = (last - first) / (len(written) - 1)
        n_left = (total_ns - done) * 1000.0 / (sampling.segment_ps * sampling.walkers)
        remaining = per_segment * n_left if per_segment > 0 else None
    return Stage(place=place, name="sampling", done_ns=done, total_ns=total_ns, remaining_s=remaining)


def _idle(path: Path) -> float:
    """Since the newest file was written [s]; a clock that was set back gives 0."""
    try:
        newest = max((_written(item) for item in path.rglob("*")), default=time.time())
    except FileNotFoundError:  # a folder that a running process has just removed
        return 0.0
    return max(0.0, time.time() - newest)


def _written(item: Path) -> float:
    try:
        return item.stat().st_mtime
    except OSError:  # a running process has just replaced it
        return 0.0
