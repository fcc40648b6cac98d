"""What an error advises exists, and helps in the case that it is told in."""

import ast
import errno
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner, Result

import aecv
from aecv.cli import COMMANDS
from aecv.command import Command, run_folder
from aecv.ground.files import new_folder, write_text
from aecv.models.spec import load_system
from aecv.options import resume_option
from tests.conftest import REPOSITORY
from tests.test_pages import OF_OTHERS, options_of

TRAIN = importlib.import_module("aecv.train").main
OPTION = re.compile(r"(?<![\w(-])--[a-z][a-z-]+")


def texts_of_errors() -> Iterator[tuple[str, str]]:
    """Place and constant text of everything that is raised in the package."""
    for path in sorted((REPOSITORY / "aecv").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                for part in ast.walk(node.exc):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{path.relative_to(REPOSITORY)}:{part.lineno}", part.value


def test_every_option_that_an_error_names_exists() -> None:
    known = (
        set().union(*(options_of(importlib.import_module(f"aecv.{name}").main) for name in COMMANDS))
        | OF_OTHERS
    )
    named = [(place, option) for place, text in texts_of_errors() for option in OPTION.findall(text)]
    assert len(named) > 30
    assert [(place, option) for place, option in named if option not in known] == []


@pytest.mark.parametrize(
    ("number", "helps"),
    [
        (errno.ENOSPC, "free space or choose another --out"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "make its folder writable"),
        (errno.EROFS, "choose another --out"),
        (errno.ENAMETOOLONG, "choose a shorter name"),
    ],
)
def test_space_is_the_remedy_for_a_full_disk_alone(
    number: int, helps: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("aecv.ground.files.os.replace", refuse)
    with pytest.raises(aecv.AecvError) as of_file:
        write_text(tmp_path / "a.txt", "x")
    with pytest.raises(aecv.AecvError) as of_folder, new_folder(tmp_path / "b") as folder:
        write_text(folder / "c.txt", "x")
    for caught, path in ((of_file, tmp_path / "a.txt"), (of_folder, tmp_path / "b")):
        told = str(caught.value)
        assert told.startswith(f"{path}: cannot be written ({os.strerror(number)}); ")
        assert helps in told
        assert ("free space" in told) == (number in (errno.ENOSPC, errno.EDQUOT))
    assert list(tmp_path.iterdir()) == []


def refused(*, with_resume: bool, folder: Path, begun: bool) -> Result:
    """A command whose file cannot be written, with a run behind it or without."""

    def body(**_: object) -> None:
        run_folder(folder, "any")
        if begun:
            folder.mkdir()
            (folder / "run.json").write_text("{}")
        write_text(folder / "no" / "such" / "place.txt", "x")

    command = click.command(cls=Command)(body)
    return CliRunner().invoke(resume_option()(command) if with_resume else command, [])


def test_resuming_is_advised_where_the_command_can_and_a_run_is_there(tmp_path: Path) -> None:
    assert refused(with_resume=True, folder=tmp_path / "a", begun=True).stderr.endswith(
        "; mend that, then continue with --resume\n"
    )
    assert refused(with_resume=True, folder=tmp_path / "b", begun=False).stderr.endswith(
        "; nothing was written yet\n"
    )
    assert "--resume" not in refused(with_resume=False, folder=tmp_path / "c", begun=True).stderr


def test_training_on_too_few_frames_does_not_speak_of_ns(tmp_path: Path) -> None:
    """`aecv train` has no --ns: its frames are there."""
    folder = load_system("ala2").directory
    molecule = mdtraj.load(folder / load_system("ala2").settings.system.structure)
    positions = np.repeat(molecule.xyz, 50, axis=0)
    positions += np.random.default_rng(0).normal(0.0, 1e-3, positions.shape).astype(np.float32)
    mdtraj.Trajectory(positions, molecule.topology).save_dcd(tmp_path / "few.dcd")
    words = ["--system", "ala2", "--frames", str(tmp_path / "few.dcd"), "--out", str(tmp_path / "cv")]
    done = CliRunner().invoke(TRAIN, words)
    assert done.exit_code == 1
    assert "50" in done.stderr
    assert "more frames" in done.stderr
    assert set(OPTION.findall(done.stderr)) <= options_of(TRAIN)
