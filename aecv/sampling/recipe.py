"""What an engine is made from, as it travels to the process that runs it."""

from dataclasses import dataclass, field
from uuid import uuid4

import torch

from aecv.ground.grid import FloatArray
from aecv.models.cv import CV
from aecv.numerics.abf import ExtendedVariable
from aecv.sampling.dynamics import Engine, UnbiasedEngine
from aecv.sampling.engines.choice import make_biased_engine
from aecv.sampling.system import MolecularSystem, PlatformChoice, make_context


@dataclass(frozen=True, kw_only=True, eq=False)
class BiasRecipe:
    """Extended ABF along a CV; for the fields see `NativeEngine`.

    Attributes:
        engine: what runs it, as sampling.engine calls it.
    """

    engine: str
    cv: CV
    extended: ExtendedVariable
    probe: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineRecipe:
    """How to make an engine; can be pickled, where `system` becomes its spec and is built anew.

    Attributes:
        system: what is simulated.
        platform: where; the device may be another one in another process.
        bias: None for unbiased dynamics.
        key: tells recipes apart, so that a process makes each engine once.
    """

    system: MolecularSystem
    platform: PlatformChoice
    bias: BiasRecipe | None = None
    key: str = field(init=False, default_factory=lambda: uuid4().hex)

    def make(self, device: str | None = None) -> Engine:
        """The engine.

        Args:
            device: index of a GPU; None for OpenMM's choice.
        """
        platform = self.platform if device is None else self.platform.on_device(device)
        if self.bias is None:
            # the seed only fills the time until the first segment sets its own
            return UnbiasedEngine(*make_context(self.system, platform=platform, seed=1))
        bias = self.bias
        # CVs that go through torch: one thread a process, and the same sums in all of them
        torch.set_num_threads(1)
        return make_biased_engine(
            bias.engine, self.system, bias.cv, bias.extended, platform=platform, probe=bias.probe
        )
