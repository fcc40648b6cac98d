"""What arithmetic tells is told before a run begins, with settings that pass the same arithmetic."""

import re
import shlex
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from aecv.commands.cli import main
from aecv.ground.errors import ForeseenError, SettingsError
from aecv.ground.settings import DeltaFSettings, ObservableSettings
from aecv.molecules.spec import load_system
from aecv.results.formats.trajectory import write_dcd
from aecv.sampling.system.molecular_system import build
from aecv.workflow.frames.frame_counts import count_frames
from aecv.workflow.frames.input_frames import FrameFiles
from aecv.workflow.planning import space
from aecv.workflow.planning.foresight import (
    LEAST_HOT_FRAMES,
    foresee_loop,
    foresee_sample,
    foresee_training,
    n_hot_frames,
    rounded_up,
)
from aecv.workflow.planning.lengths import n_counted, plan_of
from aecv.workflow.planning.space import check_space, samplings_of_loop
from tests.workflow.conftest import SMALL


def settings_of(*overrides: str, system: str = "ala2"):
    return load_system(system, overrides=overrides).settings


TOO_SHORT = (
    ("sampling.ns=0.05", "run.iterations=3"),
    ("sampling.ns=0.05", "run.iterations=3", "pool.exploration=0", "eabf.frozen_stages=3"),
    ("sampling.ns=0.00001",),
    ("production.ns=0.0001",),
    ("training.max_frames=100",),
    ("pool.max_frames=300",),
    ("sampling.ns=0.009", "training.min_effective_frames=1"),
    ("sampling.ns=1", "pool.discard=0.99"),
    ("sampling.ns=0.01", "training.min_effective_frames=2000", "training.max_frames=1000"),
    ("sampling.walkers=1000", "sampling.ns=0.05"),
    ("sampling.ns=0.02", "sampling.frame_ps=0.5", "training.max_frames=100"),
    ("sampling.ns=0.0002", "sampling.frame_ps=0.5", "training.max_frames=150", "sampling.walkers=3"),
)


@pytest.mark.parametrize("overrides", TOO_SHORT)
def test_a_run_that_is_too_short_is_refused_with_settings_that_do(overrides: Sequence[str]) -> None:
    with pytest.raises(ForeseenError) as caught:
        foresee_loop(settings_of(*overrides))
    assert caught.value.changes
    mended = [*overrides, *(f"{key}={value}" for key, value in caught.value.changes.items())]
    foresee_loop(settings_of(*mended))  # raises nothing


def test_the_frames_of_the_issue_are_counted() -> None:
    """0.05 ns hold 500 frames of 0.1 ps, of which pool.discard leaves 400 where 500 have to be effective."""
    settings = settings_of("sampling.ns=0.05", "run.iterations=3")
    plan = plan_of(settings, 1)
    assert plan.frames_per_walker * plan.n_walkers == 500
    assert n_counted(plan, settings.pool.discard) == 400
    with pytest.raises(ForeseenError, match=r">= 500 effective frames .*at most 400 of 500 in 0\.05 ns"):
        foresee_loop(settings)


def test_default_runs_of_all_systems_have_nothing_to_warn_of() -> None:
    for name in ("ala2", "ala2_obc", "aaqaa3", "chignolin", "mueller_brown", "double_well_circle"):
        assert foresee_loop(settings_of(system=name)) == ()


def test_more_frames_than_are_kept_are_not_advised() -> None:
    """200000 frames are pooled and 100000 train at most: no length gives 1e7."""
    with pytest.raises(ForeseenError) as caught:
        foresee_loop(settings_of("training.min_effective_frames=1e7"))
    assert caught.value.changes == {"training.min_effective_frames": 20_000}


def test_frames_of_the_hot_run_train_the_first_cv() -> None:
    """88 frames of dynamics and 1000 of the hot run are enough for one iteration alone, but for no second."""
    few = ("sampling.ns=0.009", "training.min_effective_frames=1", "starts.hot_ps=100", "starts.mode=auto")
    assert foresee_loop(settings_of(*few, "run.iterations=1", "production.ns=0.1")) == ()
    for without in ("run.iterations=2", "starts.hot_share=0"):
        with pytest.raises(ForeseenError, match=r">= 100 frames, at most \d+ of 88"):
            foresee_loop(settings_of("run.iterations=1", "production.ns=0.1", *few, without))


def test_dynamics_that_a_users_frames_replace_are_not_counted() -> None:
    """Also where these do not tell how many they are, and where a run that began with them is resumed."""
    short = settings_of("sampling.ns=0.00001", "run.iterations=1", "production.ns=0")
    with pytest.raises(ForeseenError):
        foresee_loop(short)
    assert foresee_loop(short, with_dynamics=False) == ()
    assert foresee_loop(short, with_dynamics=False, given_frames=600) == ()
    with pytest.raises(ForeseenError, match=r"at most 50 of the 50 that are given"):
        foresee_loop(short, with_dynamics=False, given_frames=50)


def test_few_frames_are_warned_of() -> None:
    """800 frames count where 500 effective ones are asked for: possible, and unlikely."""
    (warning, *_) = foresee_loop(settings_of("sampling.ns=0.1", "run.iterations=2"))
    assert "800 frames" in warning
    assert "training.min_effective_frames" in warning


@pytest.mark.parametrize(
    ("lower", "upper", "fits"),
    [(0, 2.2, True), (190, 250, False), (60, 65, False), (-4, 4, False), (-9, -3.2, True), (5, 7, True)],
)
def test_a_region_of_a_dihedral_is_narrower_than_a_turn_and_near(
    lower: float, upper: float, fits: bool
) -> None:
    """Refused where the settings are read: degrees, of which some are less than 2 pi apart."""
    words = (f"delta_f.lower={lower}", f"delta_f.upper={upper}")
    if fits:
        assert foresee_loop(settings_of(*words)) == ()
        return
    with pytest.raises(SettingsError, match="delta_f: phi is in radians, -pi to pi"):
        settings_of(*words)


@pytest.mark.parametrize(("lower", "upper", "what"), [(4, 5, "no frame"), (-1, 4, "every frame")])
def test_a_region_of_an_angle_holds_some_frames_and_not_all(lower: float, upper: float, what: str) -> None:
    settings = settings_of()
    bend = ObservableSettings(kind="angle", atoms=("name C", "name N", "name CA"))
    region = DeltaFSettings(observable="bend", lower=lower, upper=upper)
    changed = settings.model_copy(update={"observables": {"bend": bend}, "delta_f": region})
    with pytest.raises(ForeseenError, match=rf"holds {what}.*bend \(angle\) goes from 0 to 3.142 rad"):
        foresee_loop(changed)


def test_what_only_may_fail_is_a_warning() -> None:
    (hot,) = foresee_loop(settings_of("dynamics.temperature_k=10", "run.iterations=2"))
    assert "500 kT" in hot  # 41.6 kJ/mol at 10 K, below the ceiling of 60
    (fine,) = foresee_loop(settings_of("eabf.sigma_bins=0.05", "run.iterations=2"))
    assert "eabf.sigma_bins" in fine


def test_a_cv_without_a_range_needs_a_hot_run() -> None:
    settings = settings_of("starts.mode=one", system="chignolin")
    with pytest.raises(ForeseenError, match=r"needs a range \(--range\)") as caught:
        foresee_sample(settings, names=("d_asp3_thr8",))
    assert caught.value.changes == {"starts.mode": "auto"}
    foresee_sample(settings, names=("d_asp3_thr8",), n_ranges=1)
    short = settings_of("starts.mode=auto", "starts.candidates=20", "starts.hot_ps=5", system="chignolin")
    assert n_hot_frames(short) == 20  # one per candidate, 0.25 ps apart
    with pytest.raises(ForeseenError, match="20 frames of a hot run of 5 ps") as caught:
        foresee_sample(short, names=("d_asp3_thr8",))
    changes = [f"{key}={value}" for key, value in caught.value.changes.items()]
    longer = settings_of("starts.mode=auto", "starts.candidates=20", *changes, system="chignolin")
    assert n_hot_frames(longer) >= LEAST_HOT_FRAMES


def test_frames_of_a_user_are_counted_before_they_are_read(tmp_path: Path) -> None:
    system = build(load_system("ala2"))
    path = tmp_path / "traj.dcd"
    write_dcd(path, [np.repeat(system.positions[None], 120, axis=0).astype(np.float32)], frame_ps=0.1)
    assert count_frames(FrameFiles(trajectories=(path, path))) == 240
    assert count_frames(FrameFiles(trajectories=(path,), stride=7)) == 18  # 0, 7, ... 119
    arguments = ["train", "--system", "ala2", "--frames", str(path), "--out", str(tmp_path / "cv")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "at most 120 of the 120 that are given" in result.stderr
    assert not (tmp_path / "cv").exists()
    with pytest.raises(ForeseenError, match="training needs >= 100 frames, at most 60"):
        foresee_training(system.spec.settings, 60)


def test_the_command_that_is_told_passes_the_check(tmp_path: Path) -> None:
    """A short first trial failed after minutes to half an hour, with a hint that was no command."""
    words = ["iterate", "--system", "ala2", "--iters", "3", "--ns=0.05", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*words, "--set", "training.restarts=3"], prog_name="aecv")
    assert result.exit_code == 1
    assert not (tmp_path / "run").exists()
    command = re.search(r"would do: (aecv iterate .*?)(;|$)", result.stderr)
    assert command is not None
    told = shlex.split(command[1])
    trial = result.stderr.rpartition("about two minutes: ")[2].strip()
    assert shlex.split(trial) == [
        *("aecv", "iterate", "--system", "ala2", "--iters", "3", "--out", str(tmp_path / "run")),
        *("--set", "training.restarts=3", "--quick"),
    ]
    assert told[told.index("--ns") + 1] == "0.32"
    assert "--ns=0.05" not in told
    assert "training.restarts=3" in told
    found = CliRunner().invoke(main, [*told[1:], "--print-config"])
    assert "ns = 0.32" in found.stdout
    foresee_loop(settings_of("run.iterations=3", "sampling.ns=0.32"))


Usage = namedtuple("Usage", "total used free")
MEMORY = r"memory: one process needs 0\.15 GB or more, this machine has 0\.05 GB: .* lower pool\.max_frames"


def test_disk_and_memory_are_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """10 iterations of 1e5 frames and a production of 2e5, of 22 atoms, 8 of which the CV is of.

    A frame takes 22 x 12 bytes in the trajectory, 8 x 12 of the CV's atoms and 9 numbers of 8 (two
    observables, time, walker and basin, two components of xi and of lambda): 432 bytes, 0.5184 GB of all
    frames. The segments of the production, 2e5 x 264 bytes, are there beside them: 0.5712 GB. In memory
    learning needs most, for 2e5 frames of the pool 36 x 8 bytes of positions and 8 for each of 4 x 10
    states, and for 1e5 that train 3 x 8 x 12: 0.1216 + 0.0288 GB.
    """
    system = build(load_system("ala2"))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**8))
    with pytest.raises(
        ForeseenError, match=r"1200000 frames of 22 atoms need 0\.571 GB or more, free are 0\.1 GB"
    ) as caught:
        check_space(system, tmp_path / "run", samplings_of_loop, foresee_loop)
    ((key, value),) = caught.value.changes.items()
    rarer = build(load_system("ala2", overrides=[f"{key}={value}"]))
    check_space(rarer, tmp_path / "run", samplings_of_loop, foresee_loop)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**12))
    monkeypatch.setattr(space, "memory_bytes", lambda: 5e7)
    with pytest.raises(ForeseenError, match=MEMORY):
        check_space(system, tmp_path / "run", samplings_of_loop, foresee_loop)


def test_a_full_disk_is_known_and_one_that_does_not_tell_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """0 bytes free are none, of a disk that has a size; some file systems say 0 of 0."""
    system = build(load_system("ala2"))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 0))
    with pytest.raises(ForeseenError, match="GB or more, free are 0 GB"):
        check_space(system, tmp_path / "run", samplings_of_loop)
    # nothing is left to write
    check_space(system, tmp_path / "run", lambda _: {})
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    check_space(system, tmp_path / "run", samplings_of_loop)
    assert not caplog.records


def test_memory_that_is_not_told_refuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sysconf gives -1 for what it does not know; that is no memory of -4096 bytes, and none is not all."""
    monkeypatch.setattr(space, "CGROUP", tmp_path / "none")
    monkeypatch.setattr(space.os, "sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else -1)
    assert space.memory_bytes() is None
    system = build(load_system("ala2"))
    check_space(system, tmp_path / "run", samplings_of_loop)
    monkeypatch.setattr(space, "memory_bytes", lambda: 0.0)
    with pytest.raises(ForeseenError, match="this machine has 0 GB"):
        check_space(system, tmp_path / "run", samplings_of_loop)


def test_what_a_resumed_run_has_is_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = build(load_system("ala2", overrides=SMALL))
    monkeypatch.setattr(space.shutil, "disk_usage", lambda _: Usage(10**9, 0, 10**6))
    with pytest.raises(ForeseenError):
        check_space(system, tmp_path, samplings_of_loop)
    for name in ("iteration_00", "iteration_01", "iteration_02"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sampling.done").touch()
    check_space(system, tmp_path, samplings_of_loop)  # 500 frames of the production are left


@pytest.mark.parametrize(("value", "rounded"), [(0.6251, 0.63), (0.63, 0.63), (101, 110), (9.99, 10), (0, 0)])
def test_numbers_of_advice_are_short_and_not_below(value: float, rounded: float) -> None:
    assert rounded_up(value) == rounded
