"""All frames get weights from the solution of a thinned pool: same populations, less noise in rare bins."""

import numpy as np
import pytest

from aecv.ground.settings import PoolSettings
from aecv.numerics.weights import effective_sample_size
from aecv.workflow.pool import mbar_pool
from aecv.workflow.reweighted import all_frames, frames_of_pool
from tests.workflow.test_pool import FINE, P_RIGHT, TRUTH, biased, flattening, share_right

RUNS = [biased(1, flattening(0.5), 20_000, 5), biased(2, flattening(1.0), 20_000, 6)]
THINNED = mbar_pool(RUNS, PoolSettings(max_frames=1_000))


def error_of_profile(x: np.ndarray, weights: np.ndarray) -> float:
    """Root-mean-square error of F(x) [kT] over 30 bins that hold all but 1e-6 of the equilibrium."""
    edges = np.linspace(-1.7, 1.7, 31)
    found, _ = np.histogram(x, edges, weights=weights)
    exact, _ = np.histogram(FINE, edges, weights=TRUTH / TRUTH.sum())
    difference = np.log(found) - np.log(exact)
    return float(np.std(difference))


def test_all_frames_are_there_and_the_pools_among_them() -> None:
    """4/5 of 2 x 20 000 frames; those of the pool at `of_pool`, weighted as in it within each state."""
    frames = all_frames(THINNED, RUNS)
    assert len(frames.weights) == 32_000
    np.testing.assert_array_equal(frames.iteration[frames.of_pool], THINNED.iteration)
    np.testing.assert_array_equal(frames.frame[frames.of_pool], THINNED.frame)
    assert THINNED.sample is not None
    first = slice(0, int(THINNED.sample.n_per_state[0]))
    ratio = frames.weights[frames.of_pool][first] / THINNED.weights[first]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_their_free_energy_is_nearer_to_the_exact_one() -> None:
    """32 times the independent frames: a profile whose error is about sqrt(32) = 5.7 times smaller.

    A population has the error of f_jb as well, which the thinned frames set: within 4 of its standard errors.
    """
    frames = all_frames(THINNED, RUNS)
    thin = error_of_profile(THINNED.observables["x"], THINNED.weights)
    dense = error_of_profile(frames.observables["x"], frames.weights)
    assert dense < thin / 3
    p, _ = share_right(frames.observables["x"], frames.weights)
    error = np.sqrt(P_RIGHT * (1 - P_RIGHT) / effective_sample_size(THINNED.weights))
    assert abs(p - P_RIGHT) < 4 * error


def test_a_slow_iteration_counts_no_more_than_in_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thinned ten times, it has a share of the weight that all of its frames keep, within 1/sqrt(1600)."""
    monkeypatch.setattr("aecv.workflow.pool._slowness", lambda items: np.array([10.0, 1.0]))
    pool = mbar_pool(RUNS, PoolSettings())
    frames = all_frames(pool, RUNS)
    share = pool.weights[pool.iteration == 1].sum()
    everything = frames.weights[frames.iteration == 1].sum()
    assert share < 0.25
    assert abs(everything - share) < 4 * share / np.sqrt(1600)


@pytest.mark.parametrize("most", [500, 4_000])
def test_their_number_is_bounded(most: int) -> None:
    """About `most` of them, and the pool's own in any case."""
    frames = all_frames(THINNED, RUNS, most=most)
    assert most <= len(frames.weights) <= most + THINNED.n_frames + 8
    np.testing.assert_array_equal(frames.frame[frames.of_pool], THINNED.frame)
    p, _ = share_right(frames.observables["x"], frames.weights)
    error = np.sqrt(P_RIGHT * (1 - P_RIGHT) / effective_sample_size(THINNED.weights))
    assert abs(p - P_RIGHT) < 4 * error


def test_the_pools_own_frames_are_the_default() -> None:
    """Weights as they are; xi of the CV that was biased last."""
    frames = frames_of_pool(THINNED, RUNS[-1])
    np.testing.assert_array_equal(frames.weights, THINNED.weights)
    np.testing.assert_allclose(frames.xi[:, 0], THINNED.observables["x"], atol=1e-6)
