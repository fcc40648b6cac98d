"""The table of the terminal, and the words at the end."""

from types import SimpleNamespace
from typing import Any

import pytest

from aecv.commands.console import table_header, table_line
from aecv.commands.screens import closing_words, trained_text
from aecv.ground.settings import ConvergenceSettings
from aecv.workflow.free_energies.production import Production
from aecv.workflow.learning.verdict import Verdict
from aecv.workflow.loop import Outcome
from aecv.workflow.story.record_table import as_judged
from tests.workflow import hand

COSTS = {"n_effective": 9.0, "n_frames": 10, "loss": 7e-4, "ns": 1.0, "steps_per_s": 1e4, "wall_s": 61.0}


def test_every_column_stands_under_its_name() -> None:
    both = {
        "delta_f_kj_mol": 3.14159,
        "delta_f_interval": (2.0, 4.0),
        "delta_f_iteration_kj_mol": 2.5,
        "delta_f_iteration_interval": (float("-inf"), float("inf")),
    }
    header, line = table_header(), table_line(hand.record(3, 0.98765, 0.97654, **COSTS, **both))
    for name, cell in (
        ("score", "0.988"),
        ("s_min", "0.977"),
        ("dF pool", "3.14 ±1.00"),
        ("dF alone", "2.50 ±inf"),
        ("loss", "7.00e-04"),
        ("time", "1:01"),
    ):
        end = header.index(f" {name}") + 1 + len(name)
        assert line[:end].endswith(f" {cell}"), name
    below = hand.record(1, 0.9, None, **COSTS)
    assert table_line(below).split()[1:3] == ["0.900", "-"]
    assert table_line(as_judged(below, ConvergenceSettings())).split()[1:3] == ["0.900", "0.950"]


def production(**changes: Any) -> Production:
    values: dict[str, Any] = {
        "folder": "production_04",
        "cv_iteration": 4,
        "ns": 20.0,
        "steps_per_s": 1e4,
        "n_frames": 1000,
        "n_effective": 700.0,
        "delta_f_kj_mol": 7.25,
        "delta_f_interval": (6.75, 7.75),
        "delta_f_alone_kj_mol": 7.5,
        "delta_f_alone_interval": (7.25, 7.75),
        "passages": 42,
        "problems": (),
    }
    return Production(**values | changes)


def words(made: Production | None) -> list[str]:
    verdict = Verdict(converged=False, sentences=("not converged", "go on"))
    return closing_words(Outcome(records=(), verdict=verdict, production=made)).splitlines()


def test_the_last_words_are_the_verdict_and_the_production() -> None:
    assert words(None) == ["not converged", "go on"]
    assert words(production()) == [
        "not converged",
        "go on",
        "production, 20 ns along the CV of iteration 4: dF 7.25 ±0.50 kJ/mol (95 %) together with the "
        "iterations, 7.50 ±0.25 alone, 42 passages into and out of the region of dF",
    ]


def test_a_production_without_a_region_or_a_passage_says_no_more_than_it_knows() -> None:
    none = production(
        delta_f_kj_mol=None,
        delta_f_interval=None,
        delta_f_alone_kj_mol=None,
        delta_f_alone_interval=None,
        passages=None,
    )
    assert (
        words(none)[-1]
        == "production, 20 ns along the CV of iteration 4: its free energies are in production_04"
    )
    stuck = production(delta_f_interval=(float("-inf"), float("inf")), problems=("first", "second"))
    assert "dF 7.25 ±inf kJ/mol" in words(stuck)[-2]
    assert words(stuck)[-1] == "coverage of the production: first; second"


@pytest.mark.parametrize(
    ("n", "score", "said"),
    [
        (1, None, "restarts: one alone, so that how far the CV depends on its start is not known"),
        (2, None, "restarts: worst loss over best 1.200, no other good one to compare the chosen one with"),
        (
            2,
            0.9,
            "restarts: worst loss over best 1.200, median score of the chosen one with the other good "
            "ones 0.900",
        ),
    ],
)
def test_restarts_are_compared_where_there_are_several(n: int, score: float | None, said: str) -> None:
    made: Any = SimpleNamespace(
        autoencoder=SimpleNamespace(variance=1e-2, losses=(1e-3,) * n),
        choice=SimpleNamespace(score=score),
        **{"n_frames": 9, "n_effective": 9.0, "loss": 1e-3, "loss_spread": 1.2},
    )
    assert trained_text(made).splitlines()[-1] == said
