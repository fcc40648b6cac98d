"""What the benchmark scripts make of finished runs: of made-up records."""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecv.molecules.spec import load_system
from aecv.workflow.run_folder.samples import Samples
from tests.conftest import REPOSITORY


def test_comparison_with_the_reference(script: Any) -> None:
    """Records without s_min, intervals and observables stand as unknown, and do not count in means."""
    compare, runs = script("compare_phi_psi"), script("runs")
    quality = compare.quality_of(
        {
            "score": 0.99,
            "s_min": None,
            "observables": {
                "phi": {"linear": 0.8, "nonlinear": 0.9},
                "psi": {"linear": 0.7, "nonlinear": 0.95},
                "xi": {"linear": 0.97, "nonlinear": 0.98},
            },
        }
    )
    assert quality["r2_observables"] == 0.7
    assert quality["r2_observables_nonlinear"] == 0.9
    assert (quality["r2_xi"], quality["r2_xi_nonlinear"]) == (0.97, 0.98)
    assert np.isnan([quality["s_min"], *compare.quality_of({}).values()]).all()
    unknown = compare.compared({"delta_f_kj_mol": 9.0}, "delta_f", 8.5)
    assert (unknown["off_by"], unknown["holds"]) == (0.5, None)
    infinite = {"delta_f_kj_mol": float("inf"), "delta_f_interval": (-np.inf, np.inf)}
    assert compare.compared(infinite, "delta_f", 8.5)["holds"]
    rows = [{"what": "2 alone"}, {"what": "production alone"}, {"what": "10 pool"}, {"what": "2 pool"}]
    order = [group[0]["what"] for group in compare.by_estimate(rows)]
    assert order == ["2 pool", "10 pool", "2 alone", "production alone"]
    scores = [{"score": 0.9}, {"score": float("nan")}, {"score": 1.0}]
    assert runs.mean_and_spread(scores, "score") == pytest.approx((0.95, 0.1 / np.sqrt(2)))
    assert runs.spread_text(scores[:2], "score") == "0.90"
    assert runs.spread_text(scores, "score", "+.2f") == "+0.95 ±0.07"
    assert runs.spread_text(scores[1:2], "score") == "-"


def test_repeated_frames_follow_each_other_in_every_walker(script: Any) -> None:
    samples = Samples.of(
        cv_positions=np.arange(12, dtype=np.float32).reshape(4, 1, 3),
        observables={"x": np.array([1.0, 2.0, 3.0, 4.0])},
        time_ps=np.array([0.5, 1.0, 0.5, 1.0]),
        walker=np.array([0, 0, 1, 1]),
        basin=np.zeros(4, dtype=int),
        xi=np.zeros((4, 0)),
        lam=np.zeros((4, 0)),
        n_inverted=0,
        n_turned=0,
    )
    twice = script("memory").longer(samples, 2)
    assert twice.observables["x"].tolist() == [1, 2, 1, 2, 3, 4, 3, 4]
    assert twice.time_ps.tolist() == [0.5, 1.0, 1.5, 2.0] * 2
    assert twice.walker.tolist() == [0] * 4 + [1] * 4
    assert twice.cv_positions.shape == (8, 1, 3)
    assert twice.xi.shape == (8, 0)


def test_stages_of_the_whole_job_add_up(tmp_path: Path, script: Any) -> None:
    """10 ns at 1 fs are 1e7 steps: 100 s of unbiased MD at 1e5 steps/s; of 500 s 100 are left."""
    times = [{"index": k, "wall_s": 150.0, "ns": 10.0, "steps_per_s": 8e4} for k in (0, 1)]
    settings = load_system("ala2").settings.model_dump(mode="json")
    (tmp_path / "run.json").write_text(json.dumps({"settings": settings}))
    summary = {"iterations": times, "production": {"ns": 20.0, "steps_per_s": 2e5}}
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    rows = {row["stage"]: row for row in script("whole_job").stages(tmp_path, 1e5, 500.0)}
    assert list(rows)[:3] == ["iteration 0", "iteration 1", "iterations"]
    assert (rows["iterations"]["seconds"], rows["iterations"]["limit_s"]) == (300.0, pytest.approx(200.0))
    assert rows["production, sampling"]["seconds"] == pytest.approx(100.0)
    assert rows["starts, pictures, the rest"]["seconds"] == pytest.approx(100.0)
    assert rows["all"]["limit_s"] == pytest.approx(400.0)


def test_memory_of_a_command_is_seen(script: Any) -> None:
    """A process that holds 200 MiB for two seconds; one that fails ends the benchmark."""
    watch = script("whole_job").watch
    hold = "import time; block = bytearray(200 * 2**20); time.sleep(2)"
    found = watch([sys.executable, "-c", hold])
    assert 200 < found["peaks_mib"][0] < 400
    with pytest.raises(SystemExit, match="ended with 3"):
        watch([sys.executable, "-c", "raise SystemExit(3)"])


def test_all_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One that works, one that fails and one that lacks its run: tables, JSON, page and exit status."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    everything = importlib.import_module("benchmarks.__main__")
    work = "import sys; from pathlib import Path\n"
    work += "print('a table', sys.argv[1:-1]); Path(sys.argv[-1]).write_text('{\"rows\": [1], \"cores\": 2}')"
    (tmp_path / "works.py").write_text(work)
    (tmp_path / "fails.py").write_text("raise SystemExit('no such thing')")
    one = everything.Benchmark
    made_up = (
        one("works", "One", ("--short",)),
        one("fails", "Two", ()),
        one("works", "Three", (), of_run=True),
    )
    monkeypatch.setattr(everything, "BENCHMARKS", made_up[:2])
    monkeypatch.setattr(everything, "HERE", tmp_path)
    files = ["--json", str(tmp_path / "x.json"), "--page", str(tmp_path / "x.md")]
    arguments = ["--quick", *files, "--note", "Beside a storm."]
    assert everything.main(arguments) == 1
    report = json.loads((tmp_path / "x.json").read_text())
    found = report["benchmarks"]
    assert (found["works"]["rows"], found["works"]["error"]) == ({"rows": [1]}, "")
    assert found["works"]["text"] == "a table ['--short', '--json']"
    assert "ended with 1" in found["fails"]["error"]
    assert report["machine"]["versions"]["openmm"]
    text = (tmp_path / "x.md").read_text()
    assert "## One" in text
    assert "a table ['--short', '--json']" in text
    assert "## Two\n\nIt failed on this machine." in text
    assert "rough" in text
    assert "Beside a storm." in text
    assert "no such thing" in capfd.readouterr().err
    monkeypatch.setattr(everything, "BENCHMARKS", (everything.JOB, *made_up[2:]))
    assert everything.main(["--json", str(tmp_path / "y.json")]) == 1  # there is no script of the job here
    skipped = json.loads((tmp_path / "y.json").read_text())["benchmarks"]["works"]["skipped"]
    assert "needs the run of whole_job.py, which failed" in skipped
    for arguments, said in (
        (["works"], "works: give the folder of a finished run"),
        (["--json", str(tmp_path / "no" / "x.json")], "there is no folder"),
        (["--run", str(tmp_path)], "holds no finished run"),
    ):
        with pytest.raises(SystemExit):
            everything.main(arguments)
        assert said in capfd.readouterr().err
    with pytest.raises(SystemExit):
        everything.main(["nonsense"])
    assert "no benchmark named nonsense; known: whole_job, works" in capfd.readouterr().err


class ParsedError(Exception):
    """The options of a script are known."""


@pytest.mark.parametrize("quick", [True, False])
def test_every_script_knows_its_options(
    quick: bool, tmp_path: Path, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `python -m benchmarks` calls them; an option that was renamed would be found an hour later."""
    monkeypatch.syspath_prepend(str(REPOSITORY))
    everything = importlib.import_module("benchmarks.__main__")
    right = argparse.ArgumentParser.parse_args

    def parse(parser: argparse.ArgumentParser) -> None:
        right(parser)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    for benchmark in everything.BENCHMARKS:
        command, _ = everything.command_of(
            benchmark, tmp_path, tmp_path / "x.json", quick=quick, is_made=True
        )
        monkeypatch.setattr(sys, "argv", command[1:])
        with pytest.raises(ParsedError):
            script(benchmark.name).main()
        assert ("--out" in command) == (benchmark.name == "whole_job")
