"""Models whose loss is a squared error: L = sum_i w_i |y_i - dec(enc(x_i))|^2."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from aecv.ground.settings import AutoencoderSettings
from aecv.models.networks.layers import Activation, Chain, Mirrored, Shape
from aecv.models.networks.model import Batch, Needs
from aecv.models.networks.starts import principal_starts


class SquaredError:
    """Encoder and decoder mirror each other, tanh on hidden layers; see `Model`.

    What inherits it says in `pair` what is encoded and what is to come out, and takes the fast gradient.
    One with terms of its own overrides `losses`, and takes that of autograd.

    Args:
        settings: sizes of the layers.
        n_inputs: D.
        activation: "linear" makes the optimum that of PCA.
    """

    needs = Needs()
    n_noise = 0

    def __init__(
        self, settings: AutoencoderSettings, n_inputs: int, *, activation: Activation = "tanh"
    ) -> None:
        self.shape = Shape(n_inputs=n_inputs, hidden=settings.hidden, latent=settings.latent)
        self.activation = activation

    def networks(self, start: Batch, rngs: Sequence[np.random.Generator]) -> list[Mirrored]:
        """From the leading principal components; see `principal_starts`."""
        starts = principal_starts(start.x.numpy(), self.shape, rngs)
        return [Mirrored(own, activation=self.activation) for own in starts]

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is encoded, and what it is to be decoded to, shape (..., B, D) each."""
        return batch.x, batch.x

    def losses(self, network: Mirrored, batch: Batch) -> dict[str, Tensor]:
        """The squared error."""
        given, wanted = self.pair(batch)
        error = batch.mean((network(given) - wanted).square().sum(dim=-1))
        return {"total": error, "reconstruction": error}

    def encoder(self, network: Mirrored) -> Chain:
        return network.encoder

    def decoders(self, network: Mirrored) -> Mapping[str, Chain]:
        return {"decoder": network.decoder}
