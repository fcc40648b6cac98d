"""Components of a bottleneck: how much each one matters, and which of them are biased.

An autoencoder's components come in any order, and another training brings another one. Sorted by importance
an index means something, and a few of them can stand for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray, IntArray
from aecv.models.networks.layers import Layers, feed_forward
from aecv.models.training.training_data import Frames
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.statistics.regression_scores import neighbour_means

MOST_FRAMES = 5000
"""Frames held out on which losses are measured, and as many others that the neighbours are among."""
NEIGHBOURS = 20
"""Frames that give a conditional mean."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """The components of an autoencoder, most important first, and those of them that are biased.

    Losses are sum_i w_i |y_i - dec(z_i)|^2 / sum_i w_i [nm^2] over frames held out, at most `MOST_FRAMES`,
    with the weights that train.

    Attributes:
        encoder: of all components, most important first.
        decoder: its decoder; per layer W (n_out, n_in) and b (n_out,).
        importances: rise of the loss when component c is replaced by its weighted mean,
            I_c = L(z_c := <z_c>) - L(z) [nm^2], falling, shape (latent,).
        loss: L(z), of all components.
        biased: indices of the components that are biased, in the order of the CV's.
        biased_loss: L when the components that are not in `biased` are replaced by their conditional mean
            given those that are, L(z_j := E[z_j | z_biased]); what the CV alone can reconstruct.
        next_pair, next_loss: of pairs that were compared the second best, and its loss; None where the
            components were given, or there is no other pair.
    """

    encoder: Encoder
    decoder: Layers
    importances: FloatArray
    loss: float
    biased: tuple[int, ...]
    biased_loss: float
    next_pair: tuple[int, ...] | None = None
    next_loss: float | None = None

    def in_order(self, order: Sequence[int], signs: FloatArray) -> "Components":
        """The same with the biased components in another order and with other signs, 1 or -1 of each."""
        biased = tuple(self.biased[c] for c in order)
        factors = np.ones(len(self.importances))
        factors[list(biased)] = signs
        (w, b), *rest = self.decoder
        return replace(
            self,
            encoder=self.encoder.of_components(np.arange(len(factors)), factors),
            decoder=[(w * factors, b), *rest],
            biased=biased,
        )

    def report(self) -> dict[str, Any]:
        """For training.json."""
        return {
            "biased": self.biased,
            "importance_nm2": self.importances,
            "loss_nm2": self.loss,
            "biased_loss_nm2": self.biased_loss,
            "next_pair": self.next_pair,
            "next_pair_loss_nm2": self.next_loss,
        }


def rank_components(
    encoder: Encoder, decoder: Layers, frames: Frames, wanted: tuple[int, ...] | Literal["auto"]
) -> Components:
    """Sort the components of an autoencoder by importance, and choose those that are biased.

    "auto" takes the pair with the lowest `Components.biased_loss`. The conditional means are weighted means
    over the nearest `NEIGHBOURS` training frames in the components that are kept, so that what they predict
    is measured on frames that they have not seen. Two components that say the same are thus not a pair,
    important as each may be.

    Args:
        encoder: its components of zero mean and unit standard deviation.
        decoder: per layer W (n_out, n_in) and b (n_out,), from components to aligned coordinates [nm].
        frames: what trained, and what was held out.
        wanted: indices of components in the order of importance, or "auto".
    """
    bottleneck = _Bottleneck(encoder, decoder, frames)
    loss, importances = bottleneck.loss(bottleneck.asked), bottleneck.importances()
    order = np.argsort(-importances, kind="stable")
    candidates = list(combinations(range(len(order)), 2)) if wanted == "auto" else [tuple(wanted)]
    # falling importance: of equal losses the first pair, which is the more important one, stays first
    ranked = sorted((bottleneck.loss_of_part(order[list(c)]), c) for c in candidates)
    (biased_loss, biased), others = ranked[0], ranked[1:]
    (w, b), *rest = decoder
    return Components(
        encoder=encoder.of_components(order),
        decoder=[(w[:, order], b), *rest],
        importances=importances[order],
        loss=loss,
        biased=biased,
        biased_loss=biased_loss,
        next_pair=others[0][1] if others else None,
        next_loss=others[0][0] if others else None,
    )


class _Bottleneck:
    """Components of some frames that trained, and of some held out, of which the losses are."""

    def __init__(self, encoder: Encoder, decoder: Layers, frames: Frames) -> None:
        layers = list(zip(encoder.weights, encoder.biases, strict=True))
        trained, held_out = _some(~frames.held_out), _some(frames.held_out)
        y = [frames.x(rows) * frames.scale + frames.mean for rows in (trained, held_out)]
        self._decoder = decoder
        self._known, self.asked = (feed_forward(layers, part) for part in y)
        self._known_weights, self._weights = frames.weights[trained], frames.weights[held_out]
        self._y = y[1]

    def loss(self, z: FloatArray) -> float:
        """Loss of the held out frames when their components are z, shape (n, latent)."""
        squares = np.square(feed_forward(self._decoder, z) - self._y).sum(axis=1)
        return float(np.average(squares, weights=self._weights))

    def importances(self) -> FloatArray:
        """See `Components`; here in the encoder's order."""
        whole, losses = self.loss(self.asked), []
        for c in range(self.asked.shape[1]):
            without = self.asked.copy()
            without[:, c] = np.average(self.asked[:, c], weights=self._weights)
            losses.append(self.loss(without))
        return np.array(losses) - whole

    def loss_of_part(self, kept: IntArray) -> float:
        """Loss when all components but those of these indices are their conditional means given these."""
        z = neighbour_means(
            self._known[:, kept],
            self._known,
            self._known_weights,
            self.asked[:, kept],
            min(NEIGHBOURS, len(self._known)),
        )
        z[:, kept] = self.asked[:, kept]
        return self.loss(z)


def _some(which: NDArray[np.bool_]) -> IntArray:
    """At most `MOST_FRAMES` indices of what is True, evenly spread."""
    rows = np.flatnonzero(which)
    return rows[:: max(1, -(-len(rows) // MOST_FRAMES))]
