"""All frames get weights from the solution of a thinned pool: same populations, less noise in rare bins."""

from dataclasses import dataclass

import numpy as np
import pytest

from aecv.ground.errors import SamplingError
from aecv.ground.settings import PoolSettings
from aecv.numerics.free_energy.support import Course
from aecv.numerics.free_energy.weights import effective_sample_size
from aecv.workflow.free_energies.uncertainty import Origins, Resampled, resample
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.weights.pool import BiasedIteration, mbar_pool, plain_pool
from aecv.workflow.weights.reweighted import ReweightedFrames, all_frames, frames_of_pool
from tests.numerics.toys import KT
from tests.workflow.weights.test_pool import (
    FINE,
    P_RIGHT,
    TRUTH,
    FirstCoordinate,
    biased,
    flattening,
    share_right,
)

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
    monkeypatch.setattr("aecv.workflow.weights.pool.relative_slowness", lambda items: np.array([10.0, 1.0]))
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


@dataclass(frozen=True)
class Mirrored(FirstCoordinate):
    """-x of the first atom."""

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return -super().__call__(positions)


def mirrored(item: BiasedIteration, force: np.ndarray) -> BiasedIteration:
    """The same frames under the same bias, described along -x: lambda and its force change sign."""
    other = biased(item.index, -force[::-1], 10, 1)  # for its bias; the grid is symmetric
    samples = Samples(item.samples.arrays | {"xi": -item.samples.xi, "lam": -item.samples.lam})
    return BiasedIteration(index=item.index, samples=samples, bias=other.bias, cv=Mirrored())  # type: ignore[arg-type]


@pytest.mark.parametrize("which", [0, 1])
def test_each_iteration_is_weighed_along_its_own_cv(which: int) -> None:
    """Iterations along x and -x give the weights of two along x."""
    runs = list(RUNS)
    runs[which] = mirrored(RUNS[which], flattening([0.5, 1.0][which]))
    pool = mbar_pool(runs, PoolSettings(max_frames=1_000))
    np.testing.assert_allclose(pool.weights, THINNED.weights, rtol=1e-6)
    frames, expected = all_frames(pool, runs), all_frames(THINNED, RUNS)
    np.testing.assert_allclose(frames.weights, expected.weights, rtol=1e-6)
    sign = -1.0 if which == 1 else 1.0
    np.testing.assert_allclose(frames.xi, sign * expected.xi, atol=1e-12)


def test_of_a_pool_with_all_frames_they_are_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aecv.workflow.weights.pool.relative_slowness", lambda items: np.ones(2))
    pool = mbar_pool(RUNS, PoolSettings(max_frames=100_000))
    assert pool.n_frames == 32_000
    frames = all_frames(pool, RUNS)
    np.testing.assert_allclose(frames.weights[frames.of_pool], pool.weights, rtol=1e-9)


def test_a_pool_that_mbar_did_not_make_is_refused() -> None:
    with pytest.raises(SamplingError, match="needs a pool that MBAR solved"):
        all_frames(plain_pool(RUNS[-1], PoolSettings()), RUNS)


def resampled(frames: ReweightedFrames) -> tuple[Resampled, Resampled]:
    """Error bars of the thinned pool, and the same with an estimate from these frames."""
    pool = THINNED
    assert pool.sample is not None
    x = pool.observables["x"]
    thin = resample(
        pool.sample,
        pool.weights,
        Origins(run=pool.iteration, walker=pool.walker, progress=pool.progress, slow=(x,)),
        kt=KT,
        inside=x > 0,
        passages=None,
        n_replicates=30,
        seed=0,
    )
    return thin, thin.of_more_frames(
        frames.weights,
        frames.observables["x"] > 0,
        frames.of_pool,
        Course.of(frames.iteration, frames.walker, frames.frame),
    )


def test_errors_of_all_frames_are_those_of_the_pools() -> None:
    """Bin by bin and of Delta F: replicates hold the pool's frames and see these frames' values."""
    frames = all_frames(THINNED, RUNS)
    thin, dense = resampled(frames)
    few, many = thin.delta_f(), dense.delta_f()
    assert few is not None
    assert many is not None
    np.testing.assert_allclose(many.standard_error, few.standard_error, rtol=1e-12)
    assert 0.01 * KT < float(many.standard_error) < KT
    assert float(many.estimate) != float(few.estimate)
    edges = [np.linspace(-1.4, 1.4, 15)]
    own, all_of_them = (
        estimate.profile(x, edges)
        for estimate, x in ((thin, THINNED.observables["x"]), (dense, frames.observables["x"]))
    )
    np.testing.assert_allclose(all_of_them.standard_error, own.standard_error, rtol=0.1)
    assert np.abs(all_of_them.estimate - own.estimate).max() > 0.05 * KT
