"""A run in numbers and words: key numbers, the table of iterations, how far it is."""

from collections.abc import Sequence

from aecv.ground.settings import ConvergenceSettings, Settings
from aecv.results.story.content import State, Table
from aecv.workflow.free_energies.production import Production
from aecv.workflow.run_folder.records import IterationRecord, required_score
from aecv.workflow.run_folder.sampled import Sampled
from aecv.workflow.story.record_table import COLUMNS, UNITS, as_judged, with_error


def table_of(records: Sequence[IterationRecord], settings: ConvergenceSettings) -> Table | None:
    """The table of iterations; None without any."""
    if not records:
        return None
    judged = [as_judged(record, settings) for record in records]
    return Table(
        caption=UNITS,
        columns=tuple((column.name, column.meaning) for column in COLUMNS),
        rows=tuple(tuple(column.cell(record) for column in COLUMNS) for record in judged),
    )


def facts_of_loop(
    records: Sequence[IterationRecord], settings: Settings, production: Production | None
) -> tuple[tuple[str, str], ...]:
    """The numbers at the top, of a run of the loop."""
    if not records:
        return ()
    last = records[-1]
    facts = []
    best = None if production is None else (production.delta_f_kj_mol, production.delta_f_interval)
    if best is None or best[0] is None:
        best = (last.delta_f_kj_mol, last.delta_f_interval)
    if best[0] is not None:
        facts.append(("ΔF", f"{with_error(*best)} kJ/mol"))
    if last.score is not None:
        required = required_score(last, settings.convergence)
        facts.append(("last score", f"{last.score:.3f}" + (f" (needs {required:.3f})" if required else "")))
    if (biased := _biased(last)) is not None:
        facts.append(("biased components", biased))
    ns = sum(record.ns or 0.0 for record in records) + (production.ns if production else 0.0)
    facts.append(("simulated", f"{ns:g} ns"))
    facts.append(("wall time of the iterations", _in_words(sum(record.wall_s or 0.0 for record in records))))
    facts.append(("iterations", f"{len(records)} of {settings.run.iterations}"))
    return tuple(facts)


def facts_of_sample(result: Sampled | None) -> tuple[tuple[str, str], ...]:
    """The numbers at the top, of a run along a given CV."""
    if result is None:
        return ()
    facts = []
    if result.delta_f_kj_mol is not None:
        facts.append(("ΔF", f"{with_error(result.delta_f_kj_mol, result.delta_f_interval)} kJ/mol"))
    facts += [("simulated", f"{result.ns:g} ns"), ("speed", f"{result.steps_per_s:.0f} steps/s")]
    facts += [("frames", f"{result.n_frames}"), ("effective", f"{result.n_effective:.0f}")]
    return tuple(facts)


def verdict_of_sample(result: Sampled | None) -> tuple[str, ...]:
    """What can be said of a run along a given CV."""
    if result is None:
        return ("the result cannot be read",)
    covered = "; ".join(result.problems) or "nothing speaks against it"
    words = [f"sampled along {result.cv}; coverage: {covered}"]
    return tuple([*words, result.cv_note] if result.cv_note else words)


def progress_words(state: State, n_done: int, n_asked: int) -> str:
    """How far a run of the loop is."""
    if state == "running":
        return f"running: {n_done} of {n_asked} iterations done"
    return f"{'stopped after' if state == 'stopped' else 'finished:'} {n_done} of {n_asked} iterations"


def _biased(record: IterationRecord) -> str | None:
    """Which components of the bottleneck are the CV and what they leave out; None where all are."""
    chosen, importances, loss = record.biased_components, record.importances, record.biased_loss
    if chosen is None or importances is None or loss is None or not record.explained_variance < 1.0:
        return None
    variance = record.loss / (1.0 - record.explained_variance)
    names = " and ".join(map(str, sorted(chosen)))
    return (
        f"{names} of {len(importances)}: {1.0 - loss / variance:.0%} of the variance "
        f"(all: {record.explained_variance:.0%})"
    )


def _in_words(seconds: float) -> str:
    """Seconds as people say them."""
    minutes = round(seconds / 60.0)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
