"""Compiled kernels follow their sources, also those of the functions that they call."""

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from aecv.numerics.kernels import compilation

CALLER = """
from aecv.numerics.kernels.compilation import jit
from aecv.numerics.made_up import answer

@jit
def twice(x):
    return 2 * answer(x)
"""
CALLEE = """
from aecv.numerics.kernels.compilation import jit

@jit
def answer(x):
    return x + {number}
"""


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "aecv" / "numerics"
    kernels = package / "kernels"
    kernels.mkdir(parents=True)
    for folder in (kernels, package, package.parent):
        (folder / "__init__.py").touch()
    (kernels / "compilation.py").write_text(Path(compilation.__file__).read_text())
    (package / "caller.py").write_text(CALLER)
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}

    def run() -> list[str]:
        code = (
            "from aecv.numerics.caller import twice; answer = twice(1); "
            "print(answer, sum(twice.stats.cache_hits.values()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(tmp_path)},
        )
        return done.stdout.split()

    (package / "made_up.py").write_text(CALLEE.format(number=1))
    assert run() == ["4", "0"]
    assert run() == ["4", "1"]  # kept
    (package / "made_up.py").write_text(CALLEE.format(number=5))
    assert run() == ["12", "0"]


def test_the_folder_is_in_the_one_that_numba_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert compilation.cache_base(tmp_path / "package") == tmp_path
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    (tmp_path / "package").mkdir()
    assert compilation.cache_base(tmp_path / "package") == tmp_path / "package" / "__pycache__"
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert compilation.cache_base(tmp_path / "package") == Path.home() / ".cache" / "numba"
