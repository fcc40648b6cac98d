"""Fixtures shared by all tests."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real structures and reference data kept beside the checkout; absent for users."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"reference data are not at {folder}: they do not belong to a user's checkout")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder of small inputs that went wrong once, kept beside the checkout; absent for users."""
    folder = REPOSITORY.parent / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"cases are not at {folder}: they do not belong to a user's checkout")
    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a benchmark as Python does when it runs one: with its folder first on the path."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "benchmarks"))
    return importlib.import_module


def called(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    """Runs a script's main with arguments as from a command line."""
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    script.main()
