"""Molecular systems as they are named and described: a folder with system.toml and structure files."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aecv.ground.errors import MolecularSystemError, suggestion
from aecv.ground.files import is_file
from aecv.ground.layers import (
    Layer,
    Overrides,
    load_toml,
    merge,
    override_layers,
    setter,
    under_new_names,
    validate,
)
from aecv.ground.names import MOST_LETTERS
from aecv.ground.settings import Settings
from aecv.ground.solvents import solvent_names, with_solvent
from aecv.molecules.system_files import FILE_NAME, all_files, check_files
from aecv.numerics.free_energy.expression import Expression, parse_expression


@dataclass(frozen=True, kw_only=True, repr=False)
class SystemSpec:
    """A molecular system and all settings of a run on it; picklable, a few kB.

    Attributes:
        settings: the validated settings: system.toml, then the --config file, then --set.
        directory: the folder that holds system.toml, absolute.
        hash: SHA-256 (hexadecimal) over system.toml, the structure, topology and parameter files, the names
            of the force-field files and those of these files that lie in the folder, and what they include.
    """

    settings: Settings
    directory: Path
    hash: str

    @property
    def name(self) -> str:
        """The system's name as its system.toml gives it."""
        return self.settings.system.name

    @property
    def structure_path(self) -> Path:
        """The structure that simulations start from.

        Raises:
            MolecularSystemError: for a particle, which has none.
        """
        if self.settings.system.structure is None:
            raise MolecularSystemError(f"system '{self.name}': needs a structure file, it is a particle")
        return self.directory / self.settings.system.structure

    @property
    def solvents(self) -> tuple[str, ...]:
        """Names that system.solvent can have; empty for a system of one surrounding.

        Raises:
            SettingsError: when system.toml can no longer be read.
        """
        path = self.directory / FILE_NAME
        return solvent_names([(str(path), load_toml(path))])

    @property
    def potential(self) -> Expression | None:
        """V(x, y) of a particle, for arrays; None for a molecule.

        Raises:
            SettingsError: when it cannot be read; `load_system` has made sure that it can.
        """
        particle = self.settings.particle
        return None if particle is None else parse_expression(particle.potential, place="particle.potential")

    @property
    def start_paths(self) -> tuple[Path, ...]:
        """Further structures that the system offers as starts."""
        return tuple(self.directory / name for name in self.settings.system.starts)

    @property
    def topology_path(self) -> Path:
        """The Amber, Gromacs or CHARMM topology, or OpenMM System, that brings the forces.

        Raises:
            MolecularSystemError: for a system whose forces come from force-field files, or a particle.
        """
        if self.settings.system.topology is None:
            raise MolecularSystemError(f"system '{self.name}': needs a topology file, it has none")
        return self.directory / self.settings.system.topology

    @property
    def parameter_paths(self) -> tuple[Path, ...]:
        """Files of parameters of a CHARMM topology."""
        return tuple(self.directory / name for name in self.settings.system.parameters)

    @property
    def forcefield_files(self) -> tuple[str, ...]:
        """Force-field files: a path where the folder holds the file, else a name that OpenMM knows."""
        return tuple(
            str(self.directory / name) if is_file(self.directory / name) else name
            for name in self.settings.system.forcefield
        )

    def __repr__(self) -> str:
        return f"SystemSpec({self.name!r} in {str(self.directory)!r})"


def as_system(given: SystemSpec | str | Path) -> SystemSpec:
    """A system, or that of a name or folder with its own settings; errors as `load_system`."""
    return given if isinstance(given, SystemSpec) else load_system(given)


def shipped_systems() -> dict[str, Path]:
    """Name and folder of every system that comes with aecv."""
    root = _shipped_root()
    if root is None:
        return {}
    return {path.parent.name: path.parent for path in sorted(root.glob(f"*/{FILE_NAME}"))}


def load_system(
    name_or_path: str | Path,
    *,
    config: str | Path | None = None,
    overrides: Overrides = (),
    trial: Mapping[str, Any] | None = None,
) -> SystemSpec:
    """A system with its settings, whose layers are laid over each other and checked.

    A plain word names a shipped system before a folder; write ./NAME for a folder of that name.

    Args:
        name_or_path: a shipped system's name, a folder that holds system.toml, or that file.
        config: a TOML file laid over system.toml.
        overrides: laid over both: SECTION.KEY=VALUE texts, or a dict, `{"sampling.ns": 1}` or
            `{"sampling": {"ns": 1}}`.
        trial: fields of --quick, laid over system.toml and under the others; None for none.

    Returns:
        the system; its `settings` are checked, its files are there.

    Raises:
        MolecularSystemError: when the system or one of its files is not there, or a path leaves its folder.
        SettingsError: when a layer cannot be read or the settings are not valid.

    Example:
        >>> import aecv
        >>> ala2 = aecv.load_system("ala2", overrides={"sampling.ns": 1, "autoencoder": {"latent": 1}})
        >>> ala2.settings.sampling.ns
        1.0
    """
    directory = _find(name_or_path)
    toml_path = directory / FILE_NAME
    layers: list[Layer] = [(str(toml_path), load_toml(toml_path))]
    if directory not in shipped_systems().values():  # these keep their bytes, by which old runs know them
        layers = under_new_names(layers)
    layers += [] if trial is None else [("--quick", trial)]
    given = [] if config is None else [(str(config), load_toml(Path(config)))]
    layers += under_new_names([*given, *override_layers(overrides)])
    _check_other_solvents(layers[0])
    layers = with_solvent(layers)
    source = " with ".join(name for name, _ in layers)
    settings = validate(merge(*(fields for _, fields in layers)), source=source, layers=layers)
    check_files(directory, settings)
    if settings.particle is not None:
        origin = setter(("particle", "potential"), layers)
        parse_expression(settings.particle.potential, place=f"particle.potential (from {origin})")
    return SystemSpec(settings=settings, directory=directory, hash=_hash(directory, settings))


def atoms_alone(
    topology_path: Path,
    *,
    atoms: str,
    hash: str,
    config: str | Path | None = None,
    overrides: Overrides = (),
) -> SystemSpec:
    """A molecule of which a topology file is all there is: no system.toml, no forces.

    Args:
        topology_path: names it.
        atoms: cv.atoms, an mdtraj selection.
        hash: of its atoms.
        config, overrides: as in `load_system`.

    Raises:
        SettingsError: when a layer cannot be read or the settings are not valid.
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", topology_path.stem)[:MOST_LETTERS]
    name = name if name[:1].isalpha() else f"top_{name}"[:MOST_LETTERS]
    layers: list[Layer] = [(str(topology_path), {"system": {"name": name}, "cv": {"atoms": atoms}})]
    layers += [] if config is None else [(str(config), load_toml(Path(config)))]
    layers = under_new_names([*layers, *override_layers(overrides)])
    settings = validate(
        merge(*(fields for _, fields in layers)),
        source=" with ".join(source for source, _ in layers),
        layers=layers,
        has_forces=False,
    )
    return SystemSpec(settings=settings, directory=topology_path.resolve().parent, hash=hash)


def with_settings(spec: SystemSpec, overrides: Overrides) -> SystemSpec:
    """The same system with other settings; arguments and errors as in `load_system`."""
    given = under_new_names(override_layers(overrides))
    layers: list[Layer] = [("the system", spec.settings.model_dump(mode="json")), *given]
    source = " with ".join(name for name, _ in layers)
    settings = validate(merge(*(fields for _, fields in layers)), source=source, layers=layers)
    return replace(spec, settings=settings)


def _check_other_solvents(base: Layer) -> None:
    """The solvents of a system.toml that are not taken have keys and values that could be."""
    for name in solvent_names([base]):
        layers = with_solvent([base, ("", {"system": {"solvent": name}})])
        source = f"{base[0]} [solvent.{name}]"
        validate(merge(*(fields for _, fields in layers)), source=source, layers=layers)


def check_unchanged(spec: SystemSpec) -> None:
    """Refuse a system whose files are not those that the spec was made from.

    Raises:
        MolecularSystemError: then, and when they are not there.
    """
    try:
        found = _hash(spec.directory, spec.settings)
    except OSError as error:
        raise MolecularSystemError(
            f"{spec.directory}: needs the files of system '{spec.name}' at the same path for every process, "
            f"got: {error}"
        ) from error
    if found != spec.hash:
        raise MolecularSystemError(
            f"{spec.directory}: the files of system '{spec.name}' have changed since the run began; restore "
            "them, then continue with --resume"
        )


def _shipped_root() -> Path | None:
    """The folder of shipped systems: inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    roots = (package / "systems", package.parent / "systems")
    return next((root for root in roots if root.is_dir()), None)


def _find(name_or_path: str | Path) -> Path:
    shipped = shipped_systems()
    if isinstance(name_or_path, str) and name_or_path in shipped:
        return shipped[name_or_path].resolve()
    path = Path(name_or_path).expanduser()
    if path.name == FILE_NAME and path.is_file():
        return path.parent.resolve()
    if (path / FILE_NAME).is_file():
        return path.resolve()
    if path.is_dir():
        raise MolecularSystemError(
            f"system folder {path}: needs a file {FILE_NAME}, found none; aecv init FILE writes "
            "one for a structure of yours"
        )
    raise MolecularSystemError(
        f"system '{name_or_path}': needs the name of a shipped system ({', '.join(shipped) or 'none found'}) "
        f"or a folder that holds {FILE_NAME}{suggestion(str(name_or_path), shipped)}"
    )


def _hash(directory: Path, settings: Settings) -> str:
    digest = hashlib.sha256()
    for name in all_files(directory, settings):
        digest.update(f"file {name}\n".encode())
        digest.update(hashlib.sha256((directory / name).read_bytes()).digest())
    for name in settings.system.forcefield:
        digest.update(f"forcefield {name}\n".encode())
    return digest.hexdigest()
