"""Grid, seeds, files and settings."""

import errno
import json
import os
import tomllib
from pathlib import Path

import numpy as np
import pytest

from aecv.ground import seeds
from aecv.ground.errors import GridError, SettingsError, StoreError, WriteError
from aecv.ground.files import (
    StoredArrays,
    read_arrays,
    read_json,
    replaced_folder,
    replacing,
    write_arrays,
    write_json,
    write_text,
)
from aecv.ground.grid import Grid
from aecv.ground.layers import differences, load_toml, merge, override, parse_override, to_toml, validate
from aecv.ground.printable import printable_lines
from aecv.ground.toml_text import parse_toml
from aecv.molecules.spec import load_system

GRID = Grid(lower=(-1.0, 0.0), upper=(1.0, 3.0), n_bins=(4, 3))


def test_every_centre_is_in_its_own_bin() -> None:
    np.testing.assert_array_equal(GRID.index(GRID.center_points()), np.arange(12))


def test_bins_are_half_open_and_the_outside_is_minus_one() -> None:
    points = [[-1, 0], [1, 0], [0.999999, 2.999999], [0, 3], [-1.0001, 1], [np.nan, 1], [-0.5, 1.0]]
    np.testing.assert_array_equal(GRID.index(points), [0, -1, 11, -1, -1, -1, 4])


@pytest.mark.parametrize(
    ("lower", "upper", "n_bins", "message"),
    [
        ((0.0,), (0.0,), (5,), "finite lower < upper"),
        ((0.0,), (np.inf,), (5,), "finite lower < upper"),
        ((0.0,), (1.0,), (1,), "at least 2 bins"),
        ((0.0, 0.0), (1.0,), (5,), "same length"),
        ((0.0,) * 3, (1.0,) * 3, (1000,) * 3, "more than 1e7"),
    ],
)
def test_impossible_grids_are_refused(lower: tuple, upper: tuple, n_bins: tuple, message: str) -> None:
    with pytest.raises(GridError, match=message):
        Grid(lower=lower, upper=upper, n_bins=n_bins)


def test_a_grid_survives_json() -> None:
    assert Grid.from_dict(json.loads(json.dumps(GRID.as_dict()))) == GRID


def test_streams_repeat_and_do_not_depend_on_each_other() -> None:
    first = seeds.generator(1, "lambda", 3, 0).random(5)
    np.testing.assert_array_equal(first, seeds.generator(1, "lambda", 3, 0).random(5))
    others = [
        seeds.generator(2, "lambda", 3, 0),
        seeds.generator(1, "lambda", 0, 3),
        seeds.generator(1, "x", 3, 0),
    ]
    for other in others:
        assert np.abs(first - other.random(5)).max() > 1e-3
    drawn = {seeds.seed_31bit(1, "langevin", walker) for walker in range(1000)}
    assert len(drawn) == 1000
    assert all(0 < seed < 2**31 for seed in drawn)


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    write_json(path, {"a": 1})

    def fail_half_way() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["data.json"]


def test_a_folder_that_cannot_be_replaced_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, replace = tmp_path / "mine", os.replace
    place.mkdir()
    (place / "kept").touch()

    def refusing(source: Path, target: Path) -> None:
        if str(source).endswith("new"):
            raise OSError(errno.EACCES, "no")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refusing)
    with pytest.raises(WriteError, match="mine"), replaced_folder(place) as folder:
        (folder / "new").touch()
    assert [str(item.relative_to(tmp_path)) for item in sorted(tmp_path.rglob("*"))] == ["mine", "mine/kept"]


def test_json_holds_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": np.nan, "b": np.array([1.0, np.inf]), "c": np.float32(2)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1.0, None], "c": 2.0}


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_arrays(path, a=np.arange(1000))
    np.testing.assert_array_equal(read_arrays(path)["a"], np.arange(1000))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match=r"x\.npz: needs a readable"):
        read_arrays(path)
    write_text(tmp_path / "x.json", "{")
    with pytest.raises(StoreError, match=r"x\.json: needs a readable"):
        read_json(tmp_path / "x.json")


def test_stored_arrays_are_read_when_asked_for(tmp_path: Path) -> None:
    """A byte that changes on the disk afterwards is found when its array is read; the other is as it was."""
    path = tmp_path / "x.npz"
    write_arrays(path, a=np.arange(1000), b=np.arange(3))
    stored = StoredArrays(path)
    assert (list(stored), len(stored), "a" in stored, "c" in stored) == (["a", "b"], 2, True, False)
    np.testing.assert_array_equal(stored["a"], np.arange(1000))
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"x\.npz: needs a readable .* Bad CRC"):
        stored["a"]
    np.testing.assert_array_equal(stored["b"], np.arange(3))
    with pytest.raises(StoreError, match=r"needs an array named 'c', has a, b"):
        stored["c"]


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(StoreError):
        read_arrays(tmp_path / "x.npz")


def test_settings_survive_toml() -> None:
    settings = load_system("ala2").settings
    assert validate(tomllib.loads(to_toml(settings)), source="again") == settings


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no file without an end here")
def test_toml_without_an_end_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"/dev/zero: .* more than 16000000 characters"):
        load_toml(Path("/dev/zero"))


def test_what_is_printed_is_read_again_whatever_is_in_it() -> None:
    """A terminal gets no control characters; spelt as Python spells them they were no TOML."""
    said = "a\x80\x9b\xad\u2028\u202e\U000e0001\t\x1b\x7fé"
    fields = {
        "system": {"name": "x", "description": said, "structure": "x.pdb", "forcefield": ["x"]},
        "cv": {"atoms": "all"},
    }
    printed = printable_lines(to_toml(validate(fields, source="here")))
    assert parse_toml(printed)["system"]["description"] == said


def test_overrides_are_read_as_toml_or_text() -> None:
    assert parse_override("training.restarts=8") == (("training", "restarts"), 8)
    assert parse_override("autoencoder.hidden=[30, 10]") == (("autoencoder", "hidden"), [30, 10])
    assert parse_override("cv.atoms=name CA or name CB") == (("cv", "atoms"), "name CA or name CB")
    for bad in ("training.restarts", "training.=3", "=3", "what=3"):
        with pytest.raises(SettingsError, match="needs SECTION"):
            parse_override(bad)


def test_an_override_without_its_section_needs_a_key_of_one_section_alone() -> None:
    assert parse_override("restarts=3") == (("training", "restarts"), 3)
    assert parse_override("solvent=explicit") == (("system", "solvent"), "explicit")
    with pytest.raises(SettingsError, match=r"2 sections .*; write sampling\.ns or production\.ns"):
        parse_override("ns=3")
    with pytest.raises(SettingsError, match=r"no section has .*'restart'; did you mean 'restarts'"):
        parse_override("restart=3")


def test_later_layers_win_and_leave_the_first_alone() -> None:
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    merged = merge(base, {"a": {"y": 5}}, override(("c", "z"), 7))
    assert merged == {"a": {"x": 1, "y": 5}, "b": 3, "c": {"z": 7}}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}


def test_differences_name_the_key_and_both_values() -> None:
    old = load_system("ala2").settings
    new = load_system("ala2", overrides=["sampling.ns=3", "autoencoder.hidden=[10]"]).settings
    assert list(differences(old, new)) == [("autoencoder.hidden", [40], [10]), ("sampling.ns", 10.0, 3.0)]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    fields = load_toml(load_system("ala2").directory / "system.toml")
    wrong = merge(fields, {"training": {"restart": 1, "patience": 0}}, {"sampling": {"ns": "long"}})
    with pytest.raises(SettingsError) as caught:
        validate(wrong, source="my.toml")
    for part in (
        "my.toml",
        "training.restart",
        "did you mean 'restarts'",
        "training.patience",
        "sampling.ns",
    ):
        assert part in str(caught.value)
