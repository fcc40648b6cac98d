"""What a model of the family is, and what its training sees of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from aecv.models.networks.layers import Chain


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the frames have to bring beside positions and weights.

    Attributes:
        lag_ps: time between the two frames of a pair [ps]; 0 for single frames.
        columns: names of the columns, such as labels or given CVs.
    """

    lag_ps: float = 0.0
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Frames of one network; a stack of R networks has one more axis in front of all shapes.

    While a network learns, frames are drawn in proportion to their weights and then count the same.

    Attributes:
        x: standardised aligned coordinates, shape (B, D).
        weights: not negative, shape (B,); None where all are the same.
        later: the coordinates lag_ps later on the same trajectory, shape (B, D); None unless needed.
        columns: name -> values as they were given, NaN where unknown, shape (B, q).
        noise: standard normal numbers, shape (B, n_noise).
    """

    x: Tensor
    weights: Tensor | None = None
    later: Tensor | None = None
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    noise: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of values per frame, shape (B,); 0 where no frame has weight.

        Data sets of replicas are filled up to the longest one by frames of weight zero, so that a chunk of a
        shorter one may hold nothing else.
        """
        if self.weights is None:
            return values.mean()
        tiny = torch.finfo(values.dtype).tiny
        return (self.weights * values).sum() / self.weights.sum().clamp_min(tiny)


class Model(Protocol):
    """A kind of model: how its networks begin, what they minimise, what is kept of them.

    A model has no state: one object serves all restarts, whose numbers are those of their networks.

    Attributes:
        needs: what a batch has to hold.
        n_noise: normal random numbers per frame, new ones in every batch.
    """

    needs: Needs
    n_noise: int

    def networks(self, start: Batch, rngs: Sequence[np.random.Generator]) -> Sequence[nn.Module]:
        """Untrained networks, one per source of random numbers, begun from some frames in float64."""

    def losses(self, network: Any, batch: Batch) -> dict[str, Tensor]:
        """Scalar terms, weighted means over frames of sums over coordinates.

        "total" is minimised, and chooses epochs and restarts; "reconstruction", the squared error of what is
        decoded, is what kinds of models are compared by.
        """

    def encoder(self, network: Any) -> Chain:
        """The CV, deterministic: (B, D) -> (B, d)."""

    def decoders(self, network: Any) -> Mapping[str, Chain]:
        """(B, d) -> (B, D), by name, the main one first."""


class Stack(Protocol):
    """R networks of one model side by side; no number of one touches another.

    Attributes:
        parameters: stacks of matrices, shape (R, n, m); changed in place by the optimiser.
        n_noise: see `Model`.
    """

    parameters: list[Tensor]
    n_noise: int

    @property
    def n_stacked(self) -> int:
        """R."""

    def losses_and_gradients(self, batch: Batch) -> tuple[Tensor, list[Tensor]]:
        """The total of each network, shape (R,), and its gradient in the shapes of the parameters."""

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every term per coordinate, sum_i w_i l_i / D, shape (R,), in float64."""

    def part(self, chosen: slice) -> "Stack":
        """Some of the networks, for a thread of their own; their parameters are views of these."""

    def network(self, index: int) -> nn.Module:
        """A copy of one network as it is now."""
