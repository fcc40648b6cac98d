"""How well one set of coordinates determines another: scores between collective variables."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError, SamplingError

_CONSTANT = 1e-12
"""A column whose standard deviation is below this share of its size does not vary."""

_COLLINEAR = 1e-12
"""Directions of the standardised columns below this share of the largest variance are rounding."""


N_BLOCKS = 20
"""Blocks of time of the out-of-sample R^2."""


def weighted_r2(x: ArrayLike, y: ArrayLike, weights: ArrayLike) -> FloatArray:
    """R^2 of the weighted linear regression, with intercept, of every column of y on x.

    R^2_j = 1 - min_(a, b) sum_i w_i (y_ij - a - b.x_i)^2 / sum_i w_i (y_ij - <y_j>)^2.

    It does not change under invertible affine maps of x, nor under scaling and shift of a column of y.

    Args:
        x: regressors, shape (n, p) or (n,); collinear columns are allowed.
        y: what they shall explain, shape (n, q) or (n,).
        weights: shape (n,), >= 0, any normalisation.

    Returns:
        shape (q,), in [0, 1]; 0 for a column of y that does not vary.

    Raises:
        GridError: for shapes that do not match.
        SamplingError: if fewer than p + 2 frames have weight, or for values that are not finite.
    """
    x, y, w = _checked(x, y, weights, "weighted_r2")
    if len(w) < x.shape[1] + 2:
        raise SamplingError(
            f"weighted_r2: needs >= {x.shape[1] + 2} frames with weight, got {len(w)}; sample longer"
        )
    # With uncorrelated regressors of unit variance, R^2 is the sum of squared correlations.
    correlations = (w[:, None] * _whitened(x, w)).T @ _standardised(y, w)
    return np.asarray(np.clip(np.square(correlations).sum(axis=0), 0.0, 1.0))


def score(xi_new: ArrayLike, xi_old: ArrayLike, weights: ArrayLike) -> float:
    """Regression score of a CV on the previous one: the minimum over components of `weighted_r2`.

    1 when every component of the new CV is an affine function of the old CV.

    Args:
        xi_new: shape (n, d).
        xi_old: the previous CV on the same frames, shape (n, d').
        weights: Boltzmann weights, shape (n,).

    Raises:
        GridError, SamplingError: as `weighted_r2`.

    Source: Belkacemi et al., J. Chem. Theory Comput. 18, 59 (2022), doi:10.1021/acs.jctc.1c00415.
    """
    return float(weighted_r2(xi_old, xi_new, weights).min())


def mutual_scores(cvs: Sequence[ArrayLike], weights: ArrayLike) -> FloatArray:
    """Scores among several CVs on the same frames, shape (n_cvs, n_cvs).

    Entry [i, j] is `score` of CV i regressed on CV j.
    """
    return np.array([[score(new, old, weights) for old in cvs] for new in cvs])


def nonlinear_r2(
    x: ArrayLike,
    y: ArrayLike,
    weights: ArrayLike,
    *,
    neighbours: int = 20,
    max_points: int = 20_000,
    seed: int,
) -> FloatArray:
    """Out-of-sample R^2 of y on x by nearest neighbours: how far x determines y by whatever function.

    Frames with weight are thinned at random to max_points and cut into blocks in time order, every other
    block a fold, so that both folds see every walker of up to half as many; each frame is predicted by the
    weighted mean over its nearest neighbours in the other fold, in x whitened:

        R^2_j = 1 - sum_i w_i (y_ij - prediction_ij)^2 / sum_i w_i (y_ij - <y_j>)^2.

    Args:
        x: shape (n, p) or (n,), in time order.
        y: shape (n, q) or (n,); angles as `periodic_features`.
        weights: shape (n,), >= 0, any normalisation.
        neighbours: how many neighbours predict.
        max_points: how many frames are used at most.
        seed: of the thinning.

    Returns:
        shape (q,), <= 1; negative if worse than predicting the mean; 0 for a column that does not vary.

    Raises:
        GridError: for shapes that do not match.
        SamplingError: for fewer than 2 * neighbours frames with weight, or values that are not finite.
    """
    x, y, w = _checked(x, y, weights, "nonlinear_r2")
    if neighbours < 1 or min(len(w), max_points) < 2 * neighbours:
        raise SamplingError(
            f"nonlinear_r2: needs neighbours >= 1 and >= 2 * neighbours frames with weight, got {neighbours} "
            f"neighbours and {len(w)} frames (at most {max_points} used); sample longer or ask for fewer"
        )
    if len(w) > max_points:
        kept = np.sort(np.random.default_rng(seed).choice(len(w), max_points, replace=False))
        x, y, w = x[kept], y[kept], w[kept]
    x = _whitened(x, w)
    odd = (np.arange(len(w)) * N_BLOCKS // len(w)) % 2 == 1
    residuals = _centred(y, w)
    total = w @ np.square(residuals)
    for known, asked in ((odd, ~odd), (~odd, odd)):
        residuals[asked] = y[asked] - neighbour_means(x[known], y[known], w[known], x[asked], neighbours)
    left = w @ np.square(residuals)
    return np.asarray(1.0 - np.divide(left, total, out=np.ones_like(total), where=total > 0))


def neighbour_means(
    x: FloatArray, y: FloatArray, weights: FloatArray, asked: FloatArray, neighbours: int
) -> FloatArray:
    """Conditional means E[y | x] at some points: weighted means over the nearest frames.

    Args:
        x: where frames are, shape (n, p), in units in which distances mean something.
        y: their values, shape (n, q).
        weights: positive, shape (n,).
        asked: points, shape (m, p).
        neighbours: how many frames, at most n.

    Returns:
        shape (m, q).
    """
    _, nearest = cKDTree(x).query(asked, k=neighbours)
    nearest = nearest.reshape(-1, neighbours)
    share = weights[nearest]
    return np.asarray(np.einsum("nk,nkq->nq", share, y[nearest]) / share.sum(axis=1)[:, None])


def periodic_features(angles: ArrayLike) -> FloatArray:
    """Sine and cosine of every angle, so that regression sees no jump at the period.

    Args:
        angles: [rad], shape (n, m) or (n,).

    Returns:
        shape (n, 2 m): all sines, then all cosines.
    """
    a = np.asarray(angles, dtype=np.float64)
    a = a[:, None] if a.ndim == 1 else a
    return np.concatenate([np.sin(a), np.cos(a)], axis=1)


def _checked(
    x: ArrayLike, y: ArrayLike, weights: ArrayLike, place: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Columns of float64 of the frames with weight, weights of sum 1; or an error."""
    a, b, w = (np.asarray(values, dtype=np.float64) for values in (x, y, weights))
    a, b = (values[:, None] if values.ndim == 1 else values for values in (a, b))
    if w.ndim != 1 or a.ndim != 2 or b.ndim != 2 or not len(a) == len(b) == len(w):
        raise GridError(
            f"{place}: x (n, p), y (n, q) and weights (n,) need the same n, "
            f"got {np.shape(x)}, {np.shape(y)} and {np.shape(weights)}"
        )
    if not np.all(np.isfinite(w) & (w >= 0)):
        raise SamplingError(f"{place}: weights need to be finite and >= 0; check the bias energies")
    # The limit keeps sums of a few weights above underflow.
    kept = w > 1e-200 * w.max(initial=0.0)
    a, b, w = a[kept], b[kept], w[kept]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise SamplingError(f"{place}: values need to be finite; check the CV and the frames for NaN")
    return a, b, w / w.sum() if len(w) else w


def _centred(values: FloatArray, w: FloatArray) -> FloatArray:
    """Values minus their weighted mean; exactly 0 in columns that vary by rounding only."""
    centred = values - w @ values
    spread = np.sqrt(w @ np.square(centred))
    size = np.abs(values).max(axis=0, initial=0.0)
    result: FloatArray = np.where(spread > _CONSTANT * size, centred, 0.0)
    return result


def _standardised(values: FloatArray, w: FloatArray) -> FloatArray:
    """Centred columns of unit weighted standard deviation; 0 where a column does not vary."""
    centred = _centred(values, w)
    spread = np.sqrt(w @ np.square(centred))
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def _whitened(values: FloatArray, w: FloatArray) -> FloatArray:
    """Linear combinations of unit weighted variance, uncorrelated; without directions that do not vary."""
    columns = _standardised(values, w)
    variances, axes = np.linalg.eigh((w[:, None] * columns).T @ columns)
    kept = variances > _COLLINEAR * variances.max(initial=0.0)
    if not kept.any():
        return np.zeros((len(values), 1))
    result: FloatArray = columns @ (axes[:, kept] / np.sqrt(variances[kept]))
    return result
