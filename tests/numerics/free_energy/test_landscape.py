"""Basins and the path between them, on landscapes whose minima, passes and valleys are known."""

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.numerics.free_energy.landscape import find_basins, lowest_path

KT = 2.5


def double_well(x: np.ndarray) -> np.ndarray:
    """Minima of 0 at -1 and 2 at +1, a pass of 8 at 0 [kJ/mol], to 0.2."""
    return 7.0 * (x**2 - 1.0) ** 2 + 1.0 + x


def test_depths_are_those_of_the_passes() -> None:
    x = np.linspace(-1.6, 1.6, 321)
    values = double_well(x)
    lower, upper = find_basins(values, (False,), min_depth=1.0)
    assert x[lower.bin] == pytest.approx(-1.0, abs=0.03)
    assert lower.depth == np.inf
    assert x[upper.bin] == pytest.approx(1.0, abs=0.03)
    barrier = values[(x > -0.5) & (x < 0.5)].max()
    assert upper.depth == pytest.approx(barrier - values[upper.bin])
    assert find_basins(values, (False,), min_depth=upper.depth + 0.01) == (lower,)


def test_noise_makes_no_basins() -> None:
    x = np.linspace(-1.6, 1.6, 60)
    noisy = double_well(x)[:, None] + 10.0 * x[None, :] ** 2
    noisy = noisy + np.random.default_rng(3).uniform(-0.4, 0.4, noisy.shape)
    # noise of +-0.4 makes minima that are at most 0.8 deep
    assert len(find_basins(noisy, (False, False), min_depth=0.0)) > 10
    found = find_basins(noisy, (False, False), min_depth=1.0)
    assert [round(float(x[basin.bin // 60])) for basin in found] == [-1, 1]


def test_a_basin_across_the_seam_is_one() -> None:
    angle = np.linspace(-np.pi, np.pi, 72, endpoint=False)
    values = 10.0 * (1.0 + np.cos(angle))  # the minimum lies on the seam
    assert len(find_basins(values, (True,), min_depth=1.0)) == 1
    both_ends = find_basins(np.roll(values, 1), (False,), min_depth=1.0)
    assert len(both_ends) == 2


def test_islands_are_basins_of_their_own() -> None:
    values = np.array([3.0, 1.0, np.nan, 2.0, 5.0])
    found = find_basins(values, (False,), min_depth=1.0)
    assert [(basin.bin, basin.depth) for basin in found] == [(1, np.inf), (3, np.inf)]
    assert lowest_path(values, (False,), 1, 3, kt=KT).size == 0


def test_the_path_stays_in_a_curved_valley() -> None:
    """Wells at the ends of a half circle of radius 1; straight through the middle F is 40 kJ/mol higher."""
    axis = np.linspace(-1.5, 1.5, 61)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    values = 40.0 * (np.hypot(x, y) - 1.0) ** 2 / 0.25 + 20.0 * np.maximum(-y, 0.0) + 4.0 * np.abs(y)
    start = int(np.ravel_multi_index((10, 30), values.shape))  # x = -1, y = 0
    end = int(np.ravel_multi_index((50, 30), values.shape))
    path = lowest_path(values, (False, False), start, end, kt=KT)
    assert (path[0], path[-1]) == (start, end)
    px, py = axis[path // 61], axis[path % 61]
    assert np.abs(np.hypot(px, py) - 1.0).max() < 0.15
    assert py.max() == pytest.approx(1.0, abs=0.1)  # over the top, since the way below is 20 kJ/mol higher
    steps = np.abs(np.diff(np.stack([path // 61, path % 61]), axis=1)).max(axis=0)
    assert steps.tolist() == [1] * (len(path) - 1)


def test_a_periodic_path_takes_the_short_way() -> None:
    flat = np.zeros(20)
    assert lowest_path(flat, (True,), 1, 18, kt=KT).tolist() == [1, 0, 19, 18]
    assert len(lowest_path(flat, (False,), 1, 18, kt=KT)) == 18


def test_huge_barriers_do_not_overflow() -> None:
    assert lowest_path([0.0, 1e5, 0.0], (False,), 0, 2, kt=KT).tolist() == [0, 1, 2]


def test_wrong_questions_are_refused() -> None:
    with pytest.raises(GridError, match="a flag for each, got 2 and 1"):
        find_basins(np.zeros((3, 3)), (False,), min_depth=1.0)
    with pytest.raises(GridError, match="where the free energy is known"):
        lowest_path([0.0, np.nan], (False,), 0, 1, kt=KT)
