"""The Python API: every name resolves, is documented, and stays what it is."""

import ast
import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aecv
from aecv import _HOMES

NAMES = sorted(_HOMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_its_home_defines_and_has_a_docstring(name):
    found = getattr(aecv, name)
    assert found.__module__ == _HOMES[name]  # where it is defined, not where it is imported too
    assert found.__name__ == name
    assert len((inspect.getdoc(found) or "").split()) > 2


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isfunction(getattr(aecv, name))])
def test_docstrings_of_functions_name_all_parameters(name):
    function = getattr(aecv, name)
    text = inspect.getdoc(function).partition("Args:")[2]
    missing = [parameter for parameter in inspect.signature(function).parameters if parameter not in text]
    assert missing == []


def test_table_all_dir_and_types_know_the_same_names():
    tree = ast.parse(Path(aecv.__file__).read_text())
    typed = {
        alias.name: statement.module
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert typed == _HOMES
    assert set(aecv.__all__) == {*_HOMES, "__version__"}
    assert set(aecv.__all__) <= set(dir(aecv))


def test_a_command_of_the_same_name_does_not_hide_a_function():
    for name in ("iterate", "train", "score", "status", "export"):
        command = importlib.import_module(f"aecv.{name}")
        assert callable(command.main)
        assert inspect.isfunction(getattr(aecv, name))


def test_listing_the_names_loads_nothing_heavy():
    code = "import aecv, sys; dir(aecv); assert not {'torch', 'openmm', 'numpy', 'numba'} & {*sys.modules}"
    environment = {**os.environ, "PYTHONPATH": str(Path(aecv.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)
