"""Every setting of a run: names, units, defaults and bounds.

Settings meet the outside here (system.toml, --config, --set) and nowhere else. Unknown keys are errors
with a suggestion; after validation everything is frozen.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aecv.ground.errors import SettingsError, suggestion


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MolecularSettings(_Section):
    """[system]: what is simulated."""

    name: str = Field(min_length=1)
    description: str = ""
    structure: str
    forcefield: tuple[str, ...] = Field(min_length=1)
    starts: tuple[str, ...] = ()
    nonbonded: Literal["NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "PME"] = "NoCutoff"
    cutoff_nm: float = Field(1.0, gt=0)
    constraints: Literal["none", "HBonds", "AllBonds"] = "none"
    hydrogen_mass_da: float | None = Field(None, gt=0)


class DynamicsSettings(_Section):
    """[dynamics]: LangevinMiddle at constant temperature."""

    temperature_k: float = Field(300.0, gt=0)
    friction_per_ps: float = Field(1.0, gt=0)
    timestep_ps: float = Field(0.001, gt=0, le=0.01)
    platform: str = "auto"


class CVAtomSettings(_Section):
    """[cv]: which atoms the autoencoder sees, as an mdtraj selection."""

    atoms: str = Field(min_length=1)


class ObservableSettings(_Section):
    """[observables.NAME]: a quantity for checks and pictures; one mdtraj selection per atom."""

    kind: Literal["dihedral", "angle", "distance"]
    atoms: tuple[str, ...]

    @model_validator(mode="after")
    def _count(self) -> "ObservableSettings":
        needed = {"dihedral": 4, "angle": 3, "distance": 2}[self.kind]
        if len(self.atoms) != needed:
            raise ValueError(f"a {self.kind} needs {needed} atom selections, got {len(self.atoms)}")
        return self


class DeltaFSettings(_Section):
    """[delta_f]: F(inside) - F(rest), for lower < observable < upper."""

    observable: str
    lower: float
    upper: float

    @model_validator(mode="after")
    def _ordered(self) -> "DeltaFSettings":
        if not self.lower < self.upper:
            raise ValueError(f"needs lower < upper, got {self.lower} and {self.upper}")
        return self


class SamplingSettings(_Section):
    """[sampling]: length of every iteration, over all walkers together."""

    ns: float = Field(10.0, gt=0)
    frame_ps: float = Field(0.1, gt=0)
    walkers: int = Field(4, ge=1, le=1024)
    segment_ps: float = Field(50.0, gt=0)
    equilibration_ps: float = Field(20.0, ge=0)


class StartSettings(_Section):
    """[starts]: the structures that iteration 0 and the walkers start from."""

    mode: Literal["auto", "one", "given"] = "auto"
    hot_temperature_k: float = Field(1000.0, gt=0)
    hot_ps: float = Field(500.0, gt=0)
    candidates: int = Field(100, ge=2)
    max_starts: int = Field(4, ge=1)
    min_rmsd_nm: float = Field(0.05, gt=0)


class AutoencoderSettings(_Section):
    """[autoencoder]: encoder n_inputs - hidden - latent; the decoder mirrors it. tanh, linear bottleneck."""

    hidden: tuple[int, ...] = Field((40,), min_length=1)
    latent: int = Field(2, ge=1, le=3)


class TrainingSettings(_Section):
    """[training]: Adam with early stopping on contiguous validation blocks."""

    restarts: int = Field(4, ge=1, le=64)
    max_epochs: int = Field(40, ge=1)
    patience: int = Field(15, ge=1)
    batch_size: int = Field(500, ge=1)
    learning_rate: float = Field(0.005, gt=0)
    validation_fraction: float = Field(0.2, gt=0, lt=0.9)
    validation_blocks: int = Field(50, ge=2)
    max_frames: int = Field(100_000, ge=100)
    min_effective_frames: float = Field(500.0, gt=0)


class ExtendedABFSettings(_Section):
    """[eabf]: extended-system adaptive biasing force; see SCIENCE in the README's links for the symbols."""

    bins: int = Field(50, ge=5)
    margin: float = Field(0.1, ge=0)
    sigma_bins: float = Field(1.0, gt=0)
    tau_ps: float = Field(0.2, gt=0)
    friction_per_ps: float = Field(8.0, gt=0)
    full_samples: int = Field(500, ge=1)
    ceiling_kj_mol: float = Field(80.0, gt=0)
    warm_start: bool = True


class PoolSettings(_Section):
    """[pool]: which frames train the next CV, and how they are weighted."""

    mode: Literal["mbar", "none"] = "mbar"
    exploration: int = Field(1, ge=0)
    discard: float = Field(0.2, ge=0, lt=1)
    blocks: int = Field(4, ge=1, le=50)
    max_frames: int = Field(200_000, ge=100)
    temper: float = Field(0.5, gt=0, le=1)


class ConvergenceSettings(_Section):
    """[convergence]: when the new CV counts as a regression of the old one."""

    s_min: float = Field(0.99, gt=0, lt=1)
    consecutive: int = Field(1, ge=1)
    stop: bool = False


class RunSettings(_Section):
    """[run]: what belongs to one invocation rather than to the system."""

    iterations: int = Field(10, ge=1)
    seed: int = Field(1, ge=0, lt=2**63)


class Settings(_Section):
    """Everything that determines a run."""

    system: MolecularSettings
    dynamics: DynamicsSettings = DynamicsSettings()
    cv: CVAtomSettings
    observables: dict[str, ObservableSettings] = {}
    delta_f: DeltaFSettings | None = None
    sampling: SamplingSettings = SamplingSettings()
    starts: StartSettings = StartSettings()
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    training: TrainingSettings = TrainingSettings()
    eabf: ExtendedABFSettings = ExtendedABFSettings()
    pool: PoolSettings = PoolSettings()
    convergence: ConvergenceSettings = ConvergenceSettings()
    run: RunSettings = RunSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.delta_f is not None and self.delta_f.observable not in self.observables:
            raise ValueError(
                f"delta_f.observable '{self.delta_f.observable}' is not one of the observables "
                f"{sorted(self.observables)}{suggestion(self.delta_f.observable, self.observables)}"
            )
        if self.starts.mode == "given" and not self.system.starts:
            raise ValueError("starts.mode 'given' needs system.starts, a list of structure files")
        if self.eabf.tau_ps < 20 * self.dynamics.timestep_ps:
            raise ValueError(
                f"eabf.tau_ps {self.eabf.tau_ps} needs to be at least 20 time steps "
                f"({20 * self.dynamics.timestep_ps:g} ps)"
            )
        ratio = self.sampling.frame_ps / self.dynamics.timestep_ps
        if abs(ratio - round(ratio)) > 1e-6 * ratio or round(ratio) < 1:
            raise ValueError(
                f"sampling.frame_ps {self.sampling.frame_ps} needs to be a multiple of "
                f"dynamics.timestep_ps {self.dynamics.timestep_ps}"
            )
        return self


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SettingsError: when it is missing or malformed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: needs a readable TOML file, got: {error}") from error


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`training.restarts=8` -> (("training", "restarts"), 8).

    The value is read as TOML; what is no TOML value is taken as a string.

    Raises:
        SettingsError: without '=' or without a dotted key.
    """
    key, separator, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not separator or len(path) < 2 or not all(path):
        raise SettingsError(f"--set {text!r}: needs SECTION.KEY=VALUE, for example training.restarts=8")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value.strip()


def merge(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other; later ones win, `base` stays as it is."""
    merged = dict(base)
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = (
                merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
            )
    return merged


def override(path: Sequence[str], value: Any) -> dict[str, Any]:
    """A nested mapping that holds one value."""
    nested: Any = value
    for part in reversed(path):
        nested = {part: nested}
    return dict(nested)


def validate(fields: Mapping[str, Any], *, source: str) -> Settings:
    """Settings from plain fields.

    Raises:
        SettingsError: one line per problem: source, key, what is needed, what came, and for an unknown
            key the nearest known one.
    """
    try:
        return Settings.model_validate(dict(fields))
    except ValidationError as error:
        lines = [_describe(item) for item in error.errors()]
        raise SettingsError(f"{source}: " + "; ".join(lines)) from error


def to_toml(settings: Settings) -> str:
    """Settings as TOML that `validate` accepts again."""
    return tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True))


def differences(old: Settings, new: Settings) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key, old value and new value of each setting that differs."""
    before, after = _flatten(old.model_dump(mode="json")), _flatten(new.model_dump(mode="json"))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _describe(item: Mapping[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location) or "settings"
    if item["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return (
            f"unknown key '{key}'{suggestion(location[-1], known)} (known here: {', '.join(sorted(known))})"
        )
    if item["type"] == "missing":
        return f"missing key '{key}'"
    came = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{came}"


def _known_keys(location: Sequence[str]) -> list[str]:
    section: Any = Settings
    for part in location:
        if section is Settings and part == "observables":
            return list(ObservableSettings.model_fields) if len(location) > 1 else []
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel))
    return list(section.model_fields)
