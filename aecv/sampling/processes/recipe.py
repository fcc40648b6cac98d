"""What an engine is made from, as it travels to the process that runs it."""

from dataclasses import dataclass, field, replace
from uuid import uuid4

import torch

from aecv.ground.arrays import FloatArray
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.sampling.dynamics.jobs import Engine
from aecv.sampling.dynamics.second_try import SecondTry, with_timestep
from aecv.sampling.dynamics.segments import UnbiasedEngine
from aecv.sampling.engines.choice import make_biased_engine
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice


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
        constant_pressure: of unbiased dynamics; None for the settings' barostat.always.
        key: tells recipes apart, so that a process makes each engine once.
    """

    system: MolecularSystem
    platform: PlatformChoice
    bias: BiasRecipe | None = None
    constant_pressure: bool | None = None
    key: str = field(init=False, default_factory=lambda: uuid4().hex)

    def make(self, device: str | None = None) -> Engine:
        """The engine, which repeats a segment that explodes once with half the time step.

        Args:
            device: index of a GPU; None for OpenMM's choice.
        """
        platform = self.platform if device is None else self.platform.on_device(device)
        return SecondTry(
            self._make(self.system, platform, 1.0),
            lambda: self._make(with_timestep(self.system, 0.5), platform, 0.5),
            self.system,
        )

    def _make(self, system: MolecularSystem, platform: PlatformChoice, scale: float) -> Engine:
        """The engine itself, of a system whose time step was scaled."""
        if self.bias is None:
            # the seed only fills the time until the first segment sets its own
            context, integrator = make_context(
                system, platform=platform, seed=1, constant_pressure=self.constant_pressure
            )
            return UnbiasedEngine(
                context, integrator, n_frame_atoms=system.n_frame_atoms, images=system.box_images
            )
        bias = self.bias
        extended = replace(bias.extended, timestep_ps=scale * bias.extended.timestep_ps)
        # CVs that go through torch: one thread a process, and the same sums in all of them
        torch.set_num_threads(1)
        return make_biased_engine(bias.engine, system, bias.cv, extended, platform=platform, probe=bias.probe)
