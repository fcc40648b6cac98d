"""What a run has shown, in words: does the CV repeat itself, and was there anything that it could not see?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aecv.ground.settings import ConvergenceSettings
from aecv.ground.shown import Shown
from aecv.workflow.records import IterationRecord, converged_at, is_good, required_score


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

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"converged": self.converged, "sentences": list(self.sentences)}


def judge(records: Sequence[IterationRecord], settings: ConvergenceSettings) -> Verdict:
    """The verdict on a run's iterations so far."""
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
        row = f" in {settings.consecutive} iterations in a row" if settings.consecutive > 1 else ""
        return f"not converged{row} ({scores})"
    missed = [record.index for record in scored if record.index > at and not is_good(record, settings)]
    after = f", missed again in {', '.join(map(str, missed))}" if missed else " and held since"
    return f"converged at iteration {at}{after} ({scores})"


def _covers(last: IterationRecord) -> str:
    """What coverage says of the last iteration."""
    if not last.problems:
        return f"coverage of iteration {last.index}: nothing speaks against it"
    return f"coverage of iteration {last.index}: " + "; ".join(last.problems)


def _advice(last: IterationRecord, settings: ConvergenceSettings) -> str:
    if last.problems:
        return (
            "continue with a larger --iters and --resume; or begin a new run (--out) with longer iterations "
            "(--ns), more walkers (sampling.walkers) or diverse starts (--starts auto)"
        )
    return "continue with a larger --iters and --resume"
