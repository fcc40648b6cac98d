"""What a command prints when it is done."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from aecv.commands.console import table_header, table_line
from aecv.ground.printable import one_line
from aecv.ground.progress import duration, roughly
from aecv.ground.settings import Settings
from aecv.workflow.learning.verdict import TRIAL
from aecv.workflow.run_folder.ended import GO_ON
from aecv.workflow.story.record_table import as_judged, with_error

if TYPE_CHECKING:  # a look at a run shall not wait for OpenMM and PyTorch
    from aecv.models.cvs.cv import CV
    from aecv.workflow.learning.next_cv import Trained
    from aecv.workflow.loop import Outcome
    from aecv.workflow.planning.catalogue import Entry
    from aecv.workflow.profiles import FreeEnergy
    from aecv.workflow.run_folder.ended import Ended
    from aecv.workflow.run_folder.sampled import Sampled
    from aecv.workflow.story.status import Stage, Status
    from aecv.workflow.study.offline import Score

_CROSSING = "into and out of the region of dF"


def closing_words(outcome: "Outcome") -> str:
    """The verdict in a few lines, and what the production gave."""
    lines = [one_line(sentence) for sentence in outcome.verdict.sentences]
    made = outcome.production
    if made is not None and made.delta_f_kj_mol is not None:
        value = with_error(made.delta_f_kj_mol, made.delta_f_interval)
        alone = with_error(made.delta_f_alone_kj_mol, made.delta_f_alone_interval)
        lines.append(
            f"production, {made.ns:g} ns along the CV of iteration {made.cv_iteration}: dF {value} kJ/mol "
            f"(95 %) together with the iterations, {alone} alone, {_passages(made.passages)}"
        )
    elif made is not None:
        lines.append(
            f"production, {made.ns:g} ns along the CV of iteration {made.cv_iteration}: its free energies "
            f"are in {made.folder}"
        )
    if made is not None and made.problems:
        lines.append(one_line("coverage of the production: " + "; ".join(made.problems)))
    return "\n".join(lines)


def sampled_table(result: "Sampled", settings: Settings) -> str:
    """What came of a run along a given CV, a line each."""
    region, walkers = settings.delta_f, settings.sampling.walkers
    rows = [
        *([("verdict", TRIAL)] if settings.run.trial else []),
        ("CV", result.cv),
        ("simulated", f"{result.ns:g} ns over {walkers} walkers, {result.steps_per_s:.0f} steps/s"),
        ("frames", f"{result.n_frames} under the frozen bias, {result.n_effective:.0f} effective"),
    ]
    if region is not None:
        what = f"F({region.lower:g} < {region.observable} < {region.upper:g}) - F(elsewhere)"
        value = with_error(result.delta_f_kj_mol, result.delta_f_interval)
        sure = result.delta_f_kj_mol is not None and math.isfinite(result.delta_f_kj_mol)
        rows.append(("dF", f"{value} kJ/mol ({'95 %' if sure else 'a side without frames'}), {what}"))
    if result.passages is not None:
        rows.append(("passages", f"{result.passages} {_CROSSING}"))
    problems = result.problems or ("no problem found",)
    rows += [("coverage" if index == 0 else "", problem) for index, problem in enumerate(problems)]
    rows.append(("results", f"{result.folder}: fes_xi.dat, sampled.json, ...; pictures/ beside it"))
    return "\n".join(f"{name:<10} {one_line(text)}" for name, text in rows)


def _passages(n: int | None) -> str:
    """Those of the region of dF; pictures/production_walkers.png shows those between the starts' basins."""
    return f"{n} passage{'' if n == 1 else 's'} {_CROSSING}"


def status_text(run: Path, found: "Status") -> str:
    """How far a run has come, a few lines."""
    lines = [one_line(f"{run}: {found.system}, {found.state}")]
    if found.n_asked:
        lines[0] += f", {found.n_finished} of {found.n_asked} iterations"
    if found.stage is not None:
        lines.append(_stage_text(found.stage, is_running=found.state == "running"))
    if found.state == "running":
        lines.append(f"last written {duration(found.idle_s)} ago")
    elif found.state == "stopped":
        lines += _end_lines(found.ended)
    if found.damaged:
        lines.append("damaged; --resume makes again what it can:")
        lines += [f"  {one_line(words)}" for words in found.damaged]
    if found.records:
        lines += [
            table_header(),
            *(table_line(as_judged(record, found.convergence)) for record in found.records),
        ]
    lines += [one_line(sentence) for sentence in found.sentences]
    return "\n".join(lines)


def _end_lines(ended: "Ended | None") -> list[str]:
    """What ended a run, and what to do where that does not say it."""
    if ended is None:
        return [GO_ON]
    told = one_line(f"ended {ended.when}: {ended.message}")
    return [told, one_line(ended.advice)] if ended.advice else [told]


def _stage_text(stage: "Stage", *, is_running: bool) -> str:
    text = f"{'now' if is_running else 'next'}: {stage.name} of {stage.place}"
    if stage.total_ns is not None and stage.done_ns is not None:
        text += f", {stage.done_ns:.3g} of {stage.total_ns:.3g} ns"
    if stage.parts:
        parts = [f"{part.name} {part.done:.4g} of {part.total:.4g} {part.unit}" for part in stage.parts]
        text += f": {', '.join(parts)}"
    if stage.remaining_s is not None:
        text += f", about {duration(stage.remaining_s)} left of it"
    return text


def free_energy_text(found: "FreeEnergy") -> str:
    """What the profile is made of, and Delta F."""
    place = f"iteration {found.place}" if isinstance(found.place, int) else found.place
    what = f"{place} alone" if found.alone else f"{place} and what is pooled with it"
    lines = [f"F along {', '.join(found.names)} from {found.n_frames} frames of {what}"]
    if found.missing:
        lines.append(f"{found.missing} is not there: what is there of this stage and later ones is not used")
    lines.append(_bins_text(found))
    if found.delta_f is not None:
        value = float(found.delta_f.estimate)
        interval = (float(found.delta_f.lower), float(found.delta_f.upper))
        lines.append(f"dF {with_error(value, interval)} kJ/mol (95 %)")
    return "\n".join(lines)


def _bins_text(found: "FreeEnergy") -> str:
    """How many bins are known, and what is not known of the others."""
    parts = [f"{found.n_known} of {found.profile.estimate.size} bins are known"]
    if found.n_unknown:
        least = f"{found.least_visits:g} effective visits"
        parts.append(
            f"{found.n_unknown} that frames reached are not: fewer than {least} (free_energy.least_visits)"
        )
    if found.n_without_error:
        parts.append(f"of {found.n_without_error} of the known ones the error is not known")
    return "; ".join(parts)


def learned_text(cv: "CV") -> str:
    """What a CV is a function of."""
    d = cv.n_components
    return f"{d} component{'' if d == 1 else 's'}, of {3 * cv.n_atoms} coordinates of {cv.n_atoms} atoms"


def trained_text(trained: "Trained") -> str:
    """Frames, loss and how alike the restarts are."""
    explained = 1.0 - trained.loss / trained.autoencoder.variance
    return "\n".join(
        [
            f"{trained.n_frames} frames, {trained.n_effective:.0f} effective",
            f"loss {trained.loss:.3e} nm^2 on frames held out, {explained:.1%} of the variance explained",
            _restarts_text(trained),
        ]
    )


def _restarts_text(trained: "Trained") -> str:
    """How alike the restarts are, where there are several."""
    if len(trained.autoencoder.losses) < 2:
        return "restarts: one alone, so that how far the CV depends on its start is not known"
    score = trained.choice.score
    alike = (
        "no other good one to compare the chosen one with"
        if score is None
        else f"median score of the chosen one with the other good ones {score:.3f}"
    )
    return f"restarts: worst loss over best {trained.loss_spread:.3f}, {alike}"


def score_text(found: "Score") -> str:
    """The scores, a line each."""
    parts = ", ".join(f"{value:.4f}" for value in found.components)
    return "\n".join(
        [
            f"score        {found.score:.4f}   of the components {parts}",
            f"unweighted   {found.unweighted:.4f}",
            f"nonlinear    {found.nonlinear:.4f}   any function, nearest neighbours out of sample",
            f"reverse      {found.reverse:.4f}   OLD regressed on NEW",
            f"frames       {found.n_frames}, {found.n_effective:.0f} effective",
        ]
    )


def system_text(entry: "Entry") -> str:
    """A system of the list, in some lines."""
    rows = []
    if (contents := entry.contents) is not None:
        kind = "atom" if contents.n_atoms == 1 else "atoms"
        rows.append(("forces", f"{contents.forces}; {contents.surroundings}"))
        if contents.solvents:
            rows.append(("solvents", f"--set solvent=NAME, one of {', '.join(contents.solvents)}"))
        rows += [
            (
                "atoms",
                f"{contents.n_atoms} {kind}, the CV sees {contents.n_cv_atoms} ({contents.cv_atoms}) and has "
                f"{contents.n_components} component{'' if contents.n_components == 1 else 's'}",
            ),
            ("platform", contents.platform + _speed_text(entry)),
        ]
    if entry.times is not None:
        times = entry.times
        rows.append(
            (
                "a run",
                f"{entry.iterations} iterations of {entry.ns:g} ns and a production of "
                f"{times.production_ns:g} ns, {entry.walkers} walkers on {times.processes} "
                f"process{'es' if times.processes > 1 else ''}: about {roughly(times.total)} "
                "of dynamics, without bias and training",
            )
        )
    optional = (("expect", entry.expect), ("note", entry.note), ("error", entry.error))
    rows += [(name, text) for name, text in optional if text]
    title = one_line(f"{entry.name}: {entry.description}")
    return "\n".join([title, *(f"  {name:<10}{one_line(text)}" for name, text in rows)])


def _speed_text(entry: "Entry") -> str:
    return "" if entry.times is None else f", {entry.times.steps_per_s:.0f} steps/s in one process"
