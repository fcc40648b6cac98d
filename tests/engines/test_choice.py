"""From the name of an engine to the engine, and what is said about one that cannot run."""

import sys
from dataclasses import replace
from types import ModuleType
from typing import get_args

import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.settings import SamplingSettings
from aecv.models.spec import load_system
from aecv.sampling.engines import choice
from aecv.sampling.engines.availability import Availability
from aecv.sampling.engines.native import NativeEngine
from aecv.workflow.loop import iterate
from aecv.workflow.plain import sample_along
from tests.engines.conftest import Bench


def test_every_name_of_the_setting_has_a_class() -> None:
    assert set(choice._CLASSES) == set(get_args(SamplingSettings.model_fields["engine"].annotation))
    assert "native" in choice.engine_names()


def test_native_is_made_and_works(bench: Bench) -> None:
    made = choice.make_biased_engine(
        "native", bench.system, bench.cv, bench.extended, platform=bench.platform, probe=bench.probe
    )
    assert type(made) is NativeEngine
    assert choice.availability("native").works
    choice.require_engine("native")


def test_an_engine_that_this_aecv_lacks_is_named_with_those_it_has(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=r"needs one of native.*, got 'nativ'; did you mean 'native'\?"):
        choice.require_engine("nativ")
    # a name that the settings know and no module stands for
    monkeypatch.setitem(choice._CLASSES, "later", "LaterEngine")
    assert "later" not in choice.engine_names()
    with pytest.raises(SettingsError, match=r"sampling.engine: needs one of native.*, got 'later'"):
        choice.make_biased_engine(
            "later", bench.system, bench.cv, bench.extended, platform=bench.platform, probe=bench.probe
        )


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
