"""Results at a prompt: a line, a table where pandas is there, and settings as Python has them."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import AecvError, MissingPackageError, SettingsError
from aecv.ground.layers import merge, override_layers
from aecv.ground.shown import Shown, brief, dataframe
from aecv.molecules.spec import load_system
from aecv.numerics.statistics.intervals import Interval
from aecv.workflow.profiles import FreeEnergy


@dataclass(repr=False)
class _Result(Shown):
    name: str
    table: np.ndarray
    many: list[int]
    few: tuple[float, ...]
    inner: object = None


def test_a_result_is_a_line_without_its_arrays() -> None:
    found = _Result("phi", np.zeros((60, 60)), list(range(1000)), (1.0 / 3.0, 2.0))
    assert repr(found) == (
        "_Result(name='phi', table=array of 60 x 60, many=1000 of them, few=(0.333333, 2), inner=None)"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.5), "0.5"),
        (np.bool_(True), "True"),
        (Path("a/b"), "'a/b'"),
        ("x" * 200, "'" + "x" * 55 + "...'"),
        ({"a": np.zeros(9)}, "{a}"),
        (dict.fromkeys("abcdefgh", 0), "8 of them"),
        (("long " * 20,), "1 of them"),
    ],
)
def test_brief_values(value: object, text: str) -> None:
    assert brief(value) == text


def _profile(*shape: int) -> FreeEnergy:
    values = np.arange(np.prod(shape), dtype=float).reshape(shape)
    values.flat[0] = np.nan
    return FreeEnergy(
        system="ala2",
        n_unknown=0,
        least_visits=3.0,
        names=("phi", "psi")[: len(shape)],
        axes=tuple(np.linspace(-3.0, 3.0, n) for n in shape),
        periodic=(True, True)[: len(shape)],
        profile=Interval(
            estimate=values, lower=values - 1, upper=values + 1, standard_error=values * 0 + 0.5
        ),
        delta_f=Interval(**{key: np.array(value) for key, value in _DELTA.items()}),
        place=9,
        alone=False,
        n_frames=1234,
    )


_DELTA = {"estimate": -9.1234, "lower": -10.0, "upper": -8.0, "standard_error": 0.5}


def test_a_free_energy_is_a_line_a_table_and_a_picture() -> None:
    found = _profile(4, 5)
    assert repr(found) == (
        "FreeEnergy along phi, psi (4 x 5 bins, 95% known) from 1234 frames of 9, dF -9.12 (-10 to -8)"
    )
    assert len(found.plot().axes) >= 2
    assert len(_profile(6).plot().axes) >= 1
    pytest.importorskip("pandas", reason="to_dataframe needs pandas")
    table = found.to_dataframe()
    assert list(table) == ["phi", "psi", "free_energy", "standard_error", "lower", "upper"]
    assert len(table) == 20
    row = table.iloc[7]  # the second coordinate runs fastest
    assert (row["phi"], row["psi"], row["free_energy"]) == (found.axes[0][1], found.axes[1][2], 7.0)


def test_without_pandas_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackageError, match="needs pandas, which is not installed; pip install pandas"):
        dataframe({"a": [1]})
    assert issubclass(MissingPackageError, ImportError)
    assert issubclass(MissingPackageError, AecvError)


@pytest.mark.parametrize(
    "given",
    [
        ["sampling.ns=2", "autoencoder.layers=[8, 4]", "restarts=3"],
        {"sampling.ns": 2, "autoencoder.layers": (8, 4), "restarts": 3},
        {
            "sampling": {"ns": np.float64(2)},
            "autoencoder": {"layers": np.array([8, 4])},
            "training.restarts": 3,
        },
    ],
)
def test_settings_as_texts_or_as_a_mapping(given: object) -> None:
    found = merge({}, *(fields for _, fields in override_layers(given)))
    assert found == {"sampling": {"ns": 2}, "autoencoder": {"layers": [8, 4]}, "training": {"restarts": 3}}


def test_a_system_takes_a_dict_a_text_and_paths_as_texts(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[sampling]\nns = 3\n")
    for config in (tmp_path / "c.toml", str(tmp_path / "c.toml")):
        spec = load_system("ala2", config=config, overrides={"dynamics": {"temperature_k": 310}})
        assert spec.settings.sampling.ns == 3
        assert spec.settings.dynamics.temperature_k == 310
        assert repr(spec).startswith("SystemSpec('ala2' in '")
    assert load_system("ala2", overrides="sampling.ns=2").settings.sampling.ns == 2
    with pytest.raises(SettingsError, match=r"unknown key 'sampling.n'; did you mean .*overrides sampling.n"):
        load_system("ala2", overrides={"sampling.n": 1})
    with pytest.raises(SettingsError, match="no section has the key 'nss'; did you mean 'ns'"):
        load_system("ala2", overrides={"nss": 1})
