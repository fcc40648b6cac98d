"""The table of the terminal."""

from typing import Any

from aecv.console import table_header, table_line, verdict
from aecv.ground.settings import ConvergenceSettings
from aecv.workflow.records import IterationRecord


def record(index: int, score: float | None, s_min: float | None) -> IterationRecord:
    values: dict[str, Any] = dict.fromkeys(IterationRecord.__dataclass_fields__)
    values |= {
        "n_effective": 9.0,
        "n_frames": 10,
        "loss": 7e-4,
        "ns": 1.0,
        "steps_per_s": 1e4,
        "wall_s": 61.0,
    }
    values |= {"index": index, "score": score, "s_min": s_min, "s_min_replicas": 8 if s_min else None}
    return IterationRecord(**values)


def test_every_column_stands_under_its_name() -> None:
    header, line = table_header(), table_line(record(3, 0.98765, 0.97654))
    for name, cell in (("score", "0.988"), ("s_min", "0.977"), ("loss", "7.00e-04"), ("time", "1:01")):
        end = header.index(f" {name}") + 1 + len(name)
        assert line[:end].endswith(f" {cell}"), name
    assert table_line(record(1, 0.9, None)).split()[1:3] == ["0.900", "-"]


def test_verdict_holds_every_score_against_its_own_threshold() -> None:
    good, bad = record(2, 0.99, 0.98), record(3, 0.99, 0.995)
    settings = ConvergenceSettings(consecutive=1)
    assert "first reached at iteration 2, missed again in 3 (last score 0.990, needs 0.995)" in verdict(
        [good, bad], settings
    )
    assert verdict([record(1, 0.9, None)], settings).startswith("not converged (last score 0.900, needs 0.95")
