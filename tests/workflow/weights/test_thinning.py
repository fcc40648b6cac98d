"""The pool is thinned by how slowly its iterations forget: what rarely passed does not outvote the others."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from aecv.ground.settings import PoolSettings
from aecv.workflow.weights.pool import BiasedIteration, mbar_pool, relative_slowness, thinned
from tests.numerics.toys import KT
from tests.workflow.hand import samples_of_walkers
from tests.workflow.weights.test_pool import P_RIGHT, biased, flattening, iterations, samples_of, share_right


def stuck(item: BiasedIteration) -> BiasedIteration:
    """The same draws sorted by side: each of the two walkers in one well from beginning to end.

    Half of the frames of each then are right of the barrier, whatever the bias.
    """
    samples = item.samples
    x, lam = samples.xi[:, 0], samples.lam[:, 0]
    rng = np.random.default_rng(0)
    n = samples.n_frames // 2
    order = np.concatenate([rng.choice(np.flatnonzero(side), n) for side in (x < 0, x > 0)])
    return replace(item, samples=samples_of(x[order], lam[order]))


def test_an_iteration_with_rare_passages_counts_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walkers that never pass have the populations of their starts: 1/2 right of the barrier, not 0.33.

    Their inefficiency is nearly the number of their frames, so that a handful of these stay in the pool; with
    all of them Delta F would be off by 0.5 kT, many of its standard errors.
    """
    runs = [stuck(biased(1, flattening(0.5), 20_000, 5)), biased(2, flattening(1.0), 20_000, 6)]
    truth = -KT * np.log(P_RIGHT / (1 - P_RIGHT))

    def error() -> tuple[float, int]:
        pool = mbar_pool(runs, PoolSettings())
        p, _ = share_right(pool.observables["x"], pool.weights)
        return abs(-KT * np.log(p / (1 - p)) - truth) / KT, int((pool.iteration == 1).sum())

    thinned, n_thinned = error()
    monkeypatch.setattr("aecv.workflow.weights.pool.relative_slowness", lambda items: np.ones(len(items)))
    everything, n_everything = error()
    assert n_everything == 16_000
    assert n_thinned < 0.002 * n_everything
    assert thinned < 4 * 0.023  # the standard error of 16 000 frames
    assert everything > 0.4


def test_slowness_is_the_inefficiency_over_the_smallest_one() -> None:
    """g = (1 + a) / (1 - a) of a series with correlation a: 9 for 0.8, against 1 of white noise.

    16 000 frames of the first are 1800 independent ones: g is known to about a tenth.
    """
    rng = np.random.default_rng(3)
    white = rng.normal(size=(2, 10_000))
    slow = lfilter([1.0], [1.0, -0.8], rng.normal(size=(2, 10_000)))
    quick, lazy = (
        (replace(iterations()[0], samples=samples_of_walkers(np.full((2, 10_000), -1), xi=xi)), 0.2)
        for xi in (white, slow)
    )
    found = relative_slowness([quick, lazy])
    assert found[0] == 1.0
    assert found[1] == pytest.approx(9.0, rel=0.2)
    np.testing.assert_allclose(relative_slowness([lazy]), 1.0)
    # the slowest series counts: runs of 100 frames in a basin, g = 100 against 9
    basin = np.repeat(rng.integers(0, 2, (2, 100)), 100, axis=1)
    both = replace(lazy[0], samples=samples_of_walkers(basin, xi=slow))
    assert relative_slowness([quick, (both, 0.2)])[1] == pytest.approx(100.0, rel=0.35)


def test_what_tells_no_time_scale_is_not_slow() -> None:
    """One frame per walker after the start, or a series that never changes."""
    one = replace(iterations()[0], samples=samples_of_walkers([[0, 1], [1, 0]], xi=[[0.0, 1.0], [0.0, 2.0]]))
    same = replace(
        iterations()[0], samples=samples_of_walkers(np.zeros((2, 9), dtype=int), xi=np.ones((2, 9)))
    )
    np.testing.assert_array_equal(relative_slowness([(one, 0.5), (same, 0.2)]), [1.0, 1.0])


@pytest.mark.parametrize(
    ("n", "step", "expected"),
    [(10, 1.0, list(range(10))), (10, 3.0, [0, 3, 6]), (10, 1e9, [0]), (0, 3.0, []), (8, 2.5, [0, 2, 5])],
)
def test_thinning_is_even_and_leaves_a_frame(n: int, step: float, expected: list[int]) -> None:
    np.testing.assert_array_equal(thinned(np.arange(n), step), expected)
