"""Grids whose last bin is a neighbour of the first."""

import json

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.ground.grid import Grid

GRID = Grid(lower=(-1.0, 0.0), upper=(1.0, 3.0), n_bins=(4, 3), periodic=(True, False))


def test_whole_turns_change_no_bin() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((-1.0, 0.0), (1.0, 3.0), (500, 2))
    turns = rng.integers(-5, 6, 500)
    moved = points + np.stack([2.0 * turns, np.zeros(500)], axis=1)
    np.testing.assert_array_equal(GRID.index(moved), GRID.index(points))
    np.testing.assert_allclose(GRID.wrap(moved), points, atol=1e-14)
    assert GRID.index([[0.0, 3.0]])[0] == -1  # the other dimension has an end


def test_the_seam_belongs_to_the_first_bin_and_rounding_stays_inside() -> None:
    below = np.nextafter(-1.0, -2.0)  # -1 - 2e-16, which wraps to 1 - 2e-16 or is rounded to 1
    wrapped = GRID.wrap([[1.0, 0.5], [-1.0, 0.5], [below, 0.5]])
    assert np.all((wrapped[:, 0] >= -1.0) & (wrapped[:, 0] < 1.0))
    np.testing.assert_array_equal(GRID.index([[1.0, 0.5], [-1.0, 0.5]]), [0, 0])


def test_nan_and_infinity_are_off_the_grid() -> None:
    assert GRID.index([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, 1.0], [0.0, np.inf]]).tolist() == [-1] * 4


def test_periods_and_defaults() -> None:
    assert GRID.periods.tolist() == [2.0, 0.0]
    plain = Grid(lower=(0.0,), upper=(1.0,), n_bins=(5,))
    assert plain.periodic == (False,)
    assert plain == Grid(lower=(0.0,), upper=(1.0,), n_bins=(5,), periodic=(False,))
    assert plain != Grid(lower=(0.0,), upper=(1.0,), n_bins=(5,), periodic=(True,))
    with pytest.raises(GridError, match="one entry per dimension, 1, got 2"):
        Grid(lower=(0.0,), upper=(1.0,), n_bins=(5,), periodic=(True, False))


def test_dictionaries_with_and_without_the_flags() -> None:
    assert Grid.from_dict(json.loads(json.dumps(GRID.as_dict()))) == GRID
    old = {name: value for name, value in GRID.as_dict().items() if name != "periodic"}
    assert Grid.from_dict(old).periodic == (False, False)
