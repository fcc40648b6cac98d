"""Fixtures shared by all tests."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def log_of_its_own() -> Iterator[None]:
    """What a command set up for its log ends with its test: tests run in any order, in several processes."""
    logger = logging.getLogger("aecv")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


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


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes two thirds of the time of a small run."""
    monkeypatch.setattr("aecv.workflow.loop.tell", lambda *_: None)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished small run; tests must not change it."""
    from aecv.molecules.spec import load_system
    from aecv.workflow.loop import iterate
    from tests.workflow.conftest import SMALL

    folder = tmp_path_factory.mktemp("small") / "run"
    iterate(load_system("ala2", overrides=SMALL), folder)
    return folder


def called(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> None:
    """Runs a script's main with arguments as from a command line."""
    monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
    script.main()
