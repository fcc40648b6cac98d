"""What to do next, with the command for it, from what a run has shown."""

import math
import shlex
from collections.abc import Sequence

from aecv.ground.settings import Settings
from aecv.results.story.content import State, Step
from aecv.workflow.free_energies.production import Production
from aecv.workflow.learning.verdict import AFTER_TRIAL, shortfall, unreachable
from aecv.workflow.run_folder.ended import GO_ON, Ended
from aecv.workflow.run_folder.records import IterationRecord, required_score
from aecv.workflow.run_folder.sampled import Sampled

WIDE_KJ_MOL = 1.0
"""Half width of an interval of Delta F from which on more time is worth while: chemical accuracy is 4.2."""


def steps_of_loop(
    records: Sequence[IterationRecord],
    settings: Settings,
    *,
    folder: str,
    state: State,
    converged: bool,
    production: Production | None,
    ended: Ended | None = None,
) -> tuple[Step, ...]:
    """Advice on a run of the loop, the most urgent first."""
    base = ["aecv", "iterate", "--system", settings.system.name, "--out", folder]
    n = settings.run.iterations
    if state == "running":
        return (
            Step(advice="It is still running: this page is written anew after every iteration; reload it."),
        )
    if state == "stopped":
        return (_after_the_end(ended, shlex.join([*base, "--iters", str(n), "--resume"])),)
    if settings.run.trial:
        return (_in_earnest(settings, shlex.join(["aecv", "iterate", "--system", settings.system.name])),)
    steps = []
    more = shlex.join([*base, "--iters", str(n + max(4, n // 2)), "--resume"])
    last = records[-1] if records else None
    disagreement = None if last is None else _restarts(last, settings)
    if not converged and disagreement is None:
        steps.append(Step(advice=f"{_why_not(last, settings)} Run more iterations:", command=more))
    if last is not None and last.problems:
        steps.append(_coverage(last, settings))
    if disagreement is not None:
        steps.append(disagreement)
    steps += _precision(production, settings, base, n)
    if converged:
        steps.append(_another_seed(settings))
        steps.append(
            Step(
                advice="Use the CV elsewhere:",
                command=shlex.join(["aecv", "export", folder, "--to", "plumed", "--out", "plumed"]),
            )
        )
    return tuple(steps)


def _after_the_end(ended: Ended | None, command: str) -> Step:
    """How a run goes on that stopped before its end; the same command only where that may help."""
    if ended is not None and not ended.advice:
        return Step(
            advice=f"The run ended with an error, and the same command would end so again: {ended.message}."
        )
    if ended is not None and GO_ON not in ended.advice:
        return Step(advice=f"The run ended: {ended.message}; {ended.advice}.")
    first = "" if ended is None or ended.advice == GO_ON else f" ({ended.message}). Mend that"
    advice = f"The run stopped before its end{first}. Continue it with the same options and --resume:"
    return Step(advice=advice, command=command)


def steps_of_sample(
    result: Sampled | None, settings: Settings, state: State, ended: Ended | None = None
) -> tuple[Step, ...]:
    """Advice on a run along a given CV."""
    if state == "running":
        return (Step(advice="It is still running: make this page again at its end with aecv report."),)
    if ended is not None and GO_ON not in ended.advice:
        return (_after_the_end(ended, ""),)
    if state == "stopped" or result is None:
        return (
            Step(advice="The run stopped before its end. Continue it with the same command and --resume."),
        )
    if settings.run.trial:
        return (_in_earnest(settings),)
    steps = []
    half = _half(result.delta_f_interval)
    longer = f"--ns {4.0 * result.ns:g}"
    if result.problems:
        steps.append(
            Step(
                advice="The walkers did not cover what is known (see Coverage). Begin a new run (--out) that "
                f"is longer ({longer}), has more walkers (--walkers {2 * settings.sampling.walkers}) or "
                "diverse starts (--starts auto); or choose a CV that tells the basins apart."
            )
        )
    if half is not None and half > WIDE_KJ_MOL:
        steps.append(
            Step(
                advice=f"The interval of Delta F is wide (±{half:.1f} kJ/mol). Half of it takes four times "
                f"the time: begin a new run (--out) with {longer}."
            )
        )
    if not steps:
        steps.append(_another_seed(settings))
    return tuple(steps)


def _in_earnest(settings: Settings, command: str = "") -> Step:
    return Step(
        advice="This was a trial: it shows that the system runs, and its numbers mean nothing yet. Look at "
        f"the structures, the CV and the pictures, then {AFTER_TRIAL}; aecv check "
        f"{settings.system.name} says how long that takes."
        + (" With the settings of the system alone:" if command else ""),
        command=command,
    )


def _why_not(last: IterationRecord | None, settings: Settings) -> str:
    if last is None or last.score is None:
        return "One iteration alone cannot be compared with any."
    if (short := shortfall(last, settings.convergence)) is not None:
        return "The last score, {}, is below {}, {}: the CV still changes.".format(*short)
    if required_score(last, settings.convergence) is None:
        return "When the last iteration was finished, no s_min was looked for: its score cannot be judged."
    if last.problems and settings.convergence.coverage:
        return (
            "The CV repeats itself, but the walkers did not cover what is known, so that this does not count."
        )
    return f"The last score is good, but {settings.convergence.consecutive} in a row are asked for."


def _coverage(last: IterationRecord, settings: Settings) -> Step:
    return Step(
        advice=f"Coverage of iteration {last.index}: {'; '.join(last.problems)}. If more iterations do not "
        f"mend it, begin a new run (--out) with longer iterations (--ns {2 * settings.sampling.ns:g}), more "
        f"walkers (--walkers {2 * settings.sampling.walkers}) or diverse starts (--starts auto)."
    )


def _restarts(last: IterationRecord, settings: Settings) -> Step | None:
    """Autoencoders of the same frames that disagree more than iterations are allowed to."""
    required = unreachable(last, settings.convergence)
    if required is None:
        return None
    return Step(
        advice=f"Autoencoders trained on the same frames agree to {last.restart_score:.3f} only, less than "
        f"iterations need to ({required:.3f}): no number of iterations will do. Give the training more "
        f"frames (--ns), more restarts (--set training.restarts={2 * settings.training.restarts}) or another "
        "number of components (--set autoencoder.latent=...), in a new run."
    )


def _precision(production: Production | None, settings: Settings, base: Sequence[str], n: int) -> list[Step]:
    """A production where there is none, a longer one where its interval is wide."""
    command = [*base, "--iters", str(n), "--final-ns"]
    ns = settings.production_ns
    if production is None:
        longer = 2.0 * settings.sampling.ns
        return [
            Step(
                advice="There is no production: a longer run along the final CV gives the best free "
                "energies.",
                command=shlex.join([*command, f"{longer:g}", "--resume"]),
            )
        ]
    half = _half(production.delta_f_interval)
    if half is None or half <= WIDE_KJ_MOL:
        return []
    return [
        Step(
            advice=f"The interval of Delta F is wide (±{half:.1f} kJ/mol). Half of it takes some four times "
            f"the time: delete {production.folder} and make a longer production.",
            command=shlex.join([*command, f"{4.0 * ns:g}", "--resume"]),
        )
    ]


def _another_seed(settings: Settings) -> Step:
    return Step(
        advice="The starts are all that is known of the basins. A second run with another seed and --out "
        f"(--seed {settings.run.seed + 1}) looks for more, and shows how far results repeat."
    )


def _half(interval: tuple[float, float] | None) -> float | None:
    if interval is None or not all(map(math.isfinite, interval)):
        return None
    return 0.5 * (interval[1] - interval[0])
