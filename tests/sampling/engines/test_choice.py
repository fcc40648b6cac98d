"""From the name of an engine to the engine, and what is said about one that cannot run."""

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from aecv.commands import options
from aecv.ground.errors import SettingsError, StoreError
from aecv.ground.files import read_json
from aecv.ground.settings import SamplingSettings
from aecv.ground.versions import versions
from aecv.molecules.spec import load_system
from aecv.sampling.engines import availability, choice
from aecv.sampling.engines.availability import Availability
from aecv.sampling.engines.native import NativeEngine
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.store import RunDirectory
from aecv.workflow.sample_along import sample_along
from tests.sampling.engines.conftest import Bench


def test_every_name_of_the_setting_has_a_class() -> None:
    assert set(choice.engine_names()) == set(get_args(SamplingSettings.model_fields["engine"].annotation))
    assert choice.engine_names() == options.ENGINES


def test_native_is_made_and_works(bench: Bench) -> None:
    made = choice.make_biased_engine(
        "native", bench.system, bench.cv, bench.extended, platform=bench.platform, probe=bench.probe
    )
    assert type(made) is NativeEngine
    assert choice.availability("native").works
    choice.require_engine("native")


def test_an_engine_that_this_aecv_lacks_is_named_with_those_it_has(bench: Bench) -> None:
    with pytest.raises(SettingsError, match=r"needs one of native.*, got 'nativ'; did you mean 'native'\?"):
        choice.require_engine("nativ")
    with pytest.raises(SettingsError, match=r"sampling.engine: needs one of native.*, got 'later'"):
        choice.make_biased_engine(
            "later", bench.system, bench.cv, bench.extended, platform=bench.platform, probe=bench.probe
        )


def test_a_run_keeps_the_versions_of_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on with no other; those of a native run are what they were."""
    found = Availability(name="plumed", works=True, reason="", versions={"PLUMED": "2.9.3"})
    monkeypatch.setattr(choice, "availability", lambda _: found)
    spec, out = load_system("ala2"), tmp_path / "run"
    with RunDirectory.create(
        out, spec, platform="Reference", engine_versions=choice.require_engine("plumed")
    ):
        assert read_json(out / "run.json")["versions"] == versions() | {"PLUMED": "2.9.3"}
    RunDirectory.resume(out, spec, platform="Reference", engine_versions={"PLUMED": "2.9.3"}).close()
    with pytest.raises(StoreError, match=r"version of PLUMED was 2\.9\.3, now 2\.10\.1\."):
        RunDirectory.resume(out, spec, platform="Reference", engine_versions={"PLUMED": "2.10.1"})
    with RunDirectory.create(tmp_path / "native", spec, platform="Reference"):
        assert read_json(tmp_path / "native" / "run.json")["versions"] == versions()


@pytest.mark.parametrize(
    ("code", "output", "fault"),
    [
        ("print(1)", "1\n", ""),
        ("import os; print(2, flush=True); os.kill(os.getpid(), 11)", "2\n", "the process crashed (SIGSEGV)"),
        ("raise ImportError('no symbol')", "", "ImportError: no symbol"),
        ("import os; os._exit(3)", "", "exit code 3"),
        ("import time; print(4, flush=True); time.sleep(60)", "4\n", "no answer in 2 s"),
    ],
)
def test_a_probe_tells_how_it_ended(
    code: str, output: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault.startswith("no answer"):
        monkeypatch.setattr(availability, "PROBE_S", 2)
    ending = availability.probe_apart(["-c", code])
    assert (ending.output, ending.fault) == (output, fault)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Availability:
    """torchforce, as if its packages did not fit each other."""
    found = Availability(name="torchforce", works=False, reason="undefined symbol", remedy="pip install it")
    module = ModuleType("torchforce")
    module.availability = lambda: found  # type: ignore[attr-defined]
    monkeypatch.setattr(choice, "engine_names", lambda: ("native", "torchforce"))
    monkeypatch.setitem(sys.modules, "aecv.sampling.engines.torchforce", module)
    return found


def test_an_engine_that_does_not_work_ends_the_run_before_it_begins(broken: Availability, tmp_path) -> None:
    spec = load_system("ala2", overrides=["sampling.engine=torchforce"])
    words = r"engine torchforce does not work here: undefined symbol; pip install it, or choose another"
    with pytest.raises(SettingsError, match=words):
        iterate(spec, tmp_path / "loop")
    with pytest.raises(SettingsError, match=words):
        sample_along(spec, ["phi"], tmp_path / "along")
    assert not list(tmp_path.iterdir())
    assert str(replace(broken, works=True, reason="1.5", remedy="")) == "engine torchforce works: 1.5"
