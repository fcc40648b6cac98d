"""The family of models: one file each, found by the name of its file.

A file NAME.py offers MODEL, which takes the section [autoencoder] and the number of inputs and gives a
`Model`; what it alone needs is a section [autoencoder.NAME] in `aecv.ground.settings.autoencoder`.
"""

import importlib
from collections.abc import Sequence
from typing import Any

from torch import nn

from aecv.ground.settings import AutoencoderSettings
from aecv.models.networks.model import Model, Stack
from aecv.models.networks.squared_error import SquaredError
from aecv.models.networks.tanh_stack import TanhStack
from aecv.models.networks.vmap_stack import VmapStack


def model_of(settings: AutoencoderSettings, n_inputs: int, **options: Any) -> Model:
    """The model that autoencoder.model names, for so many inputs; options are its own."""
    model: Model = importlib.import_module(f"{__name__}.{settings.model}").MODEL(
        settings, n_inputs, **options
    )
    return model


def stack_of(model: Model, networks: Sequence[nn.Module]) -> Stack:
    """Networks side by side; with the fast gradient where the loss is a squared error and nothing else."""
    if isinstance(model, SquaredError) and type(model).losses is SquaredError.losses:
        return TanhStack(networks, model.pair, model.n_noise)
    return VmapStack(model, networks)
