"""The ways to the force of the CV that are compared, and what keeps one from running here."""

from dataclasses import dataclass, field

import openmm
import torch
from alanine_setting import Kind, Look, Setting
from multiple_time_step import MultipleStepEngine
from runs import Row
from torch_callback import TorchCallbackEngine

from aecv.ground.errors import SimulationError
from aecv.sampling.engines import choice
from aecv.sampling.engines.context_engine import ContextEngine
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.engines.torchforce import TorchForceEngine


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to the force of the CV.

    Attributes:
        kind: its engine; None where it cannot run.
        why_not: the reason then.
        n: inner steps per evaluation.
        share: of the steps of a timing; the slow ones run fewer.
    """

    name: str
    kind: Kind | None = None
    why_not: str = ""
    options: Row = field(default_factory=dict)
    share: float = 1.0

    @property
    def n(self) -> int:
        return int(self.options.get("n", 1))

    def engine(self, setting: Setting, look: Look | None = None) -> ContextEngine:
        """Its engine for a setting.

        Raises:
            SimulationError: when it cannot run here.
        """
        if self.kind is None:
            raise SimulationError(f"{self.name}: {self.why_not}")
        try:
            return setting.engine(self.kind, look, **self.options)
        except openmm.OpenMMException as error:
            raise SimulationError(f"{self.name}: OpenMM refuses it on this platform: {error}") from error


def ways(torch_device: str | None = None) -> list[Way]:
    """All ways that are compared, those that cannot run here too.

    Args:
        torch_device: of the model inside PythonForce; None for CUDA, where torch finds it.
    """
    device = torch_device or ("cuda" if torch.cuda.is_available() else "")
    found = choice.availability("torchforce")
    return [
        Way(name="native", kind=NativeEngine),
        *(Way(name=f"native, MTS n = {n}", kind=MultipleStepEngine, options={"n": n}) for n in (2, 4)),
        Way(
            name=f"PythonForce, torch on {device or 'a GPU'}",
            kind=TorchCallbackEngine if device else None,
            why_not="" if device else f"torch {torch.__version__} finds no CUDA device",
            options={"device": device},
            share=0.1,
        ),
        Way(
            name="torchforce",
            kind=TorchForceEngine if found.works else None,
            why_not="" if found.works else found.reason,
            share=0.1,
        ),
    ]
