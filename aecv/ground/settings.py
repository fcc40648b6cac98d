"""Every setting of a run: names, units, defaults and bounds. After validation everything is frozen."""

import re
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from aecv.ground.barostat_settings import BarostatSettings, check_barostat
from aecv.ground.errors import suggestion
from aecv.ground.free_energy_settings import FreeEnergySettings
from aecv.ground.molecule_settings import MolecularSettings
from aecv.ground.names import check_observable_names
from aecv.ground.observable_settings import ObservableSettings
from aecv.ground.particle_settings import ParticleSettings, check_kind
from aecv.ground.region_settings import DeltaFSettings, check_region
from aecv.ground.section import Section as _Section

MOST_STEPS = 2e9
"""Steps of one call into OpenMM, which counts them in a C int."""
MOST_NS_STEPS = 1e13
"""Steps of an iteration: more than any machine makes in a year."""
MOST_BINS = 30_000
"""Bins of a grid that a free energy is integrated on in seconds."""
MOST_WEIGHTS = 1e8
"""Pairs of units of a layer, of all autoencoders that train together; SOAP holds a dozen numbers for each."""
MOST_BIASED = 3
"""Components that a grid of the bias has."""


class DynamicsSettings(_Section):
    """[dynamics]: LangevinMiddle at constant temperature."""

    temperature_k: float = Field(300.0, gt=0, le=1e5)
    friction_per_ps: float = Field(1.0, gt=0, le=1e5, description="of the LangevinMiddle thermostat")
    timestep_ps: float = Field(0.001, gt=0, le=0.01)
    platform: str = Field(
        "auto", description="OpenMM's; auto: Reference for tiny systems, else the fastest that works"
    )


class CVAtomSettings(_Section):
    """[cv]: which atoms the autoencoder sees, as an mdtraj selection."""

    atoms: str = Field(min_length=1, description="mdtraj selection; at least 3 atoms that are not on a line")
    align: bool = Field(True, description="superpose frames on a reference; false for a [particle] alone")


class SamplingSettings(_Section):
    """[sampling]: the engine, and the length of every iteration, over all walkers together."""

    engine: Literal["native", "plumed", "torchforce"] = Field(
        "native",
        description="what runs the biased dynamics; plumed and torchforce need packages of their own",
    )
    ns: float = Field(10.0, gt=0, description="simulated time of every iteration, over all walkers together")
    frame_ps: float = Field(0.1, gt=0, description="time between frames; a multiple of the time step")
    walkers: int = Field(4, ge=1, le=1024, description="walkers that share one bias")
    segment_ps: float = Field(
        50.0,
        gt=0,
        description="between saves, and between walkers sharing samples; keep it below a minute's work",
    )
    equilibration_ps: float = Field(20.0, ge=0, description="of every walker, once")
    frames: Literal["solute", "all"] = Field(
        "solute", description="what is stored: all atoms, or none of the water and ions after the solute"
    )


class StartSettings(_Section):
    """[starts]: the structures that iteration 0 and the walkers start from."""

    mode: Literal["auto", "one", "given"] = Field(
        "auto", description="auto: conformers of a hot run; one: the structure; given: system.starts"
    )
    hot_temperature_k: float = Field(1000.0, gt=0, le=1e5)
    hot_ps: float = Field(1000.0, gt=0, description="length of the hot run")
    hot_share: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="weight of the hot run's frames in the first training: they connect the basins",
    )
    candidates: int = Field(100, ge=2, le=100_000, description="snapshots of the hot run that are minimised")
    max_starts: int = Field(4, ge=1, le=100_000)
    min_rmsd_nm: float = Field(0.05, gt=0, le=1000, description="between distinct conformers, heavy atoms")


class AutoencoderSettings(_Section):
    """[autoencoder]: encoder n_inputs - hidden - latent; the decoder mirrors it. tanh, linear bottleneck."""

    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(
        (40,),
        min_length=1,
        max_length=16,
        description="sizes of the hidden layers of the encoder; the decoder mirrors them",
    )
    latent: int = Field(
        2, ge=1, le=8, description="components of the bottleneck; of more than three some are biased"
    )
    bias_components: tuple[int, ...] | Literal["auto"] | None = Field(
        None,
        description='those that are biased, up to three, 0 the most important; "auto": the best two; '
        "left out: all of up to three, else auto",
    )

    @field_validator("bias_components", mode="before")
    @classmethod
    def _indices_or_word(cls, value: Any) -> Any:
        # the command line has 0,3, or 0 alone
        if value is None or value == "auto":
            return value
        given = value.split(",") if isinstance(value, str) else value
        items = list(given) if isinstance(given, list | tuple) else [given]
        if not all(re.fullmatch(r" *\d{1,9} *", str(item)) for item in items):
            raise ValueError('needs "auto" or indices from 0, such as 0,3')
        found = sorted(int(item) for item in items)
        if len(set(found)) < len(found):
            raise ValueError("needs indices that differ")
        if not 1 <= len(found) <= MOST_BIASED:
            raise ValueError(f"needs 1 to {MOST_BIASED} indices: a grid of more has too many bins to fill")
        return tuple(found)

    @property
    def n_biased(self) -> int:
        """Components of the CV, which is what is biased."""
        if isinstance(self.bias_components, tuple):
            return len(self.bias_components)
        takes_all = self.bias_components is None and self.latent <= MOST_BIASED
        return self.latent if takes_all else min(2, self.latent)


class TrainingSettings(_Section):
    """[training]: SOAP (Adam in a better basis), early stopping on contiguous validation blocks."""

    restarts: int = Field(16, ge=1, le=64, description="trained together")
    loss_tolerance: float = Field(
        0.05,
        ge=0,
        le=1000,
        description="of restarts this close to the lowest validation loss, the one most like the others",
    )
    max_epochs: int = Field(20, ge=1, le=1_000_000)
    patience: int = Field(
        10, ge=1, le=1_000_000, description="epochs without improvement until a restart stops"
    )
    batch_size: int = Field(500, ge=1, le=1_000_000)
    learning_rate: float = Field(0.03, gt=0, le=10, description="its peak; warm-up, then cosine")
    validation_fraction: float = Field(0.2, gt=0, lt=0.9)
    validation_blocks: int = Field(
        50, ge=2, le=100_000, description="contiguous blocks of which a share is held out"
    )
    max_frames: int = Field(100_000, ge=100, le=1_000_000_000, description="the pool is thinned to this many")
    min_effective_frames: float = Field(
        500.0, gt=0, le=1e9, description="fewer effective frames than this are an error"
    )


class ExtendedABFSettings(_Section):
    """[eabf]: extended-system adaptive biasing force along the CV."""

    bins: int = Field(
        50, ge=5, le=MOST_BINS, description="per component of the CV; 24 are plenty for three components"
    )
    margin: float = Field(
        0.1, ge=0, le=100, description="share of the data range added to the grid on each side"
    )
    sigma_bins: float = Field(
        1.0, gt=0, le=1000, description="spread of xi around lambda in bin widths; kappa = kT/sigma^2"
    )
    tau_ps: float = Field(
        0.2, gt=0, le=1e6, description="period of lambda on its spring; at least 20 time steps"
    )
    friction_per_ps: float = Field(8.0, gt=0, le=1e5, description="of lambda")
    full_samples: int = Field(
        500, ge=1, le=1_000_000_000, description="samples in a bin from which its bias is applied in full"
    )
    ceiling_kj_mol: float = Field(
        60.0, gt=0, le=1e6, description="lambda is not pushed where the free energy exceeds this"
    )
    projected: bool = Field(
        True, description="of two or three components, the adapting bias is the gradient of a potential"
    )
    update_ps: float = Field(
        10.0, gt=0, le=1e9, description="of every walker, after which that potential is solved anew"
    )
    warm_start: bool = Field(True, description="begin with the pool's mean force along the new CV")
    frozen_stages: int = Field(
        0,
        ge=0,
        le=50,
        description="stages of frozen bias in an iteration (mode mbar); 0: it adapts throughout",
    )
    adaptive_share: float = Field(
        0.3, gt=0, lt=1, description="first share of the time, before the frozen stages, if there are any"
    )


class PoolSettings(_Section):
    """[pool]: which frames train the next CV, and how they are weighted."""

    mode: Literal["mbar", "none"] = Field(
        "mbar", description="mbar: biased iterations together; none: the last one alone, the plain scheme"
    )
    exploration: int = Field(
        1,
        ge=0,
        le=10_000,
        description="first biased iterations that leave the pool once there are later ones",
    )
    discard: float = Field(0.2, ge=0, lt=1, description="first share of an iteration's time that is left out")
    blocks: int = Field(
        4, ge=1, le=50, description="parts of an iteration, each weighted by its bias at the time"
    )
    max_frames: int = Field(200_000, ge=100, le=1_000_000_000, description="the pool is thinned to this many")
    temper: float = Field(
        0.25,
        gt=0,
        le=1,
        description="training weights are w^temper (mode mbar); scores and free energies keep w",
    )


class ConvergenceSettings(_Section):
    """[convergence]: when the new CV counts as a regression of the old one."""

    s_min: float | Literal["bootstrap"] = Field(
        "bootstrap",
        description="score from which on the CV counts as the same; bootstrap: what CVs of resampled frames "
        "reach among each other, in every iteration anew",
    )
    replicas: int = Field(8, ge=2, le=64, description="resampled data sets of the bootstrap")
    replica_restarts: int = Field(1, ge=1, le=64, description="restarts on each of them")
    quantile: float = Field(0.1, ge=0, le=1, description="of the scores between the replicas' CVs")
    floor: float = Field(
        0.95, ge=0, lt=1, description="a lower score is never convergence, and needs no bootstrap"
    )
    consecutive: int = Field(2, ge=1, le=10_000, description="iterations in a row that need it")
    coverage: bool = Field(
        True, description="an iteration whose walkers did not cover what is known does not count"
    )
    stop: bool = Field(False, description="end the run there")

    @field_validator("s_min", mode="plain")
    @classmethod
    def _number_or_word(cls, value: Any) -> Any:
        # one sentence instead of a complaint per type of the union
        if value == "bootstrap":
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise ValueError('needs "bootstrap" or a number between 0 and 1')
        return float(value)


class ProductionSettings(_Section):
    """[production]: the longer run along the final CV."""

    ns: float | None = Field(
        None, ge=0, description="simulated time over all walkers; left out: twice sampling.ns; 0: none"
    )
    frozen_stages: int = Field(
        4,
        ge=0,
        le=50,
        description="stages of frozen bias, after eabf.adaptive_share; 0: it adapts throughout",
    )
    replicates: int = Field(200, ge=20, le=10_000, description="of the bootstrap behind its error bars")


class RunSettings(_Section):
    """[run]: what belongs to one invocation rather than to the system."""

    iterations: int = Field(10, ge=1, le=10_000, description="the unbiased one included")
    seed: int = Field(1, ge=0, lt=2**63, description="root of all random numbers")
    trial: bool = Field(
        False, description="set by --quick: lengths too short for conclusions, and the report says so"
    )


class Settings(_Section):
    """Everything that determines a run."""

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

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        check_kind(self)
        check_observable_names(self.observables)
        if self.delta_f is not None and self.delta_f.observable not in self.observables:
            raise ValueError(
                f"delta_f.observable '{self.delta_f.observable}' is not one of the observables "
                f"{sorted(self.observables)}{suggestion(self.delta_f.observable, self.observables)}"
            )
        check_region(self)
        if self.starts.mode == "given" and self.particle is None and not self.system.starts:
            raise ValueError("starts.mode 'given' needs system.starts, a list of structure files")
        if self.eabf.tau_ps < 20 * self.dynamics.timestep_ps:
            raise ValueError(
                f"eabf.tau_ps {self.eabf.tau_ps} needs to be at least 20 time steps "
                f"({20 * self.dynamics.timestep_ps:g} ps)"
            )
        check_barostat(self)
        self._check_components()
        self._check_network()
        self._check_lengths()
        ratio = self.sampling.frame_ps / self.dynamics.timestep_ps
        if abs(ratio - round(ratio)) > 1e-6 * ratio or round(ratio) < 1:
            raise ValueError(
                f"sampling.frame_ps {self.sampling.frame_ps} needs to be a multiple of "
                f"dynamics.timestep_ps {self.dynamics.timestep_ps}"
            )
        return self

    def _check_components(self) -> None:
        bins, autoencoder = self.eabf.bins, self.autoencoder
        chosen, n_biased = autoencoder.bias_components, autoencoder.n_biased
        if isinstance(chosen, tuple) and chosen[-1] >= autoencoder.latent:
            raise ValueError(
                f"autoencoder.bias_components {list(chosen)} needs indices below autoencoder.latent "
                f"{autoencoder.latent}, 0 to {autoencoder.latent - 1}"
            )
        if bins**n_biased > MOST_BINS:
            what = f"autoencoder.latent {autoencoder.latent}"
            if n_biased < autoencoder.latent:
                what = f"{n_biased} autoencoder.bias_components"
            raise ValueError(
                f"eabf.bins {bins} with {what} give {bins**n_biased} bins, more than "
                f"{MOST_BINS}; at most {int(MOST_BINS ** (1 / n_biased))} per component"
            )

    def _check_network(self) -> None:
        restarts, convergence = self.training.restarts, self.convergence
        n = (
            restarts
            if convergence.s_min != "bootstrap"
            else max(restarts, convergence.replicas * convergence.replica_restarts)
        )
        sizes = (*self.autoencoder.hidden, self.autoencoder.latent)
        pairs = n * sum(max(a, b) ** 2 for a, b in pairwise(sizes))
        if pairs > MOST_WEIGHTS:
            raise ValueError(
                f"autoencoder.hidden {list(self.autoencoder.hidden)} in {n} autoencoders that train together "
                f"(training.restarts, convergence.replicas) gives {pairs:.2g} pairs of units, more than "
                f"{MOST_WEIGHTS:g}"
            )

    def _check_lengths(self) -> None:
        timestep = self.dynamics.timestep_ps
        for key, length_ps, limit in (
            ("sampling.ns", 1000.0 * self.sampling.ns, MOST_NS_STEPS),
            ("production.ns", 1000.0 * (self.production.ns or 0.0), MOST_NS_STEPS),
            ("sampling.frame_ps", self.sampling.frame_ps, MOST_STEPS),
            ("sampling.segment_ps", self.sampling.segment_ps, MOST_STEPS),
            ("sampling.equilibration_ps", self.sampling.equilibration_ps, MOST_STEPS),
            ("starts.hot_ps", self.starts.hot_ps, MOST_STEPS),
            ("barostat.equilibration_ps", self.barostat.equilibration_ps, MOST_STEPS),
        ):
            if length_ps / timestep > limit:
                raise ValueError(
                    f"{key} is {length_ps / timestep:.3g} time steps of dynamics.timestep_ps {timestep:g}, "
                    f"more than {limit:g}"
                )
