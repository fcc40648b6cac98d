"""A run's folder as the story that its report tells; nothing is simulated, built or changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from aecv.ground.errors import AecvError, StoreError, first_line
from aecv.ground.layers import to_toml
from aecv.results.story.content import FreeEnergies, History, State, Story
from aecv.workflow.free_energies.exact import read_exact_delta_f
from aecv.workflow.free_energies.production import Production, folder_name
from aecv.workflow.learning.verdict import TRIAL, judge
from aecv.workflow.run_folder.ended import FILE_NAME as ENDED
from aecv.workflow.run_folder.ended import Ended, read_end
from aecv.workflow.run_folder.in_use import is_in_use
from aecv.workflow.run_folder.reader import RunReader
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.sampled import STARTS, Sampled, is_sample_run
from aecv.workflow.run_folder.stage_records import damages
from aecv.workflow.run_folder.store import ALONG, name_of
from aecv.workflow.run_folder.timing import Timing
from aecv.workflow.story.described import repeating, setting_groups
from aecv.workflow.story.energies import Source, chosen_sources, numbers_in, read_energies
from aecv.workflow.story.history import history_of, read_training
from aecv.workflow.story.status import first_unfinished
from aecv.workflow.story.steps import steps_of_loop, steps_of_sample
from aecv.workflow.story.structures import read_structures
from aecv.workflow.story.walkers import read_walkers
from aecv.workflow.story.words import (
    facts_of_loop,
    facts_of_sample,
    progress_words,
    table_of,
    verdict_of_sample,
)

T = TypeVar("T")


def read_story(run: Path, state: State | None = None) -> Story:
    """What a run has come to.

    Args:
        run: its folder.
        state: whether it goes on, where the caller knows; None: whether a process holds it, and what is done.

    Raises:
        StoreError: when the folder holds no run, or run.json cannot be used. Of any other file that is
            damaged the part is left out, and `Story.missing` tells.
    """
    if not (run / "run.json").is_file():
        raise StoreError(f"{run}: holds no run (no run.json); name the folder that --out was given")
    return _Reader(RunReader(run, any_format=True), state).read()


class _Reader:
    """One reading: the run, and what could not be read."""

    def __init__(self, stages: RunReader, state: State | None) -> None:
        self._run, self._stages = stages.path, stages
        self._manifest, self._settings = stages.manifest, stages.settings
        self._state = state
        self._missing: list[str] = []

    def read(self) -> Story:
        """The story of either kind of run."""
        story = self._sampled() if is_sample_run(self._run) else self._iterated()
        told = " ".join(self._missing)
        rest = [words for words in damages(self._run) if words.partition(":")[0] not in told]
        return replace(story, missing=(*self._stages.gaps, *self._missing, *rest))

    def _iterated(self) -> Story:
        settings = self._settings
        records = self._records()
        production = self._production(records)
        verdict = judge(records, settings.convergence, trial=settings.run.trial)
        state = self._state or self._found_state(records)
        starts = self._run / name_of(0)
        sources = [
            Source(folder=self._run / name_of(record.index), name=f"iteration {record.index}")
            for record in records[1:]
        ]
        if production is not None:
            sources.append(Source(folder=self._run / production.folder, name="production"))
        latest = sources[-1] if sources else None
        ended = self._part(ENDED, lambda: read_end(self._run)) if state == "stopped" else None
        story = self._frame(
            what="Iterative learning of a collective variable",
            state=state,
            state_words=progress_words(state, len(records), settings.run.iterations),
            cv=None,
        )
        energies, left_out = self._energies(sources)
        return replace(
            story,
            converged=verdict.converged if len(records) > 1 else None,
            # the advice is given by the steps, with its command; that it is a trial has a place of its own
            verdict=_with_end(
                ended,
                verdict.findings[int(settings.run.trial) :]
                if len(records) > 1
                else ("nothing to judge yet",),
            ),
            steps=steps_of_loop(
                records,
                settings,
                folder=str(self._run),
                state=state,
                converged=verdict.converged,
                production=production,
                ended=ended,
            ),
            facts=self._part("key numbers", lambda: facts_of_loop(records, settings, production)) or (),
            table=self._part("table", lambda: table_of(records, settings.convergence)),
            iterations=tuple(record.index for record in records),
            history=self._part("history of the iterations", lambda: self._history(records, production)),
            energies=energies,
            left_out_energies=left_out,
            training=None
            if not records
            else self._part("training", lambda: read_training(self._run, records[-1].index)),
            walkers=None
            if latest is None
            else self._part("walkers", lambda: read_walkers(latest, starts, settings)),
            structures=None
            if latest is None
            else self._part("structures", lambda: read_structures(latest, settings)),
        )

    def _sampled(self) -> Story:
        folder, settings = self._run / ALONG, self._settings
        is_done = self._stages.is_done(ALONG, "analysis")
        result = self._part("result", lambda: Sampled.load(folder)) if is_done else None
        name = f"along {result.cv}" if result else "along the given CV"
        source = Source(folder=folder, name=name)
        state = self._state or self._found_state(())
        story = self._frame(
            what=f"Extended ABF {name}",
            state=state,
            state_words={"running": "running", "stopped": "not finished", "finished": "finished"}[state],
            cv=result.cv if result else "WHAT",
        )
        if not is_done:
            ended = self._part(ENDED, lambda: read_end(self._run)) if state == "stopped" else None
            steps = steps_of_sample(None, settings, state, ended)
            return replace(story, verdict=_with_end(ended, ("nothing to judge yet",)), steps=steps)
        energies, _ = self._energies([source])
        return replace(
            story,
            verdict=verdict_of_sample(result),
            steps=steps_of_sample(result, settings, state),
            facts=facts_of_sample(result),
            energies=energies,
            walkers=self._part("walkers", lambda: read_walkers(source, self._run / STARTS, settings)),
            structures=self._part("structures", lambda: read_structures(source, settings)),
        )

    def _frame(self, *, what: str, state: State, state_words: str, cv: str | None) -> Story:
        """What stories of both kinds share."""
        manifest, settings = self._manifest, self._settings
        region = settings.delta_f
        facts = [
            (name, str(value))
            for name, value in (
                ("OpenMM platform", manifest.platform),
                ("random seed", manifest.seed),
                ("hash of the system's files", manifest.system_hash),
                ("format of the folder", manifest.format),
            )
            if value not in ("", None)
        ]
        return Story(
            system=settings.system.name,
            description=settings.system.description,
            what=what,
            folder=str(self._run),
            state=state,
            state_words=state_words,
            written=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            converged=None,
            verdict=(),
            steps=(),
            facts=(),
            settings=setting_groups(settings),
            toml=to_toml(settings),
            region=f"{region.lower:g} < {region.observable} < {region.upper:g}" if region else "",
            trial=TRIAL if settings.run.trial else "",
            versions=(*manifest.versions.items(), *facts),
            learns=cv is None,
            command=repeating(manifest, settings, cv, given_frames=self._has_given_frames()),
        )

    def _has_given_frames(self) -> bool:
        """Whether iteration 0 took a user's frames in place of dynamics."""
        folder = self._run / name_of(0)
        if not (folder / "timing.json").is_file():
            return False
        timing = self._part(f"{folder.name}/timing.json", lambda: Timing.load(folder))
        return timing is not None and not timing.simulated

    def _found_state(self, records: Sequence[IterationRecord]) -> State:
        if is_in_use(self._run):
            return "running"
        is_whole = len(records) == len(self._stages.iterations) and not self._stages.missing
        return "finished" if is_whole and first_unfinished(self._stages, records) is None else "stopped"

    def _records(self) -> list[IterationRecord]:
        """Of the finished iterations, from the first one on without a gap."""
        records: list[IterationRecord] = []
        while self._stages.is_done(len(records), "learning"):
            folder = self._run / name_of(len(records))
            record = self._part(
                f"{folder.name}/record.json", partial(IterationRecord.load, folder, any_format=True)
            )
            if record is None:
                break
            records.append(record)
        return records

    def _production(self, records: Sequence[IterationRecord]) -> Production | None:
        """That along the CV of the last iteration; an older one tells of a shorter run."""
        folder = self._run / folder_name(records[-1].index) if records else None
        if folder is None or not self._stages.is_done(folder.name, "analysis"):
            return None
        return self._part(f"{folder.name}/production.json", lambda: Production.load(folder, any_format=True))

    def _history(self, records: Sequence[IterationRecord], production: Production | None) -> History | None:
        """Numbers per iteration; None for less than two."""
        if len(records) < 2:
            return None
        exact = read_exact_delta_f(self._run / name_of(records[-1].index))
        return history_of(records, self._settings.convergence, production=production, exact=exact)

    def _energies(self, sources: Sequence[Source]) -> tuple[tuple[FreeEnergies, ...], str]:
        """Places with their maps, as many as the page has room for."""
        if not sources:
            return (), ""
        last = self._part(sources[-1].name, lambda: read_energies(sources[-1], self._settings))
        kept = chosen_sources(len(sources), numbers_in(last) if last else 0)
        found = [
            self._part(sources[k].name, partial(read_energies, sources[k], self._settings)) for k in kept[:-1]
        ]
        words = ""
        if len(kept) < len(sources):
            words = (
                f"{len(kept)} of {len(sources)} are shown, to keep the page small; the others are in the "
                "run's folder, in iteration_*/fes_*.dat"
            )
        return tuple(place for place in (*found, last) if place is not None), words

    def _part(self, what: str, read: Callable[[], T]) -> T | None:
        """A part of the story, or None and a note."""
        try:
            return read()
        except AecvError as error:
            self._missing.append(f"{what}: {error}")
        except Exception as error:
            # a file that another program touched may hold anything; the rest is worth having
            self._missing.append(f"{what}: cannot be read ({type(error).__name__}: {first_line(error)})")
        return None


def _with_end(ended: Ended | None, sentences: tuple[str, ...]) -> tuple[str, ...]:
    """The verdict of a run that did not come to its end: first what ended it."""
    return sentences if ended is None else (f"ended early: {ended.message}", *sentences)
