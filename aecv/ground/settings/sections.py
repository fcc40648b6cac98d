"""All sections of the settings, each valid by itself."""

from pydantic import Field

from aecv.ground.settings.autoencoder import AutoencoderSettings
from aecv.ground.settings.barostat import BarostatSettings
from aecv.ground.settings.convergence import ConvergenceSettings
from aecv.ground.settings.cv import CVAtomSettings
from aecv.ground.settings.dynamics import DynamicsSettings
from aecv.ground.settings.extended_abf import ExtendedABFSettings
from aecv.ground.settings.free_energy import FreeEnergySettings
from aecv.ground.settings.molecule import MolecularSettings
from aecv.ground.settings.observables import ObservableSettings
from aecv.ground.settings.particle import ParticleSettings
from aecv.ground.settings.pool import PoolSettings
from aecv.ground.settings.production import ProductionSettings
from aecv.ground.settings.region import DeltaFSettings
from aecv.ground.settings.run import RunSettings
from aecv.ground.settings.sampling import SamplingSettings
from aecv.ground.settings.section import Section
from aecv.ground.settings.starts import StartSettings
from aecv.ground.settings.training import TrainingSettings


class Sections(Section):
    """All sections of the settings, each valid by itself; `Settings` holds them against each other."""

    system: MolecularSettings
    particle: ParticleSettings | None = None
    dynamics: DynamicsSettings = DynamicsSettings()
    barostat: BarostatSettings = BarostatSettings()
    cv: CVAtomSettings
    observables: dict[str, ObservableSettings] = Field(default_factory=dict)
    delta_f: DeltaFSettings | None = None
    sampling: SamplingSettings = SamplingSettings()
    starts: StartSettings = StartSettings()
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    training: TrainingSettings = TrainingSettings()
    eabf: ExtendedABFSettings = ExtendedABFSettings()
    pool: PoolSettings = PoolSettings()
    convergence: ConvergenceSettings = ConvergenceSettings()
    production: ProductionSettings = ProductionSettings()
    free_energy: FreeEnergySettings = FreeEnergySettings()
    run: RunSettings = RunSettings()

    @property
    def production_ns(self) -> float:
        """Simulated time of the production over all walkers [ns]; 0 for none."""
        asked = self.production.ns
        return 2.0 * self.sampling.ns if asked is None else asked
