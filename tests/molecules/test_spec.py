"""Systems: found by name or folder, settings in layers, files inside the folder, a hash of what matters."""

import pickle
import shutil
from pathlib import Path

import pytest

from aecv.ground.errors import MolecularSystemError, SettingsError
from aecv.molecules.spec import load_system, shipped_systems


@pytest.fixture
def own_system(tmp_path: Path) -> Path:
    """A copy of ala2 that a test may change."""
    return Path(shutil.copytree(shipped_systems()["ala2"], tmp_path / "mine"))


def _edit(folder: Path, old: str, new: str) -> None:
    path = folder / "system.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_shipped_system_by_name() -> None:
    spec = load_system("ala2")
    assert spec.name == "ala2"
    assert spec.structure_path.is_file()
    assert spec.settings.autoencoder.hidden == (40,)
    assert len(spec.hash) == 64


def test_folder_and_file_give_the_same_hash_as_the_name(own_system: Path) -> None:
    by_name, by_folder = load_system("ala2"), load_system(str(own_system))
    by_file = load_system(own_system / "system.toml")
    assert by_name.hash == by_folder.hash == by_file.hash
    assert by_folder.directory == by_file.directory == own_system.resolve()


def test_spec_survives_pickling() -> None:
    spec = load_system("ala2", overrides=["training.restarts=3"])
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_later_layers_win(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[sampling]\nns = 2.0\nwalkers = 3\n[training]\nrestarts = 7\n", encoding="utf-8")
    settings = load_system("ala2", config=config, overrides=["sampling.ns=0.5", "starts.mode=one"]).settings
    assert (settings.sampling.ns, settings.sampling.walkers, settings.training.restarts) == (0.5, 3, 7)
    assert settings.starts.mode == "one"
    assert settings.sampling.frame_ps == 0.1  # from system.toml


@pytest.mark.parametrize("file", ["system.toml", "ala2.pdb"])
def test_hash_sees_every_file(own_system: Path, file: str) -> None:
    before = load_system(own_system).hash
    with open(own_system / file, "a", encoding="utf-8") as handle:
        handle.write("\n")
    assert load_system(own_system).hash != before


def test_hash_sees_a_force_field_file_in_the_folder(own_system: Path) -> None:
    _edit(own_system, '["amber99sbildn.xml"]', '["own.xml"]')
    (own_system / "own.xml").write_text("<ForceField/>", encoding="utf-8")
    first = load_system(own_system)
    assert first.forcefield_files == (str(own_system.resolve() / "own.xml"),)
    (own_system / "own.xml").write_text("<ForceField></ForceField>", encoding="utf-8")
    assert load_system(own_system).hash != first.hash


def test_hash_does_not_depend_on_overrides() -> None:
    assert load_system("ala2").hash == load_system("ala2", overrides=["sampling.ns=1"]).hash


def test_unknown_name_suggests_and_lists() -> None:
    with pytest.raises(MolecularSystemError, match=r"'ala22'.*\(aaqaa3, ala2, .*did you mean 'ala2'\?"):
        load_system("ala22")


def test_folder_without_system_toml(tmp_path: Path) -> None:
    with pytest.raises(MolecularSystemError, match=r"needs a file system\.toml"):
        load_system(tmp_path)


@pytest.mark.parametrize("name", ["../ala2.pdb", "/etc/hostname.pdb"])
def test_paths_stay_inside_the_folder(own_system: Path, name: str) -> None:
    (own_system.parent / "ala2.pdb").write_text("outside", encoding="utf-8")
    _edit(own_system, '"ala2.pdb"', f'"{name}"')
    with pytest.raises(MolecularSystemError, match=r"system\.structure needs a path inside"):
        load_system(own_system)


def test_missing_structure_suggests(own_system: Path) -> None:
    _edit(own_system, '"ala2.pdb"', '"ala3.pdb"')
    with pytest.raises(MolecularSystemError, match=r"'ala3\.pdb', not in .*did you mean 'ala2\.pdb'\?"):
        load_system(own_system)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.restart=3", r"unknown key 'training\.restart'; did you mean 'restarts'\?"),
        ("trainin.restarts=3", r"unknown key 'trainin'; did you mean 'training'\?"),
        ("sampling.ns=-1", r"sampling\.ns.*greater than 0, got -1"),
        ("sampling.ns", r"needs SECTION\.KEY=VALUE"),
    ],
)
def test_bad_override(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_system("ala2", overrides=[override])


def test_an_error_of_a_file_names_it(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text("[sampling]\nnanoseconds = 2.0\n", encoding="utf-8")
    with pytest.raises(
        SettingsError,
        match=r"^unknown key 'sampling\.nanoseconds' .*\) \(from [^ ]*run\.toml\)$",
    ):
        load_system("ala2", config=config, overrides=["sampling.ns=2"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["sampling.ns=2", "training.restarts=many", "training.restarts=few", "sampling.walkers=2"],
            r"^training\.restarts: .*, got 'few' \(from --set training\.restarts=few\)$",
        ),
        (
            ["autoencoder.hidden=[0]", "run.seed=1"],
            r"^autoencoder\.hidden\.0: .*\(from --set autoencoder\.hid",
        ),
        (
            ["sampling.ns=nan", "run.seed=-1"],
            r"^sampling\.ns: .* \(from --set sampling\.ns=nan\); run\.seed: .* \(from --set run\.seed=-1\)$",
        ),
        (
            ["autoencoder.latent=3", "run.seed=1", "eabf.bins=49"],
            r"^eabf.* \(from --set autoencoder\.latent=3 with --set eabf\.bins=49\)$",
        ),
        (["observables.d={kind='distance'}"], r"^missing key 'observables\.d\.atoms' \(from --set observ"),
    ],
)
def test_an_error_names_the_layer_that_set_the_key(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_system("ala2", overrides=overrides)


def test_malformed_toml(own_system: Path) -> None:
    _edit(own_system, "[system]", "[system")
    with pytest.raises(SettingsError, match=r"system\.toml: needs a readable TOML file"):
        load_system(own_system)
