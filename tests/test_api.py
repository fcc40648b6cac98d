"""The Python API: every name resolves, is documented, and stays what it is."""

import ast
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import aecv

NAMES = sorted({*aecv.__all__} - {"__version__"})


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_its_home_defines_and_has_a_docstring(name):
    found = getattr(aecv, name)
    assert found.__name__ == name
    assert len((inspect.getdoc(found) or "").split()) > 2


@pytest.mark.parametrize("name", [name for name in NAMES if inspect.isfunction(getattr(aecv, name))])
def test_docstrings_of_functions_name_all_parameters(name):
    function = getattr(aecv, name)
    text = inspect.getdoc(function).partition("Args:")[2]
    missing = [parameter for parameter in inspect.signature(function).parameters if parameter not in text]
    assert missing == []


def test_types_all_and_dir_know_the_same_names_and_where_they_are_defined():
    tree = ast.parse(Path(aecv.__file__).read_text())
    typed = {
        alias.name: statement.module
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert typed == {name: getattr(aecv, name).__module__ for name in NAMES}
    assert set(aecv.__all__) <= set(dir(aecv))


def test_no_module_can_take_the_place_of_a_function():
    """Python binds a submodule to its package; the one file of such a name refuses to be imported."""
    beside = {found.name for found in pkgutil.iter_modules(aecv.__path__)}
    assert beside & {*aecv.__all__} == {"iterate"}
    with pytest.raises(ImportError, match=r"use `import aecv`; its command is aecv\.commands\.iterate\.main"):
        importlib.import_module("aecv.iterate")
    assert inspect.isfunction(aecv.iterate)


def test_listing_the_names_loads_nothing_heavy():
    code = "import aecv, sys; dir(aecv); assert not {'torch', 'openmm', 'numpy', 'numba'} & {*sys.modules}"
    environment = {**os.environ, "PYTHONPATH": str(Path(aecv.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=environment)
