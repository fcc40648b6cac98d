"""Scores against cases whose R^2 is known."""

import numpy as np
import pytest

from aecv.ground.errors import GridError, SamplingError
from aecv.numerics.statistics.regression_scores import (
    mutual_scores,
    nonlinear_r2,
    periodic_features,
    score,
    weighted_r2,
)


def test_affine_maps_score_one():
    rng = np.random.default_rng(0)
    xi = rng.normal(size=(1000, 2)) * [1.0, 1e-6]
    weights = rng.uniform(size=1000)
    new = xi @ np.array([[0.3, -2.0], [1e6, 5e5]]) + [7.0, -3.0]
    assert score(new, xi, weights) == pytest.approx(1.0, abs=1e-12)
    assert score(xi, new, weights) == pytest.approx(1.0, abs=1e-9)


def test_known_signal_to_noise():
    """y = x + e with var x = 4, var e = 1: R^2 = 0.8; its standard error is 2 R (1 - R^2) / sqrt(n)."""
    rng = np.random.default_rng(1)
    n = 50_000
    x = 2 * rng.standard_normal(n)
    y = np.stack([x + rng.standard_normal(n), rng.standard_normal(n)], axis=1)
    r2 = weighted_r2(x, y, np.ones(n))
    assert abs(r2[0] - 0.8) < 4 * 2 * np.sqrt(0.8) * 0.2 / np.sqrt(n)
    assert r2[1] < 20 / n
    assert score(y, x, np.ones(n)) == r2.min()


def test_integer_weights_equal_repeated_frames():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(200, 3)), rng.normal(size=(200, 2))
    y[:, 0] += x[:, 0] ** 2 + x[:, 1]
    weights = rng.integers(0, 4, 200)
    repeated = np.repeat(np.arange(200), weights)
    expected = weighted_r2(x[repeated], y[repeated], np.ones(len(repeated)))
    np.testing.assert_allclose(weighted_r2(x, y, weights), expected, atol=1e-12)
    np.testing.assert_allclose(weighted_r2(x, y, 1e-9 * weights), expected, atol=1e-12)


def test_equals_plain_least_squares():
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=(300, 2)), rng.uniform(size=300)
    y = np.sin(x[:, 0]) + 0.3 * x[:, 1]
    root = np.sqrt(w)
    design = np.column_stack([x, np.ones(300)]) * root[:, None]
    residual = root * y - design @ np.linalg.lstsq(design, root * y, rcond=None)[0]
    expected = 1 - residual @ residual / (w @ (y - np.average(y, weights=w)) ** 2)
    assert weighted_r2(x, y, w)[0] == pytest.approx(expected, abs=1e-12)


def test_collinear_regressors_constant_targets_and_bad_input():
    rng = np.random.default_rng(4)
    x = rng.normal(size=100)
    twice = np.stack([x, 2 * x, np.full(100, 0.1)], axis=1)
    r2 = weighted_r2(twice, np.stack([3 * x + 1, np.full(100, 0.1)], axis=1), np.ones(100))
    np.testing.assert_allclose(r2, [1.0, 0.0], atol=1e-12)
    with pytest.raises(GridError, match="same n"):
        weighted_r2(x, x[:50], np.ones(100))
    with pytest.raises(SamplingError, match="frames with weight"):
        weighted_r2(x, x, np.r_[1.0, 1.0, np.zeros(98)])
    with pytest.raises(SamplingError, match="finite"):
        weighted_r2(np.full(100, np.nan), x, np.ones(100))


def test_frames_without_weight_may_be_nan():
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=100), np.ones(100)
    y = x.copy()
    x[3], w[3] = np.nan, 0.0
    assert weighted_r2(x, y, w)[0] == pytest.approx(1.0)


def test_mutual_scores_are_not_symmetric_and_one_on_the_diagonal():
    rng = np.random.default_rng(6)
    a = rng.normal(size=(500, 2))
    b = np.stack([a[:, 0], a[:, 0]], axis=1)
    scores = mutual_scores([a, b], np.ones(500))
    np.testing.assert_allclose(scores[[0, 1, 1], [0, 1, 0]], 1.0)
    assert scores[0, 1] < 0.05


def test_nonlinear_score_sees_what_the_linear_one_misses():
    rng = np.random.default_rng(7)
    n = 6000
    x = rng.uniform(-1, 1, (n, 2))
    y = np.stack([x[:, 0] ** 2, np.cos(3 * x[:, 0]) * x[:, 1], rng.standard_normal(n)], axis=1)
    weights = rng.uniform(0.5, 1.5, n)
    assert weighted_r2(x, y, weights).max() < 0.2
    r2 = nonlinear_r2(x, y, weights, seed=1)
    assert np.all(r2[:2] > 0.98)
    # of pure noise, a mean over 20 neighbours has 1 + 1/20 of the variance left, a little more with weights
    assert -0.12 < r2[2] < 0.0


def test_nonlinear_score_is_the_explained_share_of_the_variance():
    """var of sin(4 x) over (-pi, pi) is 1/2; noise of variance 1/8: 0.8, less 0.2/20 for the neighbours."""
    rng = np.random.default_rng(8)
    x = rng.uniform(-np.pi, np.pi, 20_000)
    y = np.sin(4 * x) + np.sqrt(1 / 8) * rng.standard_normal(20_000)
    r2 = nonlinear_r2(x, y, np.ones(20_000), max_points=10_000, seed=0)
    assert r2[0] == pytest.approx(0.8 - 0.2 / 20, abs=0.01)


def test_nonlinear_score_ignores_scale_and_repeats_with_its_seed():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(3000, 2))
    y = np.sin(2 * x[:, :1]) * x[:, 1:]
    first = nonlinear_r2(x, y, np.ones(3000), max_points=1000, seed=4)
    again = nonlinear_r2(x, y, np.ones(3000), max_points=1000, seed=4)
    other = nonlinear_r2(x, y, np.ones(3000), max_points=1000, seed=5)
    np.testing.assert_array_equal(first, again)
    assert first[0] != other[0]
    mixed = x @ np.array([[1e4, 3.0], [-2e4, 5.0]])
    np.testing.assert_allclose(
        nonlinear_r2(mixed, y, np.ones(3000), max_points=1000, seed=4), first, atol=1e-6
    )


def test_nonlinear_score_needs_frames():
    with pytest.raises(SamplingError, match="2 \\* neighbours"):
        nonlinear_r2(np.arange(30.0), np.arange(30.0), np.ones(30), seed=0)
    assert nonlinear_r2(np.zeros(60), np.zeros(60), np.ones(60), seed=0)[0] == 0.0


def test_periodic_features_have_no_jump():
    angles = np.array([[np.pi - 1e-9, 0.0], [-np.pi + 1e-9, np.pi / 2]])
    features = periodic_features(angles)
    assert features.shape == (2, 4)
    np.testing.assert_allclose(features[0, [0, 2]], features[1, [0, 2]], atol=1e-8)
    np.testing.assert_allclose(features[1, [1, 3]], [1.0, 0.0], atol=1e-15)


def test_both_folds_of_the_nonlinear_score_see_every_walker():
    """Two walkers one after the other, each in its own region: halves of time would not know each other."""
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.uniform(0, 1, 2000), rng.uniform(5, 6, 2000)])
    assert nonlinear_r2(x, np.sin(x), np.ones(4000), seed=0)[0] > 0.99
