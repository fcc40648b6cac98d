"""Starting parameters of autoencoders."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from aecv.ground.arrays import FloatArray
from aecv.models.networks.layers import Shape, feed_forward

FEATURE_GAIN = 0.5
"""Standard deviation of a hidden unit's argument at the start: small enough for tanh to start near-linear."""
MOST_EXACT = 1000
"""Inputs up to which all principal components are computed (0.2 s); above, the leading ones by Lanczos."""


def principal_starts(
    samples: FloatArray, shape: Shape, rngs: Sequence[np.random.Generator]
) -> list[list[tuple[FloatArray, FloatArray]]]:
    """Starting parameters, one set per source of random numbers, from the leading principal components.

    Hidden layers are random features tanh(W h + b); the bottleneck is fitted to the principal components
    (unit variance, sign fixed by the largest loading) and the output to the samples, both by ridge
    regression. Reason: losses of tanh autoencoders have many minima of nearly equal depth whose latent
    spaces differ. Alanine dipeptide, 1e5 frames: from independent random parameters the latent spaces of two
    trainings are related by a linear map with R^2 of 0.76 to 0.96, from here with 0.98 to 0.99, at a loss
    that is 1 to 2 % higher.

    Args:
        samples: standardised inputs, equally weighted, shape (n, n_inputs).
        shape: layer sizes.
        rngs: sources of the random features.

    Returns:
        per start and layer W of shape (n_in, n_out) and b of shape (n_out,).
    """
    latent = _principal_components(samples, shape.latent)
    starts = []
    for rng in rngs:
        encoder = _random_features(samples, shape.hidden, latent, rng)
        code = feed_forward([(w.T, b) for w, b in encoder], samples)
        starts.append(encoder + _random_features(code, shape.hidden[::-1], samples, rng))
    return starts


def _principal_components(samples: FloatArray, n: int) -> FloatArray:
    values, vectors = _leading(samples, n)
    leading = vectors[:, ::-1][:, :n]
    leading = leading * np.sign(leading[np.argmax(np.abs(leading), axis=0), np.arange(leading.shape[1])])
    spread = np.sqrt(np.maximum(values[::-1][:n], 1e-12 * values[-1]))
    scores: FloatArray = (samples - samples.mean(axis=0)) @ leading / spread
    return scores


def _leading(samples: FloatArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Rising eigenvalues and the eigenvectors of the covariance: all, of many inputs the n largest."""
    n_inputs = samples.shape[1]
    if n_inputs <= MOST_EXACT:
        values, vectors = np.linalg.eigh(np.cov(samples.T, ddof=0))
        return values, vectors
    centred = samples - samples.mean(axis=0)
    covariance = LinearOperator(
        (n_inputs, n_inputs), matvec=lambda v: centred.T @ (centred @ v) / len(centred), dtype=float
    )
    # not a vector of ones: centred coordinates have nothing along it
    begin = np.random.default_rng(0).standard_normal(n_inputs)
    values, vectors = eigsh(covariance, k=n, v0=begin)
    rising = np.argsort(values)
    return values[rising], vectors[:, rising]


def _random_features(
    inputs: FloatArray, hidden: Sequence[int], target: FloatArray, rng: np.random.Generator
) -> list[tuple[FloatArray, FloatArray]]:
    layers, values = [], inputs
    for width in hidden:
        scale = FEATURE_GAIN / np.sqrt(np.sum(np.mean(values**2, axis=0)))
        w = scale * rng.standard_normal((values.shape[1], width))
        b = 0.5 * FEATURE_GAIN * rng.standard_normal(width)
        layers.append((w, b))
        values = np.tanh(values @ w + b)
    return [*layers, _ridge(values, target)]


def _ridge(features: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    design: FloatArray = np.column_stack([features, np.ones(len(features))])
    gram: FloatArray = design.T @ design / len(design)
    gram += 1e-4 * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = np.asarray(np.linalg.solve(gram, design.T @ target / len(design)), dtype=float)
    return solution[:-1], solution[-1]
