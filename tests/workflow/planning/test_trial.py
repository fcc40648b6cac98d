"""A trial of two minutes: its lengths follow from the speed, what is given wins, and it says what it is."""

import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from aecv.commands.cli import main
from aecv.models.cvs.cv_files import write_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.sampling.processes.dask_workers import DaskWorkers
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.speed import Speed
from aecv.workflow.learning.verdict import TRIAL
from aecv.workflow.planning import trial
from aecv.workflow.planning.foresight import foresee_loop, foresee_sample
from aecv.workflow.planning.lengths import plan_of
from aecv.workflow.planning.trial import KEYS, Pace, stored_trial, trial_layer
from aecv.workflow.story.status import status

TINY = (
    "run.iterations=2", "sampling.ns=0.01", "starts.hot_ps=5", "starts.candidates=5", "training.restarts=2",
    "training.max_epochs=2", "sampling.equilibration_ps=1",
)  # fmt: skip
"""Given lengths that win, so that a trial of the tests takes seconds."""


def settings_at(speed: float, *overrides: str, system: str = "ala2", **given: object):
    plain = load_system(system, overrides=overrides)
    layer = trial_layer(plain.settings, Pace(steps_per_s=speed, processes=2), given)
    return load_system(system, overrides=overrides, trial=layer).settings


@pytest.mark.parametrize("speed", [1.0, 50.0, 300.0, 5e3, 1e5, 1e7])
@pytest.mark.parametrize("system", ["ala2", "aaqaa3", "chignolin", "mueller_brown", "ala2_water"])
def test_a_trial_of_any_speed_falls_short_of_nothing(system: str, speed: float) -> None:
    settings = settings_at(speed, system=system)
    assert settings.run.trial
    assert foresee_loop(settings) == ()
    assert foresee_sample(settings, n_components=2) == ()
    plan = plan_of(settings, 1)
    assert plan.n_rounds >= 4  # several updates of the bias
    assert 400 <= plan.frames_per_walker * plan.n_walkers <= 8000


@pytest.mark.parametrize("speed", [300.0, 5e3, 1e5])
def test_its_dynamics_take_a_minute(speed: float) -> None:
    """Three iterations and a production at that speed, the bias included; lengths are rounded down."""
    settings = settings_at(speed)
    ns = 3 * settings.sampling.ns + settings.production_ns
    seconds = 1000.0 * ns / settings.dynamics.timestep_ps / Pace(steps_per_s=speed, processes=2).biased
    assert 35.0 < seconds <= 60.0
    hot = settings.starts.hot_ps / settings.dynamics.timestep_ps / speed
    assert hot <= 8.0 + settings.starts.candidates / speed


def test_about_the_same_speed_gives_the_same_numbers() -> None:
    """Lengths have one and a half digits: a machine that is a little busy changes none of them."""
    assert settings_at(1.00e5) == settings_at(1.03e5)


def test_what_is_given_wins_and_the_rest_fits_it() -> None:
    given = {"sampling": {"ns": 0.05}, "training": {"restarts": 2}}
    settings = settings_at(1e5, "sampling.ns=0.05", "training.restarts=2", **given)
    assert settings.sampling.ns == 0.05
    assert settings.training.restarts == 2
    assert settings.production_ns == pytest.approx(0.075)
    assert foresee_loop(settings) == ()
    assert plan_of(settings, 0).frames_per_walker * 4 >= 400  # frames come as often as the length asks


@pytest.fixture(scope="module")
def tiny_trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a trial of seconds; tests must not change it."""
    folder = tmp_path_factory.mktemp("trial") / "run"
    words = [part for text in TINY for part in ("--set", text)]
    result = CliRunner().invoke(
        main,
        ["iterate", "--system", "ala2", "--quick", "--workers", "1", "--out", str(folder), *words],
    )
    assert result.exit_code == 0, result.output
    assert TRIAL in result.stdout
    return folder


def test_it_says_everywhere_what_it_is(tiny_trial: Path) -> None:
    summary = json.loads((tiny_trial / "summary.json").read_text())
    assert summary["verdict"]["converged"] is False
    assert summary["verdict"]["sentences"][0] == TRIAL
    assert TRIAL.capitalize() in (tiny_trial / "report.html").read_text()
    assert status(tiny_trial).sentences[0] == TRIAL
    assert TRIAL in CliRunner().invoke(main, ["status", str(tiny_trial)]).stdout


def test_a_run_says_at_its_start_how_long_it_will_take(small_run: Path) -> None:
    """3 iterations of 0.02 ns and a production of 0.01: 80000 steps of 1 fs, 30 ps of hot run."""
    (line,) = (line for line in (small_run / "run.log").read_text().splitlines() if "of dynamics at" in line)
    assert "1 process: starts and equilibration" in line
    assert "3 iterations of 0.02 ns" in line
    assert "production of 0.01 ns" in line
    assert "--quick" not in line  # it takes no ten minutes


def test_it_is_resumed_with_its_own_numbers(tiny_trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is timed again, with or without --quick and without the lengths that were given."""
    layer = stored_trial(tiny_trial)
    assert layer is not None
    stored = json.loads((tiny_trial / "run.json").read_text())["settings"]
    again = load_system("ala2", trial=layer).settings
    assert again.model_dump(mode="json") == stored
    monkeypatch.setattr(trial, "load_trial", lambda *_, **__: pytest.fail("timed again"))
    words = ["iterate", "--system", "ala2", "--out", str(tiny_trial), "--resume", "--workers", "1"]
    for more in ([], ["--quick"]):
        result = CliRunner().invoke(main, [*words, *more])
        assert result.exit_code == 0, result.output
        # who wanted the run itself is told that this is not it
        assert ("is a trial (--quick) and goes on as one" in result.stderr) == (not more)


def test_another_run_is_not_resumed_as_a_trial(small_run: Path) -> None:
    assert stored_trial(small_run) is None
    words = ["iterate", "--system", "ala2", "--out", str(small_run), "--resume", "--quick"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "was begun without --quick; leave it out to resume it" in result.stderr


def test_its_settings_can_be_looked_at_first() -> None:
    result = CliRunner().invoke(
        main, ["iterate", "--system", "ala2", "--quick", "--iters", "2", "--print-config"]
    )
    assert result.exit_code == 0, result.output
    assert "trial = true" in result.stdout
    assert "iterations = 2" in result.stdout


@pytest.fixture
def known_speed(monkeypatch: pytest.MonkeyPatch) -> float:
    """Steps per second of one process, instead of measured ones."""
    monkeypatch.setattr(
        "aecv.sampling.system.speed.measure_speed", lambda *_: Speed(steps_per_s=1e5, share=1.0)
    )
    return 1e5


def printed(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(main, [*words, "--system", "ala2", "--quick", "--print-config"])
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


@pytest.mark.parametrize(("words", "n"), [("--workers 1", 1), ("--workers 3", 3), ("--dask tcp://host:1", 4)])
def test_it_counts_on_the_processes_that_will_run_it(
    known_speed: float, monkeypatch: pytest.MonkeyPatch, words: str, n: int
) -> None:
    """Those of a cluster, too: four of its five have a walker. More processes, longer iterations."""
    monkeypatch.setattr(DaskWorkers, "count", lambda workers: workers.n_processes or 5)
    layer = trial_layer(load_system("ala2").settings, Pace(steps_per_s=known_speed, processes=n), {})
    assert printed("iterate", *words.split())["sampling"]["ns"] == layer["sampling"]["ns"]


def test_it_is_timed_on_the_device_that_will_run_it(
    known_speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And two GPUs take two walkers side by side. ala2 of 22 atoms runs on Reference, which has none."""
    words = ["iterate", "--system", "ala2", "--quick", "--workers", "4", "--devices", "1,0", "--print-config"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "--devices: needs a platform with devices" in result.stderr

    def choice(*_: object, devices: tuple[str, ...]) -> SimpleNamespace:
        assert devices == ("1", "0")
        return SimpleNamespace(on_cpu=False)

    monkeypatch.setattr("aecv.sampling.system.platforms.choose_platform", choice)
    layer = trial_layer(load_system("ala2").settings, Pace(steps_per_s=known_speed, processes=2), {})
    assert printed(*words[:1], *words[4:8])["sampling"]["ns"] == layer["sampling"]["ns"]


@pytest.mark.parametrize(("cv", "bins"), [("phi", 50), ("phi, psi", 25), ("file", 50)])
def test_the_grid_of_a_sampling_is_that_of_its_cv(
    known_speed: float, tmp_path: Path, cv: str, bins: int
) -> None:
    """ala2 learns two components; a CV in a file is counted once it is read. Nothing is trained."""
    if cv == "file":
        system = build(load_system("ala2"))
        write_cv(observable_cv(system.observables, ("psi",)), tmp_path, system="ala2", system_hash="")
        cv = str(tmp_path / "cv.json")
    settings, plain = printed("sample", "--cv", cv), load_system("ala2").settings
    assert settings["eabf"]["bins"] == bins
    per_bin = settings["sampling"]["ns"] * 1e6 / bins ** (1 if bins == 50 else 2)  # steps of 1 fs
    assert settings["eabf"]["full_samples"] <= max(5, min(plain.eabf.full_samples, per_bin / 4))
    assert settings["training"]["restarts"] == plain.training.restarts
    assert settings["convergence"]["replicas"] == plain.convergence.replicas
    assert settings["run"]["iterations"] == plain.run.iterations
    assert "ns" not in settings["production"]


def test_a_trial_along_a_cv_takes_the_grid_that_was_given() -> None:
    plain = load_system("ala2").settings
    pace = Pace(steps_per_s=1e5, processes=1)
    layer = trial_layer(plain, pace, {"eabf": {"bins": 40}}, n_components=3)
    assert "bins" not in layer["eabf"]
    assert trial_layer(plain, pace, {}, n_components=3)["eabf"]["bins"] == 12
    assert not {"training", "convergence"} & set(layer)


def test_every_key_of_a_trial_is_a_setting() -> None:
    fields = load_system("ala2").settings.model_dump()
    for key in KEYS:
        section, name = key.split(".")
        assert name in fields[section]


@pytest.mark.slow
def test_a_sampling_along_a_given_cv_can_be_tried(tmp_path: Path) -> None:
    words = [part for text in TINY[1:] for part in ("--set", text)]
    out = tmp_path / "along"
    arguments = ["sample", "--system", "ala2", "--cv", "phi,psi", "--quick", "--out", str(out), *words]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert TRIAL in result.stdout
    assert TRIAL.capitalize() in (out / "report.html").read_text()
    assert status(out).sentences == (TRIAL,)
