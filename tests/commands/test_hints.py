"""What an error advises exists, and helps in the case that it is told in."""

import ast
import errno
import importlib
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner, Result

import aecv
from aecv.commands.cli import COMMANDS
from aecv.commands.command import Command, run_folder
from aecv.commands.options import resume_option
from aecv.ground.files import new_folder, write_text
from aecv.molecules.spec import load_system
from tests.conftest import REPOSITORY
from tests.test_pages import OF_OTHERS, options_of

TRAIN = importlib.import_module("aecv.commands.train").main
OPTION = re.compile(r"(?<![\w(-])--[a-z][a-z-]+")


OPTIONS = {name: options_of(importlib.import_module(f"aecv.commands.{name}").main) for name in COMMANDS}
PROGRAMS = OF_OTHERS | {
    "--force-reinstall",  # pip
    *(
        "--plumed",
        "--mf",
        "--timestep",
        "--trajectory-stride",
        "--enable-boost",
        "--enable-libtorch",
    ),  # PLUMED
    *("--add-atoms", "--output"),  # PDBFixer
}
"""Options of other programs."""
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / "aecv").rglob("*.py"))
}


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """Line and constant text of every statement that has any; docstrings are none."""
    for node in ast.walk(ast.parse(source)):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and not is_docstring:
            found = " ".join(part.value for part in _own(node) if isinstance(part.value, str))
            if found:
                yield node.lineno, found


def _own(node: ast.AST) -> Iterator[ast.Constant]:
    """Constants of a statement that are of no statement within it, in their order."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.Constant):
            yield part
        elif not isinstance(part, ast.stmt):
            yield from _own(part)


@cache
def imported(name: str) -> frozenset[str]:
    """Modules of the package that one of them imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(MODULES[name].read_text())))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found & set(MODULES) - {"aecv"})


def behind(command: str) -> set[str]:
    """Modules that a command may come to."""
    found, more = set(), {f"aecv.commands.{command}"}
    while more:
        found |= more
        more = set().union(*(imported(name) for name in more)) - found
    return found


def unknown_options(text: str, commands: set[str]) -> set[str]:
    """Options in a text that neither another program has, nor a command that it may be told in or names."""
    named = {name for name in re.findall(r"\baecv[ .](\w+)", text) if name in COMMANDS}
    return set(OPTION.findall(text)) - PROGRAMS - set().union(*(OPTIONS[name] for name in commands | named))


def test_every_option_that_is_spoken_of_is_one_of_a_command_that_says_so() -> None:
    """In whatever text: raised, yielded, logged, or kept in a constant."""
    users = {name: {command for command in COMMANDS if name in behind(command)} for name in MODULES}
    assert sum(len(found) == 1 for found in users.values()) > 20
    assert users["aecv.workflow.exporting.export_source"] == {"export"}
    replaced = ("aecv.workflow.new_system.initialising", "another --out")  # by words that fit
    n_found, wrong = 0, []
    for name, path in MODULES.items():
        for line, text in texts_of(path.read_text()):
            n_found += len(OPTION.findall(text))
            told = text.replace(replaced[1], "") if name == replaced[0] else text
            if unknown := unknown_options(told, users[name] or set(COMMANDS)):
                wrong.append((f"{name}, line {line}", unknown))
    assert n_found > 200
    assert wrong == []


def test_options_are_found_wherever_they_stand() -> None:
    source = '''
"""A module with --ns."""
ADVICE = "a longer --ns"
def f(x: str = "--stride"):
    """--frames"""
    if x == "--seed":
        yield f"give it {x} of --bias"
    return Error(other="aecv export", told="with --to")
'''
    texts = [text for _, text in texts_of(source)]
    assert [OPTION.findall(text) for text in texts] == [
        ["--ns"],
        ["--stride"],
        ["--seed"],
        ["--to"],
        ["--bias"],
    ]
    assert unknown_options("a longer --ns", {"train"}) == {"--ns"}
    assert unknown_options("a longer --ns", {"train", "sample"}) == set()
    assert unknown_options("aecv export RUN --to plumed", {"report"}) == set()
    assert unknown_options("with --resume", {"export"}) == {"--resume"}


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
    assert done.stderr == (
        "error: train: training needs >= 100 frames, at most 50 of the 50 that are given (--frames, "
        "--stride) count; give it more frames\n"
    )
    assert set(OPTION.findall(done.stderr)) <= options_of(TRAIN)
