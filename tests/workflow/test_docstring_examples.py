"""The examples in the docstrings of the API run, and say what comes out."""

import doctest
import shutil
from pathlib import Path

import pytest

import aecv

NAMES = sorted({*aecv.__all__} - {"__version__"})
EXAMPLES = {
    name: found
    for name in NAMES
    if (found := doctest.DocTestFinder(recurse=False).find(getattr(aecv, name), name)[0]).examples
}


def test_everything_of_the_api_has_an_example() -> None:
    assert set(NAMES) - EXAMPLES.keys() == set()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(
    name: str, small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    if "runs/ala2" in EXAMPLES[name].docstring:
        shutil.copytree(small_run, tmp_path / "runs" / "ala2")
    monkeypatch.chdir(tmp_path)
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(EXAMPLES[name])
    assert found.failed == 0, capsys.readouterr().out
