"""Settings of a run: a section a file, their limits, and how they are held against each other."""

from aecv.ground.settings.autoencoder import AutoencoderSettings
from aecv.ground.settings.barostat import BarostatSettings
from aecv.ground.settings.convergence import ConvergenceSettings
from aecv.ground.settings.extended_abf import ExtendedABFSettings
from aecv.ground.settings.limits import MOST_BINS
from aecv.ground.settings.molecule import STRUCTURES, TITLES, TOPOLOGIES, MolecularSettings, suffix
from aecv.ground.settings.observables import ObservableSettings
from aecv.ground.settings.pool import PoolSettings
from aecv.ground.settings.region import DeltaFSettings, region_fault
from aecv.ground.settings.renamed import RENAMED, renamed
from aecv.ground.settings.sampling import SamplingSettings
from aecv.ground.settings.starts import StartSettings
from aecv.ground.settings.training import TrainingSettings
from aecv.ground.settings.whole import Settings

__all__ = [
    "MOST_BINS",
    "RENAMED",
    "STRUCTURES",
    "TITLES",
    "TOPOLOGIES",
    "AutoencoderSettings",
    "BarostatSettings",
    "ConvergenceSettings",
    "DeltaFSettings",
    "ExtendedABFSettings",
    "MolecularSettings",
    "ObservableSettings",
    "PoolSettings",
    "SamplingSettings",
    "Settings",
    "StartSettings",
    "TrainingSettings",
    "region_fault",
    "renamed",
    "suffix",
]
