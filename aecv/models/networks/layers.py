"""Layers of networks, and their sizes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from aecv.ground.arrays import FloatArray

Layers = Sequence[tuple[FloatArray, FloatArray]]
"""Per layer W, shape (n_out, n_in), and b, shape (n_out,)."""
Activation = Literal["tanh", "linear"]

_FUNCTIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"tanh": torch.tanh, "linear": lambda x: x}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Layer sizes n_inputs - hidden - latent - reversed hidden - n_inputs."""

    n_inputs: int
    hidden: tuple[int, ...]
    latent: int

    @property
    def sizes(self) -> tuple[int, ...]:
        return (self.n_inputs, *self.hidden, self.latent, *reversed(self.hidden), self.n_inputs)


class Chain(nn.Module):
    """W_L f(... f(W_1 x + b_1) ...) + b_L of rows x, shape (B, n_in).

    Args:
        layers: per layer W of shape (n_in, n_out), as it multiplies rows, and b of shape (n_out,).
        activation: f; "linear" makes it one matrix.

    Attributes:
        matrices: per layer W with b as its last row, shape (n_in + 1, n_out), float32.
    """

    def __init__(
        self, layers: Sequence[tuple[FloatArray, FloatArray]], *, activation: Activation = "tanh"
    ) -> None:
        super().__init__()
        self.activation = activation
        self.matrices = nn.ParameterList(
            [torch.tensor(np.vstack([w, b]), dtype=torch.float32) for w, b in layers]
        )

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.matrices
        for matrix in hidden:
            x = _FUNCTIONS[self.activation](x @ matrix[:-1] + matrix[-1])
        return x @ last[:-1] + last[-1]

    def layers(self) -> Layers:
        """Weights (n_out, n_in) and biases (n_out,) in float64."""
        own = [matrix.detach().double().numpy() for matrix in self.matrices]
        return [(wb[:-1].T.copy(), wb[-1].copy()) for wb in own]


class Mirrored(nn.Module):
    """x_hat = dec(enc(x)), a `Chain` each of half the layers; for the arguments see there."""

    def __init__(
        self, layers: Sequence[tuple[FloatArray, FloatArray]], *, activation: Activation = "tanh"
    ) -> None:
        super().__init__()
        n = len(layers) // 2
        self.encoder, self.decoder = (Chain(own, activation=activation) for own in (layers[:n], layers[n:]))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def feed_forward(layers: Layers, values: FloatArray) -> FloatArray:
    """W_L tanh(... tanh(W_1 x + b_1) ...) + b_L of many rows x; per layer W (n_out, n_in) and b (n_out,)."""
    for w, b in layers[:-1]:
        values = np.tanh(values @ w.T + b)
    return np.asarray(values @ layers[-1][0].T + layers[-1][1])
