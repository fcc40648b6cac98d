"""Several autoencoders of one shape, trained side by side as batched linear layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from aecv.ground.arrays import FloatArray

Activation = Literal["tanh", "linear"]

FEATURE_GAIN = 0.5
"""Standard deviation of a hidden unit's argument at the start: small enough for tanh to start near-linear."""
MOST_EXACT = 1000
"""Inputs up to which all principal components are computed (0.2 s); above, the leading ones by Lanczos."""
FEW = 8
"""Columns of a matrix under which a product by way of the transposes is faster."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Layer sizes n_inputs - hidden - latent - reversed hidden - n_inputs."""

    n_inputs: int
    hidden: tuple[int, ...]
    latent: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.n_inputs, *self.hidden, self.latent, *reversed(self.hidden), self.n_inputs)

    @property
    def n_encoder_layers(self) -> int:
        return len(self.hidden) + 1


class StackedAutoencoders:
    """R independent autoencoders: x_hat = dec(enc(x)), tanh on hidden layers, linear bottleneck and output.

    Layer l of all of them is one batched product; no number of one touches another. The gradient is written
    out: for networks as small as these, autograd takes longer than the arithmetic (tests hold it against
    autograd).

    Args:
        starts: per autoencoder and layer, W of shape (n_in, n_out) and b of shape (n_out,).
        activation: "linear" turns the hidden layers linear too, which makes the optimum that of PCA.

    Attributes:
        parameters: per layer W with b as its last row, shape (R, n_in + 1, n_out), float32.
    """

    def __init__(
        self,
        shape: Shape,
        starts: Sequence[Sequence[tuple[FloatArray, FloatArray]]],
        *,
        activation: Activation = "tanh",
    ) -> None:
        self.shape = shape
        self.activation = activation
        self.parameters = [
            torch.tensor(np.stack([np.vstack([w, b]) for w, b in layer]), dtype=torch.float32)
            for layer in zip(*starts, strict=True)
        ]

    @property
    def n_stacked(self) -> int:
        return int(self.parameters[0].shape[0])

    def __call__(self, x: Tensor) -> Tensor:
        """Reconstructions, shape (R, B, n_inputs), of x, shape (B, n_inputs) or (R, B, n_inputs)."""
        return self._activations(x)[-1]

    def losses_and_gradients(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Sum over coordinates, mean over frames of |x - x_hat|^2, and its gradient.

        Args:
            x: shape (B, n_inputs) or (R, B, n_inputs).

        Returns:
            losses, shape (R,), and gradients in the shapes of the parameters.
        """
        activations = self._activations(x)
        difference = activations[-1].sub_(activations[0])
        n_frames = difference.shape[1]
        losses = difference.square().sum(dim=(1, 2)) / n_frames
        slope = difference.mul_(2.0 / n_frames)
        gradients = [torch.empty_like(parameter) for parameter in self.parameters]
        for layer in reversed(range(len(self.parameters))):
            below, gradient = activations[layer], gradients[layer]
            gradient[:, :-1] = _product(below.mT, slope)
            gradient[:, -1] = slope.sum(dim=1)
            if layer > 0:
                slope = _product(slope, self.parameters[layer][:, :-1].mT)
                if self._is_curved(layer - 1):
                    slope = torch.ops.aten.tanh_backward(slope, below)
        return losses, gradients

    def layers(self, index: int) -> list[tuple[FloatArray, FloatArray]]:
        """Weights (n_out, n_in) and biases (n_out,) of one autoencoder in float64, encoder first."""
        own = [parameter[index].double().numpy() for parameter in self.parameters]
        return [(wb[:-1].T.copy(), wb[-1].copy()) for wb in own]

    def _activations(self, x: Tensor) -> list[Tensor]:
        """The input and the output of every layer."""
        activations = [x.expand(self.n_stacked, -1, -1)]
        for layer, parameter in enumerate(self.parameters):
            argument = _product(activations[-1], parameter[:, :-1]).add_(parameter[:, -1:])
            activations.append(_tanh_(argument) if self._is_curved(layer) else argument)
        return activations

    def _is_curved(self, layer: int) -> bool:
        """Whether tanh acts on the output of a layer."""
        return self.activation == "tanh" and layer not in (
            self.shape.n_encoder_layers - 1,
            len(self.parameters) - 1,
        )


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b; with a bottleneck's few columns by way of the transposes, which is twice as fast."""
    return (b.mT @ a.mT).mT if b.shape[2] < FEW else a @ b


def _tanh_(values: Tensor) -> Tensor:
    """tanh x = 2 / (1 + exp(-2 x)) - 1 in place: torch's logistic function takes a sixth of its tanh's time.

    Absolute error below 2e-7 in single precision.
    """
    return values.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)


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
        code = _apply(encoder, samples)
        starts.append(encoder + _random_features(code, shape.hidden[::-1], samples, rng))
    return starts


def random_start(shape: Shape, rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray]]:
    """Glorot-normal weights and zero biases; return as one of `principal_starts`."""
    pairs = zip(shape.sizes[:-1], shape.sizes[1:], strict=True)
    return [(rng.standard_normal((i, o)) * np.sqrt(2 / (i + o)), np.zeros(o)) for i, o in pairs]


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


def _apply(layers: Sequence[tuple[FloatArray, FloatArray]], values: FloatArray) -> FloatArray:
    for w, b in layers[:-1]:
        values = np.tanh(values @ w + b)
    return values @ layers[-1][0] + layers[-1][1]
