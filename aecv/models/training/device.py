"""Where networks are optimised: on a processor's cores, or on a GPU."""

import torch

from aecv.ground.errors import TrainingError
from aecv.ground.settings.training import Device


def device_of(wanted: Device) -> torch.device:
    """The device that training.device names; "auto" is a CUDA GPU where torch has one, else the CPU.

    Raises:
        TrainingError: for "cuda" where torch has no CUDA GPU.
    """
    has_gpu = wanted != "cpu" and torch.cuda.is_available()
    if wanted == "cuda" and not has_gpu:
        seen = "was built without CUDA" if torch.version.cuda is None else "finds no GPU or no driver"
        raise TrainingError(
            f"training.device: cuda needs a CUDA GPU, and PyTorch {torch.__version__} {seen}; "
            "leave --device out, or take auto"
        )
    return torch.device("cuda" if has_gpu else "cpu")
