"""Solvents by name: which settings win, and what is refused."""

from collections.abc import Sequence
from typing import Any

import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.layers import merge
from aecv.ground.solvents import with_solvent
from aecv.models.spec import load_system

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
    with pytest.raises(
        SettingsError, match=r"\[solvent\] needs tables such as .* got 'water' \(from above\)"
    ):
        laid({"solvent": "water"})
    with pytest.raises(SettingsError, match=r"\[solvent\] needs tables .* got \{'water': 3\}"):
        laid({"solvent": {"water": 3}})


def test_what_a_solvent_says_is_checked_like_the_rest() -> None:
    with pytest.raises(SettingsError, match=r"barostat\.pressure_bar needs a periodic box"):
        load_system("chignolin", overrides=["barostat.pressure_bar=1.0"])
    assert load_system("chignolin", overrides=["solvent=explicit"]).settings.barostat.pressure_bar == 1.0
