"""Statistical inefficiency, blocks and burn-in of series of known correlation."""

import logging

import numpy as np
import pytest
from scipy.signal import lfilter

from aecv.ground.errors import GridError, SamplingError
from aecv.numerics.statistics.correlation import burn_in, n_blocks, statistical_inefficiency


def ar1(n_walkers: int, n_frames: int, a: float, seed: int) -> np.ndarray:
    """Stationary x_t = a x_(t-1) + noise of variance 1: g = (1 + a) / (1 - a)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n_walkers, n_frames)) * np.sqrt(1 - a * a)
    noise[:, 0] /= np.sqrt(1 - a * a)
    return lfilter([1.0], [1.0, -a], noise, axis=1)


@pytest.mark.parametrize("a", [0.0, 0.5, 0.9, 0.98])
def test_inefficiency_of_an_autoregressive_process(a: float) -> None:
    exact = (1 + a) / (1 - a)
    found = statistical_inefficiency(ar1(8, 50_000, a, seed=2))
    # var(g)/g^2 ~ 2 (2 M + 1)/N with M about 3 g lags summed: 4 % for a = 0.98, three times that is allowed
    assert found == pytest.approx(exact, rel=3 * np.sqrt(2 * (6 * exact + 1) / 400_000))


def test_inefficiency_of_one_walker_is_pymbars() -> None:
    logger = logging.getLogger("pymbar")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it speaks on import
    from pymbar import timeseries

    logger.setLevel(level)
    for a, seed in ((0.3, 0), (0.95, 1)):
        x = ar1(1, 3000, a, seed)
        expected = timeseries.statistical_inefficiency(x[0], fast=False)
        assert statistical_inefficiency(x) == pytest.approx(expected, rel=1e-10)


def test_walkers_that_stay_apart_are_correlated_throughout() -> None:
    x = ar1(4, 2000, 0.5, seed=3)
    apart = x + np.array([[-5.0], [5.0], [-5.0], [5.0]])
    assert statistical_inefficiency(x) < 5
    # C(t) = 25/26 at all lags: g ~ 2 sum_t (1 - t/T) 25/26 ~ T
    assert statistical_inefficiency(apart) == pytest.approx(2000 * 25 / 26, rel=0.02)
    assert n_blocks(apart) == 1
    assert statistical_inefficiency(np.ones((4, 100))) == np.inf
    assert n_blocks(np.ones((4, 100))) == 1


def test_blocks_are_five_inefficiencies_long() -> None:
    x = ar1(4, 30_000, 0.98, seed=4)  # g = 99: 30 000 / (5 * 99) = 60
    assert n_blocks(x, at_most=1000) == pytest.approx(60, abs=10)
    assert n_blocks(x) == 20
    assert n_blocks(x[:, :1500]) <= 5
    assert n_blocks(np.ones((1, 100)), at_least=2) == 2


def test_burn_in_finds_a_transient() -> None:
    """exp(-t / 500) is 2 % of its height after 2000 = 10 % of the frames, and the noise is of height 1."""
    t = np.arange(20_000)
    x = ar1(4, 20_000, 0.9, seed=5) + 10.0 * np.exp(-t / 500)
    assert 0.05 <= burn_in(x) <= 0.2


def test_burn_in_finds_walkers_that_relax_from_both_sides() -> None:
    t = np.arange(20_000)
    sides = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    x = ar1(4, 20_000, 0.9, seed=6) + 10.0 * sides * np.exp(-t / 500)
    assert 0.05 <= burn_in(x) <= 0.2


def test_burn_in_of_a_stationary_series_is_small() -> None:
    shares = [burn_in(ar1(4, 4000, 0.9, seed=seed)) for seed in range(40)]
    assert np.mean(shares) < 0.03
    assert np.quantile(shares, 0.9) < 0.1
    assert burn_in(np.ones((2, 100))) == 0.0


def test_burn_in_never_drops_more_than_half() -> None:
    t = np.arange(2000)
    for x in (t[None] * 1.0, np.where(t < 1500, 0.0, 1.0)[None], ar1(2, 2000, 0.999, seed=1)):
        assert 0.0 <= burn_in(x) <= 0.5


def test_errors() -> None:
    with pytest.raises(GridError, match="n_walkers, n_frames"):
        statistical_inefficiency(np.zeros(10))
    with pytest.raises(SamplingError, match="finite"):
        n_blocks(np.full((2, 10), np.nan))
    with pytest.raises(GridError, match="20 frames"):
        burn_in(np.zeros((2, 19)))
