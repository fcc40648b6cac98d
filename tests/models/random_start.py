"""Networks that know nothing of their data, which a fit has to bring all the way."""

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.models.networks.layers import Shape


def random_start(shape: Shape, rng: np.random.Generator) -> list[tuple[FloatArray, FloatArray]]:
    """Glorot-normal weights and zero biases; return as one of `principal_starts`."""
    pairs = zip(shape.sizes[:-1], shape.sizes[1:], strict=True)
    return [(rng.standard_normal((i, o)) * np.sqrt(2 / (i + o)), np.zeros(o)) for i, o in pairs]
