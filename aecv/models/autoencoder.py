"""Several autoencoders of one shape, trained side by side as batched linear layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FloatArray = NDArray[np.float64]
Activation = Literal["tanh", "linear"]

FEATURE_GAIN = 0.5
"""Standard deviation of a hidden unit's argument at the start: small enough for tanh to start near-linear."""


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


class StackedAutoencoders(torch.nn.Module):
    """R independent autoencoders: x_hat = dec(enc(x)), tanh on hidden layers, linear bottleneck and output.

    Layer l of all of them is one batched product, W of shape (R, n_in, n_out) and b of shape (R, 1, n_out);
    no number of one touches another.

    Args:
        starts: per autoencoder and layer, W of shape (n_in, n_out) and b of shape (n_out,).
        activation: "linear" turns the hidden layers linear too, which makes the optimum that of PCA.
    """

    def __init__(
        self,
        shape: Shape,
        starts: Sequence[Sequence[tuple[FloatArray, FloatArray]]],
        *,
        activation: Activation = "tanh",
    ) -> None:
        super().__init__()
        self.shape = shape
        self.activation = activation
        layers = list(zip(*starts, strict=True))
        self.weights = torch.nn.ParameterList(_stacked([w for w, _ in layer]) for layer in layers)
        self.biases = torch.nn.ParameterList(_stacked([b[None] for _, b in layer]) for layer in layers)

    @property
    def n_stacked(self) -> int:
        return int(self.weights[0].shape[0])

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions, shape (R, B, n_inputs), of x, shape (B, n_inputs) or (R, B, n_inputs)."""
        n_encoder, n_layers = self.shape.n_encoder_layers, len(self.weights)
        hidden = x.expand(self.n_stacked, -1, -1)
        for layer in range(n_layers):
            hidden = torch.baddbmm(self.biases[layer], hidden, self.weights[layer])
            if self.activation == "tanh" and layer not in (n_encoder - 1, n_layers - 1):
                hidden = torch.tanh(hidden)
        return hidden

    def layers(self, index: int) -> list[tuple[FloatArray, FloatArray]]:
        """Weights (n_out, n_in) and biases (n_out,) of one autoencoder in float64, encoder first."""
        return [
            (w[index].detach().double().numpy().T.copy(), b[index, 0].detach().double().numpy().copy())
            for w, b in zip(self.weights, self.biases, strict=True)
        ]


def principal_start(
    samples: FloatArray, shape: Shape, rng: np.random.Generator
) -> list[tuple[FloatArray, FloatArray]]:
    """Starting parameters whose latent space is that of the leading principal components.

    Hidden layers are random features tanh(W h + b); the bottleneck is fitted to the principal components
    (unit variance, sign fixed by the largest loading) and the output to the samples, both by ridge
    regression. Reason: losses of tanh autoencoders have many minima of nearly equal depth whose latent
    spaces differ. Alanine dipeptide, 1e5 frames: from independent random parameters the latent spaces of two
    trainings are related by a linear map with R^2 of 0.76 to 0.96, from here with 0.98 to 0.99, at a loss
    that is 1 to 2 % higher.

    Args:
        samples: standardised inputs, equally weighted, shape (n, n_inputs).
        shape: layer sizes.
        rng: source of the random features.

    Returns:
        per layer W of shape (n_in, n_out) and b of shape (n_out,).
    """
    latent = _principal_components(samples, shape.latent)
    encoder = _random_features(samples, shape.hidden, latent, rng)
    code = _apply(encoder, samples)
    return encoder + _random_features(code, shape.hidden[::-1], samples, rng)


def random_start(shape: Shape, rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray]]:
    """Glorot-normal weights and zero biases; return as for `principal_start`."""
    pairs = zip(shape.sizes[:-1], shape.sizes[1:], strict=True)
    return [(rng.standard_normal((i, o)) * np.sqrt(2 / (i + o)), np.zeros(o)) for i, o in pairs]


def _principal_components(samples: FloatArray, n: int) -> FloatArray:
    values, vectors = np.linalg.eigh(np.cov(samples.T, ddof=0))
    leading = vectors[:, ::-1][:, :n]
    leading = leading * np.sign(leading[np.argmax(np.abs(leading), axis=0), np.arange(leading.shape[1])])
    spread = np.sqrt(np.maximum(values[::-1][:n], 1e-12 * values[-1]))
    scores: FloatArray = (samples - samples.mean(axis=0)) @ leading / spread
    return scores


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


def _stacked(arrays: Sequence[FloatArray]) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.tensor(np.stack(arrays), dtype=torch.float32))
