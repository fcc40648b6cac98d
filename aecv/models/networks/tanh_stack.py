"""Autoencoders with a squared error, side by side as batched linear layers; the gradient is written out.

For networks as small as these, autograd takes longer than the arithmetic: of 500 frames at 24-40-2
`VmapStack` takes 2.5 times as long for 16 networks, 4 times for one, at 621-100-5 1.25 times
(`benchmarks/training.py --stacks`). Tests hold the two against each other.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from aecv.models.networks.layers import Mirrored
from aecv.models.networks.model import Batch

FEW = 8
"""Columns of a matrix under which a product by way of the transposes is faster."""

Pair = Callable[[Batch], tuple[Tensor, Tensor]]


class TanhStack:
    """R independent autoencoders: x_hat = dec(enc(x)), tanh on hidden layers, linear bottleneck and output.

    Layer l of all of them is one batched product.

    Args:
        networks: `Mirrored`, of one shape and activation.
        n_noise: random numbers per frame that `pair` takes.
        pair: what a batch is encoded from, and what it is decoded to, each of shape (R, B, D): the same for
            an autoencoder, with noise on the first for a denoising one, the second later for a lagged one.

    Attributes:
        parameters: per layer W with b as its last row, shape (R, n_in + 1, n_out), float32.
    """

    def __init__(self, networks: Sequence[Any], pair: Pair, n_noise: int = 0) -> None:
        self._template, self._pair, self.n_noise = networks[0], pair, n_noise
        layers = [[*own.encoder.matrices, *own.decoder.matrices] for own in networks]
        self.parameters = [torch.stack([m.detach() for m in layer]) for layer in zip(*layers, strict=True)]

    @property
    def n_stacked(self) -> int:
        return int(self.parameters[0].shape[0])

    def losses_and_gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """Sum over coordinates, mean over frames of |y - x_hat|^2, and its gradient; see `Stack`."""
        given, wanted = self._pair(batch)
        activations = self._activations(given)
        difference = activations[-1].sub_(wanted)
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

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The squared error, which is all there is; see `Stack`."""
        given, wanted = self._pair(batch)
        squares = (self._activations(given)[-1] - wanted).square().mean(dim=2).double()
        assert batch.weights is not None
        error = (squares * batch.weights).sum(dim=1)
        return {"total": error, "reconstruction": error}

    def part(self, chosen: slice) -> "TanhStack":
        found = copy.copy(self)
        found.parameters = [parameter[chosen] for parameter in self.parameters]
        return found

    def network(self, index: int) -> Mirrored:
        found: Mirrored = copy.deepcopy(self._template)
        own = [*found.encoder.matrices, *found.decoder.matrices]
        for matrix, parameter in zip(own, self.parameters, strict=True):
            matrix.data.copy_(parameter[index])
        return found

    def _activations(self, x: Tensor) -> list[Tensor]:
        """The input and the output of every layer."""
        activations = [x]
        for layer, parameter in enumerate(self.parameters):
            argument = _product(activations[-1], parameter[:, :-1]).add_(parameter[:, -1:])
            activations.append(_tanh_(argument) if self._is_curved(layer) else argument)
        return activations

    def _is_curved(self, layer: int) -> bool:
        """Whether tanh acts on the output of a layer."""
        last = (len(self.parameters) // 2 - 1, len(self.parameters) - 1)
        return self._template.encoder.activation == "tanh" and layer not in last


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a b; with a bottleneck's few columns by way of the transposes, which is twice as fast."""
    return (b.mT @ a.mT).mT if b.shape[2] < FEW else a @ b


def _tanh_(values: Tensor) -> Tensor:
    """tanh x = 2 / (1 + exp(-2 x)) - 1 in place: torch's logistic function takes a sixth of its tanh's time.

    Absolute error below 2e-7 in single precision.
    """
    return values.mul_(2.0).sigmoid_().mul_(2.0).sub_(1.0)
