"""aecv systems: every shipped system, what it costs, and one that is broken among them."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aecv.commands.cli import main
from aecv.ground.cores import usable_cores
from aecv.molecules.spec import load_system, shipped_systems
from aecv.workflow.planning import catalogue as listing
from aecv.workflow.planning.catalogue import catalogue
from aecv.workflow.planning.cost import estimate_times, parts_of


def systems(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["systems", *arguments], catch_exceptions=False)


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, Path]:
    """Two broken folders before a sound one."""
    for name, text in (("torn", "[system\n"), ("lost", '[system]\nname = "lost"\nstructure = "no.pdb"\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "system.toml").write_text(text, encoding="utf-8")
    return {"torn": tmp_path / "torn", "lost": tmp_path / "lost", "mb": shipped_systems()["mueller_brown"]}


def test_what_the_systems_are() -> None:
    folders = shipped_systems()
    named = {name: folders[name] for name in ("ala2", "ala2_obc", "z_potential")}
    ala2, obc, particle = (entry.contents for entry in catalogue(named, seconds=None))
    assert ala2 is not None
    assert obc is not None
    assert particle is not None
    assert (ala2.n_atoms, ala2.n_cv_atoms, ala2.n_components) == (22, 8, 2)
    assert (ala2.surroundings, ala2.forces, ala2.platform) == ("vacuum", "amber99sbildn.xml", "Reference")
    assert (obc.n_atoms, obc.surroundings, obc.solvents) == (22, "implicit solvent", ())
    assert obc.forces == "amber99sbildn.xml, amber99_obc.xml"
    assert (particle.n_atoms, particle.surroundings, particle.forces) == (1, "a surface", "V(x, y)")


def test_every_shipped_system_can_be_built() -> None:
    entries = list(catalogue(seconds=None))
    assert [entry.name for entry in entries] == list(shipped_systems())
    assert {entry.name: entry.error for entry in entries if entry.error} == {}
    for entry in entries:
        assert entry.description
        assert entry.expect
        assert entry.contents is not None
        assert entry.times is None


def test_a_broken_folder_does_not_stop_the_list(broken: dict[str, Path]) -> None:
    torn, lost, sound = catalogue(broken, seconds=None)
    assert "needs a readable TOML file" in str(torn.error)
    assert torn.ns is None
    assert "missing key 'cv'" in str(lost.error)
    assert sound.error is None
    assert sound.iterations == 10


def test_a_missing_structure_is_told_with_what_is_known(tmp_path: Path) -> None:
    """The settings can be read, the files not."""
    text = (shipped_systems()["ala2"] / "system.toml").read_text(encoding="utf-8")
    (tmp_path / "system.toml").write_text(text, encoding="utf-8")
    (entry,) = catalogue({"here": tmp_path}, seconds=None)
    assert "ala2.pdb" in str(entry.error)
    assert entry.contents is None


def test_the_time_of_a_job_is_its_steps_by_their_speed() -> None:
    """ala2 at 1000 steps of 1 fs a second: 1 ps a second, in four walkers on the cores that there are."""
    settings = load_system("ala2").settings
    processes = min(4, usable_cores())
    times = estimate_times(settings, 1000.0, on_cpu=True)
    assert times.starts == pytest.approx(1000.0 + 4 * 20.0 / processes)  # hot run and equilibration [s]
    assert times.iterations == pytest.approx(10 * 10_000.0 / processes)
    assert times.production == pytest.approx(20_000.0 / processes)
    assert times.total == times.starts + times.iterations + times.production
    on_gpu = estimate_times(settings, 1000.0, on_cpu=False)
    assert (on_gpu.processes, on_gpu.iterations) == (1, pytest.approx(100_000.0))
    # each process has a GPU of its own, and no more work side by side than there are
    for n_devices, n_processes, n in ((2, 4, 2), (2, 1, 1), (8, 8, 4)):
        found = estimate_times(settings, 1.0, on_cpu=False, n_processes=n_processes, n_devices=n_devices)
        assert found.processes == n
    alone = estimate_times(settings, 1000.0, on_cpu=True, n_processes=1)
    assert parts_of(alone, settings) == (
        "starts and equilibration 18.0 min, 10 iterations of 10 ns 27.8 h, production of 20 ns 5.6 h"
    )
    assert parts_of(alone, settings, learns=False).endswith("min, 10 ns along the CV 2.8 h")


def test_a_measured_speed_gives_the_time() -> None:
    (entry,) = catalogue({"mb": shipped_systems()["mueller_brown"]}, seconds=0.02)
    assert entry.times is not None
    assert entry.times.steps_per_s > 0.0  # a single particle
    steps = 10 * 15_000.0 / 0.01
    assert entry.times.iterations * entry.times.processes == pytest.approx(steps / entry.times.steps_per_s)


def test_the_command_lists_them(broken: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "shipped_systems", lambda: broken)
    result = systems("--no-speed")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
        "torn",
        "lost",
        "mb",
        "next",
    ]
    assert any(line.startswith("  error     ") and "system.toml" in line for line in lines)
    assert "  platform  Reference" in lines
    told = json.loads(systems("--no-speed", "--json").output)
    assert [item["name"] for item in told] == ["torn", "lost", "mb"]
    assert told[2]["contents"]["n_atoms"] == 1
    assert told[2]["times"] is None


def test_a_speed_is_told_with_the_time_it_makes(
    broken: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "shipped_systems", lambda: {"mb": broken["mb"]})
    lines = systems().output.splitlines()
    assert any(
        line.startswith("  platform  Reference, ") and "steps/s in one process" in line for line in lines
    )
    assert any("10 iterations of 15 ns and a production of 30 ns, 4 walkers" in line for line in lines)
    told = json.loads(systems("--json").output)[0]["times"]
    assert math.isclose(told["total"], told["starts"] + told["iterations"] + told["production"])
