"""What files and arguments say does not reach the terminal as a command, and a message stays one line."""

import logging
import shutil
import unicodedata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from aecv.commands.cli import main
from aecv.commands.command import Command
from aecv.ground.errors import SettingsError
from aecv.molecules.spec import shipped_systems

HOSTILE = "\x1b[2J\x1b]0;gone\x07\r\nsecond\u2028third\u202e\u2066\x9b1m"
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="aecv")


def unseen(text: str) -> list[str]:
    return [c for c in text if c != "\n" and unicodedata.category(c) in UNSEEN]


@pytest.mark.parametrize(
    ("debug", "shown"), [((), ["WARNING"]), (("--debug",), ["DEBUG", "INFO", "WARNING"])]
)
def test_what_any_command_logs_is_cleaned(debug: tuple[str, ...], shown: list[str]) -> None:
    """Commands that do not tell how far they are log warnings alone, of files whose names anybody chose."""

    @click.command(cls=Command)
    def look() -> None:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("aecv.somewhere").log(level, "of %s", HOSTILE)

    for _ in range(2):  # a second command of the process has no second line
        found = CliRunner().invoke(look, debug)
    assert [line.split()[1] for line in found.stderr.strip().split("\n")] == shown
    assert unseen(found.output) == []


def assert_one_line(result: Result) -> None:
    """An error of one line that names the text, without what hides."""
    *usage, message = result.stderr.strip("\n").split("\n")
    assert all(line.startswith(("Usage:", "Try ")) or not line for line in usage), result.stderr
    assert message.lower().startswith("error: ")
    assert "gone" in message
    assert unseen(result.output) == unseen(result.stderr) == []


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        ("iterate", f"--{HOSTILE}"),
        ("iterate", "--system", HOSTILE),
        ("iterate", "--system", "ala2", "--set", f"{HOSTILE}=1"),
        ("iterate", "--system", "ala2", "--set", f"sampling.ns={HOSTILE}"),
        ("iterate", "--system", "ala2", "--config", HOSTILE, "--print-config"),
        ("iterate", "--system", "ala2", "--engine", HOSTILE),
        ("status", HOSTILE),
        ("report", HOSTILE),
        ("export", HOSTILE, "--to", "plumed", "--out", "x"),
        ("fes", HOSTILE, "--along", "phi"),
        ("check", HOSTILE),
        ("train", "--system", "ala2", "--frames", f"{HOSTILE}.dcd", "--out", "x"),
    ],
    ids=lambda arguments: arguments[0] if arguments[0] != HOSTILE else "command",
)
def test_hostile_arguments(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code in (1, 2)
    assert_one_line(result)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_systems()["ala2"], tmp_path / "gone\x1b[31m\nnext"))


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_hostile_names_of_atoms_and_residues(folder: Path) -> None:
    """Of a structure that its force field does not know, in a folder with such a name."""
    lines = (folder / "ala2.pdb").read_text(encoding="utf-8").splitlines()
    lines = [line.replace("ALA", "\x1b[m", 1) if line.startswith("ATOM") else line for line in lines]
    (folder / "ala2.pdb").write_text("\n".join(["TITLE     \x1b[2J gone", *lines]), encoding="utf-8")
    result = run("check", str(folder))
    assert result.exit_code == 1
    assert_one_line(result)


def test_hostile_values_of_a_toml_file(folder: Path) -> None:
    replaced(folder / "system.toml", 'structure = "ala2.pdb"', 'structure = "gone\\u001b[2J\\n\\u2028x.pdb"')
    assert_one_line(run("check", str(folder)))
    replaced(folder / "system.toml", "gone", "\\u202egone")
    assert_one_line(run("iterate", "--system", str(folder), "--out", str(folder / "run")))


def test_messages_of_libraries_are_one_line() -> None:
    @click.command(cls=Command)
    def body(**_: object) -> None:
        raise SettingsError(f"gone: got: {HOSTILE}")

    assert_one_line(CliRunner().invoke(body, []))
    assert unseen(CliRunner().invoke(body, ["--debug"]).stderr) == []
