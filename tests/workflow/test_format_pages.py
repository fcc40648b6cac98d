"""The Python of the pages on files does what it says, on the files of a small run."""

import pytest

import aecv
from tests.pages import REPOSITORY, blocks

pytest.importorskip("torch")
FORMATS = sorted((REPOSITORY / "docs/formats").glob("*.md"))
SNIPPETS = [block for block in blocks(*FORMATS) if block.kind == "python"]


@pytest.fixture
def like_ala2(small_run, tmp_path, monkeypatch):
    """A folder where the paths of the pages lead to the small run's last iteration and production."""
    run = tmp_path / "runs" / "ala2"
    run.mkdir(parents=True)
    last = {"iteration_09": "iteration_02", "production_09": "production_02"}
    for name, item in [*((item.name, item.name) for item in small_run.iterdir()), *last.items()]:
        (run / name).symlink_to(small_run / item)
    for name, item in last.items():
        (tmp_path / name).symlink_to(small_run / item)
    (tmp_path / "cv.pt").symlink_to(small_run / "iteration_02" / "cv.pt")
    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_snippet_runs(block, like_ala2):
    import numpy as np

    positions = np.load(like_ala2 / "iteration_02" / "samples.npz")["cv_positions"][:5]
    exec(block.text, {"aecv": aecv, "positions": positions})


def test_arrays_are_those_of_the_pages(like_ala2):
    """Every array of the archives has its row, and every row its array."""
    import re

    import numpy as np

    text = (REPOSITORY / "docs/formats/arrays.md").read_text()
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = part.partition("\n")[0]
        told = {
            word
            for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
            for word in re.findall(r"`(\w+)`", row)
        }
        found = set(np.load(like_ala2 / "production_02" / name))
        observed = {word for word in found if word.startswith("observable_")}
        assert observed or name != "samples.npz"
        assert found - observed == told - {"observable_NAME"} - (
            {"weights"} if name == "samples.npz" else set()
        )
