"""The judgement on a run, case by case."""

from dataclasses import replace

import pytest

from aecv.ground.settings import ConvergenceSettings
from aecv.molecules.spec import load_system
from aecv.workflow.learning.verdict import TRIAL, judge
from aecv.workflow.run_folder.records import IterationRecord, required_score
from aecv.workflow.story.steps import steps_of_loop
from aecv.workflow.story.words import table_of
from tests.workflow.hand import record

MISSED = "hardly entered from elsewhere: the basin of start 1 (0 times)"
LOOK = "the starts are all that is known of the basins: another seed looks for more"
GO_ON = "continue with a larger --iters and --resume"


def run(*scores: float, problems_in: tuple[int, ...] = ()) -> list[IterationRecord]:
    """Iteration 0 and one for every score, each with the threshold 0.98."""
    return [
        record(0),
        *(
            record(k, score, 0.98, problems=(MISSED,) if k in problems_in else ())
            for k, score in enumerate(scores, 1)
        ),
    ]


def test_a_run_without_a_score_is_not_judged() -> None:
    verdict = judge(run(), ConvergenceSettings())
    assert not verdict.converged
    assert verdict.sentences == ("one iteration has no score to judge by; run more (--iters 10 --resume)",)


def test_converged_and_held() -> None:
    verdict = judge(run(0.9, 0.99, 0.985, 0.991), ConvergenceSettings())
    assert verdict.converged
    assert verdict.sentences == (
        "converged at iteration 3 and held since (last score 0.991, s_min 0.980)",
        "coverage of iteration 4: nothing speaks against it",
        LOOK,
    )
    assert verdict.as_dict() == {"converged": True, "sentences": list(verdict.sentences)}


def test_a_trial_is_followed_by_a_run_in_another_folder() -> None:
    """The same command with the trial's --out finds a run there, and with --resume goes on with the trial."""
    verdict = judge(run(0.99, 0.99), ConvergenceSettings(), trial=True)
    assert not verdict.converged
    assert verdict.sentences[0] == TRIAL
    assert verdict.sentences[1].endswith("; what this one missed follows")  # not a next step
    advice = "without --quick, and with another --out where that named the folder of the trial"
    assert verdict.sentences[-1].endswith(advice)
    settings = load_system("ala2", overrides=["run.trial=true"]).settings
    (step,) = steps_of_loop(
        run(0.99), settings, folder="mine", state="finished", converged=False, production=None
    )
    assert advice in step.advice
    assert step.command == "aecv iterate --system ala2"


def test_missed_again_in_the_end_is_not_converged() -> None:
    verdict = judge(run(0.99, 0.99, 0.97), ConvergenceSettings())
    assert not verdict.converged
    assert verdict.sentences[0] == (
        "converged at iteration 2, missed again in 3 (last score 0.970, s_min 0.980); "
        "iteration 3: score 0.970 is below s_min, 0.980"
    )
    assert verdict.sentences[-1] == GO_ON


def test_a_miss_that_was_made_up_for_is_told() -> None:
    verdict = judge(run(0.99, 0.99, 0.97, 0.99, 0.99), ConvergenceSettings())
    assert verdict.converged
    assert verdict.sentences[0].startswith("converged at iteration 2, missed again in 3 (")


def test_good_scores_with_problems_of_coverage_are_not_converged() -> None:
    """A CV that never saw a basin repeats itself perfectly."""
    verdict = judge(run(0.999, 0.999, problems_in=(1, 2)), ConvergenceSettings())
    assert not verdict.converged
    assert verdict.sentences[0].startswith("not converged in 2 iterations in a row (last score 0.999")
    assert verdict.sentences[1] == f"coverage of iteration 2: {MISSED}"
    assert "--ns" in verdict.sentences[2]
    assert "--starts auto" in verdict.sentences[2]


def test_a_problem_in_between_begins_the_row_anew() -> None:
    records = run(0.99, 0.99, 0.99, problems_in=(2,))
    assert not judge(records, ConvergenceSettings()).converged
    assert judge(records, ConvergenceSettings(consecutive=1)).converged
    # and one in the last iteration ends what had held
    late = judge(run(0.99, 0.99, 0.99, problems_in=(3,)), ConvergenceSettings())
    assert not late.converged
    assert late.sentences[0].startswith("converged at iteration 2, missed again in 3")


def test_coverage_may_be_left_out_of_the_judgement_but_is_told() -> None:
    verdict = judge(run(0.99, 0.99, problems_in=(1, 2)), ConvergenceSettings(coverage=False))
    assert verdict.converged
    assert verdict.sentences[1] == f"coverage of iteration 2: {MISSED}"


@pytest.mark.parametrize(
    ("consecutive", "words"),
    [
        (1, "not converged (last score 0.900, s_min 0.950)"),
        (3, "not converged in 3 iterations in a row ("),
    ],
)
def test_a_score_below_the_floor_has_the_floor_as_threshold(consecutive: int, words: str) -> None:
    """No s_min was looked for, as the table, the picture and the report tell."""
    verdict = judge([record(0), record(1, 0.9, None)], ConvergenceSettings(consecutive=consecutive))
    assert not verdict.converged
    assert verdict.sentences[0].startswith(words)
    assert verdict.sentences[0].endswith("; iteration 1: score 0.900 is below the floor, 0.950")
    assert verdict.sentences[-1] == GO_ON


def test_the_threshold_told_is_the_one_that_counts() -> None:
    """Below the floor of 0.95 the floor counts; a number in the settings counts for all."""
    records = [record(0), record(1, 0.96, 0.5), record(2, 0.96, 0.5)]
    assert "s_min 0.950)" in judge(records, ConvergenceSettings()).sentences[0]
    assert "s_min 0.970)" in judge(records, ConvergenceSettings(s_min=0.97)).sentences[0]
    assert judge(records, ConvergenceSettings()).converged
    assert not judge(records, ConvergenceSettings(s_min=0.97)).converged


def test_every_miss_has_its_reason_and_the_numbers_of_the_table() -> None:
    """One below s_min, one below the floor that lies above its s_min, one whose walkers missed a basin, and
    one with both; the numbers are those of the table and the picture."""
    settings = ConvergenceSettings()
    records = [
        *run(0.99, 0.99),
        record(3, 0.9, 0.98),
        record(4, 0.97, 0.98),
        record(5, 0.94, 0.912),
        record(6, 0.99, 0.98, problems=(MISSED,)),
        record(7, 0.97, 0.98, problems=(MISSED, "frames: other")),
    ]
    first = judge(records, settings).sentences[0]
    head, *reasons = first.split("; iteration ")
    assert head == "converged at iteration 2, missed again in 3, 4, 5, 6, 7 (last score 0.970, s_min 0.980)"
    assert reasons == [
        "5: score 0.940 is below the floor, 0.950",
        f"6: coverage, {MISSED}",
        "7: score 0.970 is below s_min, 0.980 and coverage",
    ]
    table = table_of([replace(item, wall_s=60.0) for item in records], settings)
    assert table is not None
    column = [name for name, _ in table.columns].index("s_min")
    drawn = [required_score(item, settings) for item in records]
    assert [row[column] for row in table.rows] == ["-", *(f"{needed:.3f}" for needed in drawn[1:])]
    assert table.rows[5][column] == "0.950"


def test_numbers_that_round_alike_are_told_apart() -> None:
    verdict = judge([*run(0.99), record(2, 0.97962, 0.98)], ConvergenceSettings())
    assert "iteration 2: score 0.9796 is below s_min, 0.9800" in verdict.sentences[0]


def test_a_row_that_has_just_begun_tells_what_came_before_it() -> None:
    """Two in a row are asked for: the iteration before the good one is the reason, if there is one."""
    assert judge(run(0.9, 0.99), ConvergenceSettings()).sentences[0] == (
        "not converged in 2 iterations in a row (last score 0.990, s_min 0.980); "
        "iteration 1: score 0.900 is below s_min, 0.980"
    )
    assert ";" not in judge(run(0.99), ConvergenceSettings()).sentences[0]


def test_more_iterations_are_not_advised_where_trainings_disagree() -> None:
    """Restarts on the same frames that agree less than iterations have to."""
    last = record(2, 0.96, 0.98, restart_score=0.955)
    advice = judge([*run(0.99), last], ConvergenceSettings()).sentences[-1]
    assert "agree to 0.955 only, less than iterations need to (0.980)" in advice
    assert "--resume" not in advice
