"""What a run has shown, in words: does the CV repeat itself, and was there anything that it could not see?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aecv.ground.settings import ConvergenceSettings
from aecv.ground.shown import Shown
from aecv.workflow.run_folder.records import IterationRecord, converged_at, is_good, required_score


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdict(Shown):
    """The judgement on a run.

    Attributes:
        converged: the score held for as long as asked, coverage showed no problem, and both still hold in
            the last iteration.
        sentences: what it rests on, and what to do next.
    """

    converged: bool
    sentences: tuple[str, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """The sentences without the last one, the advice, which is for a run that is at its end."""
        return self.sentences[:-1]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"converged": self.converged, "sentences": list(self.sentences)}


TRIAL = "trial: lengths too short for conclusions"
"""What is said first of every run with the settings of --quick."""
TOO_SHORT = "no trial is long enough to converge or to cover every basin; what this one missed follows"
"""What is said of its misses."""
AFTER_TRIAL = (
    "begin the run itself with the same command without --quick, and with another --out where that named the "
    "folder of the trial"
)
"""A verdict does not know whether --out was given; without it the run has a folder of its own."""
MOST_MISSES = 3
"""Iterations whose misses a verdict explains, the latest ones."""


def judge(
    records: Sequence[IterationRecord], settings: ConvergenceSettings, *, trial: bool = False
) -> Verdict:
    """The verdict on a run's iterations so far; that of a trial is never that it converged."""
    found = _judged(records, settings)
    if not trial:
        return found
    return Verdict(converged=False, sentences=(TRIAL, TOO_SHORT, *found.findings, AFTER_TRIAL))


def _judged(records: Sequence[IterationRecord], settings: ConvergenceSettings) -> Verdict:
    scored = [record for record in records if record.score is not None]
    if not scored:
        return Verdict(
            converged=False,
            sentences=("one iteration has no score to judge by; run more (--iters 10 --resume)",),
        )
    last, at = scored[-1], converged_at(records, settings)
    holds = at is not None and is_good(last, settings)
    sentences = [_repeats(scored, at, settings), _covers(last)]
    if holds:
        sentences.append("the starts are all that is known of the basins: another seed looks for more")
    else:
        sentences.append(_advice(last, settings))
    return Verdict(converged=holds, sentences=tuple(sentences))


def _repeats(scored: Sequence[IterationRecord], at: int | None, settings: ConvergenceSettings) -> str:
    """What the scores say."""
    last = scored[-1]
    required = required_score(last, settings)
    needed = "not found" if required is None else f"{required:.3f}"
    scores = f"last score {last.score:.3f}, s_min {needed}"
    if at is None:
        n = settings.consecutive
        row = f" in {n} iterations in a row" if n > 1 else ""
        missed = [record for record in scored[-n:] if not is_good(record, settings)]
        return f"not converged{row} ({scores}){_reasons(missed, last, settings)}"
    missed = [record for record in scored if record.index > at and not is_good(record, settings)]
    after = f", missed again in {', '.join(str(record.index) for record in missed)}"
    held = after if missed else " and held since"
    return f"converged at iteration {at}{held} ({scores}){_reasons(missed, last, settings)}"


def _reasons(missed: Sequence[IterationRecord], last: IterationRecord, settings: ConvergenceSettings) -> str:
    """Of the latest iterations that missed, why each did."""
    told = [
        f"iteration {record.index}: {why_missed(record, settings, with_coverage=record is not last)}"
        for record in missed[-MOST_MISSES:]
    ]
    return f"; {'; '.join(told)}" if told else ""


def why_missed(record: IterationRecord, settings: ConvergenceSettings, *, with_coverage: bool = True) -> str:
    """Why an iteration does not count for convergence, with the numbers of table and picture.

    Args:
        with_coverage: whether to repeat what its walkers did not cover.
    """
    reasons, required = [], required_score(record, settings)
    if record.score is None:
        reasons.append("no score")
    elif required is None:
        reasons.append(f"score {record.score:.3f}, but no s_min was looked for when it was finished")
    elif (short := shortfall(record, settings)) is not None:
        reasons.append("score {} is below {}, {}".format(*short))
    if settings.coverage and record.problems:
        reasons.append(f"coverage, {', '.join(record.problems)}" if with_coverage else "coverage")
    return " and ".join(reasons)


def shortfall(record: IterationRecord, settings: ConvergenceSettings) -> tuple[str, str, str] | None:
    """A score that is too low, what it is below, "s_min" or "the floor", and how much that is; else None."""
    required = required_score(record, settings)
    if record.score is None or required is None or record.score >= required:
        return None
    score, needed = _apart(record.score, required)
    is_floor = settings.s_min == "bootstrap" and required == settings.floor
    return score, "the floor" if is_floor else "s_min", needed


def _apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as tell them apart, three at least."""
    for digits in range(3, 9):
        texts = f"{one:.{digits}f}", f"{other:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts


def unreachable(last: IterationRecord, settings: ConvergenceSettings) -> float | None:
    """The score that iterations need, where trainings on the same frames agree less than that; else None."""
    required = required_score(last, settings) or settings.floor
    return required if last.restart_score is not None and last.restart_score < required else None


def _covers(last: IterationRecord) -> str:
    """What coverage says of the last iteration."""
    if not last.problems:
        return f"coverage of iteration {last.index}: nothing speaks against it"
    return f"coverage of iteration {last.index}: " + "; ".join(last.problems)


def _advice(last: IterationRecord, settings: ConvergenceSettings) -> str:
    if (needed := unreachable(last, settings)) is not None:
        return (
            f"trainings on the same frames agree to {last.restart_score:.3f} only, less than iterations need "
            f"to ({needed:.3f}), and no number of iterations will do: begin a new run (--out) with more "
            "frames (--ns), more training.restarts or another autoencoder.latent"
        )
    if last.problems:
        return (
            "continue with a larger --iters and --resume; or begin a new run (--out) with longer iterations "
            "(--ns), more walkers (sampling.walkers) or diverse starts (--starts auto)"
        )
    return "continue with a larger --iters and --resume"
