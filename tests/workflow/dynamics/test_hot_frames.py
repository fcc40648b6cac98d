"""Frames of the hot run train the first CV: with the weight that they are given, and no other CV."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecv.ground.files import read_arrays
from aecv.ground.progress import silent
from aecv.models.cvs.cv_files import load_cv
from aecv.models.inputs.frame_table import FrameTable
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from aecv.workflow.learning import learning_stage
from aecv.workflow.learning.next_cv import with_hot
from aecv.workflow.run_folder.store import RunDirectory
from tests.workflow.conftest import SMALL


def frames_with(weights: list[float]) -> FrameTable:
    return FrameTable(positions=np.zeros((len(weights), 2, 3)), weights=np.array(weights))


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_the_hot_run_has_its_share_of_the_weight(share: float) -> None:
    """Whatever the sum of the others, which keep their proportions; every hot frame counts the same."""
    hot = np.ones((5, 2, 3), dtype=np.float32)
    both = with_hot(frames_with([1.0, 2.0, 5.0]), hot, share)
    np.testing.assert_allclose(both.weights[:3], (1 - share) * np.array([1, 2, 5]) / 8, rtol=1e-15)
    np.testing.assert_allclose(both.weights[3:], share / 5, rtol=1e-15)
    assert both.weights.sum() == pytest.approx(1.0, rel=1e-15)
    np.testing.assert_array_equal(both.positions[:, 0, 0], [0, 0, 0, 1, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("hot", "share"), [(None, 0.3), (np.empty((0, 2, 3)), 0.3), (np.ones((5, 2, 3)), 0.0)]
)
def test_without_hot_frames_or_share_nothing_changes(hot: np.ndarray | None, share: float) -> None:
    frames = frames_with([1.0, 2.0])
    assert with_hot(frames, hot, share) is frames


class _Seen(Exception):
    """Ends a learning stage where its training would begin."""


def test_only_the_first_training_sees_them(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(small_run, tmp_path / "copy", ignore=shutil.ignore_patterns(".lock")))
    given: list[Any] = []

    def look(*_: Any, hot: Any, **__: Any) -> None:
        given.append(hot)
        raise _Seen

    monkeypatch.setattr(learning_stage, "train_cv", look)
    spec = load_system("ala2", overrides=SMALL)
    cvs = [load_cv(folder / "iteration_00"), load_cv(folder / "iteration_01")]
    with RunDirectory.resume(folder, spec, platform="Reference") as run:
        for iteration in (0, 1, 2):
            with pytest.raises(_Seen):
                learning_stage.learn(run, iteration, cvs[:iteration], build(spec), silent)
    stored = read_arrays(folder / "iteration_00" / "starts.npz")["hot_cv_positions"]
    np.testing.assert_array_equal(given[0], stored)
    assert given[1] is given[2] is None


def test_the_first_grid_holds_the_hot_run(small_run: Path) -> None:
    """30 ps of hot run with a frame every 0.02 ps, 8 atoms in the CV; the bias may go wherever it went."""
    hot = read_arrays(small_run / "iteration_00" / "starts.npz")["hot_cv_positions"]
    assert hot.shape[1:] == (8, 3)
    assert 1000 < len(hot) <= 1500
    cv = load_cv(small_run / "iteration_00")
    xi, limits = cv(hot.astype(float)), np.array(cv.cv_range)
    assert np.all((xi > limits[:, 0]) & (xi < limits[:, 1]))
