"""The systems that come with aecv: what they are, how fast they run here, and what a run of them costs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openmm

from aecv.ground.errors import AecvError
from aecv.ground.settings import Settings
from aecv.molecules.spec import load_system, shipped_systems
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.platforms import choose_platform
from aecv.sampling.system.speed import BUSY, busy_words, measure_speed
from aecv.workflow.planning.cost import Times, estimate_times


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a system is made of.

    Attributes:
        n_atoms: all of them.
        n_cv_atoms, cv_atoms: number and selection of those that the autoencoder sees.
        n_components: of the CV.
        forces: files that they come from, or the particle's potential.
        surroundings: "vacuum", "implicit solvent", "water", "implicit solvent and water" or "a surface".
        solvents: that `--set solvent=NAME` can choose.
        platform: OpenMM's, that would be chosen; `reason` says why.
    """

    n_atoms: int
    n_cv_atoms: int
    cv_atoms: str
    n_components: int
    forces: str
    surroundings: str
    solvents: tuple[str, ...]
    platform: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One system of the list.

    Attributes:
        name: of its folder, which commands take.
        description, expect: what it is, and what a run shows, as its system.toml says.
        ns, iterations, walkers: of the default job; None where the settings cannot be read.
        contents: None where it cannot be built.
        times: of the default job, from the measured speed; None where that was not measured.
        note: on the measured speed.
        error: why something is missing.
    """

    name: str
    description: str = ""
    expect: str = ""
    ns: float | None = None
    iterations: int | None = None
    walkers: int | None = None
    contents: Contents | None = None
    times: Times | None = None
    note: str | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values; times in seconds, with their sum."""
        values = asdict(self)
        if self.times is not None:
            values["times"]["total"] = self.times.total
        return values


def catalogue(folders: Mapping[str, Path] | None = None, *, seconds: float | None = 1.0) -> Iterator[Entry]:
    """The shipped systems one after the other; what is wrong with one goes into its entry.

    Args:
        folders: folder of each name; None for those that come with aecv.
        seconds: of dynamics to measure the speed of each; None to leave that out.
    """
    for name, folder in (shipped_systems() if folders is None else folders).items():
        yield _entry(name, folder, seconds)


def _entry(name: str, folder: Path, seconds: float | None) -> Entry:
    known: dict[str, Any] = {"name": name}
    try:
        spec = load_system(folder)
        settings = spec.settings
        known |= {
            "description": settings.system.description,
            "expect": settings.system.expect,
            "ns": settings.sampling.ns,
            "iterations": settings.run.iterations,
            "walkers": settings.sampling.walkers,
        }
        system = build(spec)
        platform = choose_platform(system.system, settings.dynamics.platform)
        known["contents"] = _contents(system, platform.platform.getName(), platform.reason)
        if seconds is not None:
            speed = measure_speed(system, platform, seconds=seconds)
            known["times"] = estimate_times(settings, speed.steps_per_s, on_cpu=platform.on_cpu)
            if speed.share is not None and speed.share < BUSY:
                known["note"] = busy_words(speed.share)
    except AecvError as error:
        known["error"] = str(error)
    return Entry(**known)


def _contents(system: MolecularSystem, platform: str, reason: str) -> Contents:
    settings = system.spec.settings
    return Contents(
        n_atoms=system.n_atoms,
        n_cv_atoms=len(system.cv_atom_indices),
        cv_atoms=settings.cv.atoms,
        n_components=settings.autoencoder.n_biased,
        forces=_forces(settings),
        surroundings=_surroundings(system),
        solvents=system.spec.solvents,
        platform=platform,
        reason=reason,
    )


def _forces(settings: Settings) -> str:
    if settings.particle is not None:
        return "V(x, y)"
    return ", ".join(settings.system.forcefield) or str(settings.system.topology)


def _surroundings(system: MolecularSystem) -> str:
    """By the forces and the residues, which tell it whatever files they come from."""
    if system.spec.settings.particle is not None:
        return "a surface"
    found = []
    if any(isinstance(f, openmm.GBSAOBCForce | openmm.CustomGBForce) for f in system.system.getForces()):
        found.append("implicit solvent")
    if system.is_solvated:
        found.append("water")
    return " and ".join(found) or "vacuum"
