"""Settings that had another name: they load, say their new name, and end no run that was begun with them."""

import logging
from pathlib import Path

import pytest

from aecv.ground.layers import validate
from aecv.ground.settings import RENAMED
from aecv.molecules.spec import SystemSpec, load_system
from aecv.workflow.run_folder.manifest import Manifest, check_manifest, fixed, manifest_of


def under_old_names(spec: SystemSpec) -> dict:
    """What run.json of an earlier aecv holds of the settings."""
    settings = spec.settings.model_dump(mode="json")
    for (section, old), new in RENAMED.items():
        settings[section][old] = settings[section].pop(new)
    return settings


@pytest.mark.parametrize("text", ["pool.temper=0.75", "temper=0.75"])
def test_an_old_name_is_taken_and_the_new_one_told(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert load_system("ala2", overrides=[text]).settings.pool.power == 0.75
    assert f"--set {text}: pool.temper is now called pool.power" in caplog.text


def test_later_layers_win_whatever_they_call_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[pool]\npower = 0.5\n")
    assert load_system("ala2", config=config, overrides={"pool.temper": 1.0}).settings.pool.power == 1.0
    # its system.toml has the old name: shipped files keep their bytes, and nobody is told of them
    caplog.clear()
    assert load_system("mueller_brown").settings.pool.power == 0.5
    assert load_system("mueller_brown", config=config, overrides="pool.power=0.6").settings.pool.power == 0.6
    assert not caplog.records


def test_a_run_with_old_names_goes_on_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    spec = load_system("ala2")
    now = manifest_of(spec, "Reference", None)
    old = Manifest.model_validate(now | {"settings": under_old_names(spec)})
    check_manifest(Path("run"), old, now, spec.settings)
    # records of finished stages hold this hash
    assert fixed(old) == fixed(Manifest.model_validate(now))
    with caplog.at_level(logging.INFO):
        assert validate(old.settings, source="run.json") == spec.settings
    assert not caplog.records
