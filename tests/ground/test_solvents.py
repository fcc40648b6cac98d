"""Solvents by name: which settings win, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.layers import merge
from aecv.ground.solvents import with_solvent
from aecv.molecules.spec import load_system

FILE: dict[str, Any] = {
    "system": {"name": "x", "solvent": "vacuum", "nonbonded": "NoCutoff", "cutoff_nm": 1.0},
    "solvent": {
        "water": {"system": {"nonbonded": "PME", "cutoff_nm": 0.9}, "barostat": {"pressure_bar": 1.0}}
    },
}


def laid(*above: dict[str, Any]) -> dict[str, Any]:
    layers: Sequence[tuple[str, dict[str, Any]]] = [("file", FILE), *(("above", fields) for fields in above)]
    return merge(*(fields for _, fields in with_solvent(layers)))


def test_a_solvent_is_laid_over_the_file_and_under_everything_else() -> None:
    assert laid() == {"system": FILE["system"]}
    assert laid({"system": {"solvent": "water", "cutoff_nm": 0.8}}) == {
        "system": {"name": "x", "solvent": "water", "nonbonded": "PME", "cutoff_nm": 0.8},
        "barostat": {"pressure_bar": 1.0},
    }
    assert FILE["system"]["solvent"] == "vacuum"


def test_unknown_solvents_are_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"needs one of vacuum, water, got 'watr'; did you mean 'water'\?"
    ):
        laid({"system": {"solvent": "watr"}})
    with pytest.raises(SettingsError, match=r"has no \[solvent\] tables, got 'water' \(from --set"):
        load_system("ala2", overrides=["solvent=water"])
    with pytest.raises(SettingsError, match=r"\[solvent\] needs tables like .* got 'water' \(from above\)"):
        laid({"solvent": "water"})
    with pytest.raises(SettingsError, match=r"\[solvent\] needs tables .* got water = 3"):
        laid({"solvent": {"water": 3}})


def test_a_misspelt_name_in_the_file_is_no_solvent_of_its_own() -> None:
    """The file may call what it describes outside the tables as it likes, but not nearly as a table."""
    layers = [("file", {"system": {"solvent": "explict"}, "solvent": {"explicit": {}, "obc": {}}})]
    with pytest.raises(SettingsError, match=r"got 'explict'; did you mean 'explicit'\?"):
        with_solvent(layers)
    with_solvent([("file", {"system": {"solvent": "implicit"}, "solvent": {"explicit": {}}})])


def test_what_a_solvent_says_is_checked_like_the_rest() -> None:
    with pytest.raises(SettingsError, match=r"barostat\.pressure_bar needs a periodic box"):
        load_system("chignolin", overrides=["barostat.pressure_bar=1.0"])
    assert load_system("chignolin", overrides=["solvent=explicit"]).settings.barostat.pressure_bar == 1.0


def test_solvents_that_are_not_taken_are_checked_too(tmp_path: Path) -> None:
    text = (load_system("ala2").directory / "system.toml").read_text(encoding="utf-8")
    (tmp_path / "ala2.pdb").write_bytes(load_system("ala2").structure_path.read_bytes())
    file = tmp_path / "system.toml"
    file.write_text(text + "[solvent.wet.systm]\nnonbonded = 'PME'\n")
    with pytest.raises(SettingsError, match=r"unknown key 'systm'; did you mean 'system'.*\[solvent\.wet\]"):
        load_system(tmp_path)
    file.write_text(text + "[solvent.wet.system]\nsolvent = 'dry'\n")
    with pytest.raises(SettingsError, match=r"\[solvent\.wet\.system\] sets solvent"):
        load_system(tmp_path, overrides=["solvent=wet"])


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("mueller_brown", ["barostat.pressure_bar=1"], "is for molecules in a periodic box"),
        ("ala2", ["barostat.always=true"], "barostat.always needs barostat.pressure_bar"),
        ("ala2_water", ["barostat.pressure_bar=-1"], "greater than or equal to 0"),
        (
            "ala2_water",
            ["barostat.always=true", "sampling.engine=plumed"],
            "is not for sampling.engine",
        ),
        ("ala2_water", ["interval_steps=100000"], "equilibration_ps 100 needs to hold 10 moves .* 4000 ps"),
        ("ala2_water", ["sampling.segment_ps=0.5"], "segment_ps 0.5 needs to hold 10 moves .*: 1 ps or more"),
    ],
)
def test_pressures_that_could_do_nothing_or_harm(name: str, overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_system(name, overrides=overrides)


@pytest.mark.parametrize("value", ["{}", "[1]", "1", "[]"])
def test_a_solvent_that_is_no_name_is_refused_by_the_settings(value: str) -> None:
    """Tables and lists cannot be looked up, which ended in a TypeError."""
    with pytest.raises(SettingsError, match=r"system\.solvent: .*string.*from --set solvent="):
        load_system("ala2", overrides=[f"solvent={value}"])


def test_a_solvent_whose_section_is_no_table() -> None:
    assert laid({"solvent": {"ice": {"system": 1}}})["system"]["solvent"] == "vacuum"
