"""The OpenMM platform that runs a system fastest."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import openmm

from aecv.ground.errors import SettingsError, suggestion

logger = logging.getLogger(__name__)

REFERENCE_MAX_ATOMS = 100
"""Up to this many atoms the Reference platform is the fastest one; see benchmarks and `choose_platform`."""
REFERENCE_MAX_ATOMS_GB = 60
"""The same with OpenMM's own generalised Born force, whose pairs cost more."""

KNOWN_PLATFORMS = ("Reference", "CPU", "CUDA", "OpenCL", "HIP")
"""That OpenMM may have; which ones are there depends on how it was installed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlatformChoice:
    """An OpenMM platform, the properties to create a Context with, and why it was chosen.

    It can be pickled; the platform is then found again by its name.
    """

    platform: openmm.Platform
    properties: Mapping[str, str]
    reason: str

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the processor, so that processes gain by running side by side."""
        return self.platform.getName() in ("Reference", "CPU")

    def on_device(self, index: str) -> "PlatformChoice":
        """The same on one of several GPUs.

        Raises:
            SettingsError: for a platform without devices.
        """
        if "DeviceIndex" not in self.platform.getPropertyNames():
            raise SettingsError(
                "--devices: needs a platform with devices (CUDA, OpenCL, HIP), got "
                f"{self.platform.getName()}; leave it out, or choose one with --platform"
            )
        return replace(self, properties={**self.properties, "DeviceIndex": index})

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.platform.getName(), dict(self.properties), self.reason)


def _restored(name: str, properties: dict[str, str], reason: str) -> PlatformChoice:
    try:
        platform = openmm.Platform.getPlatformByName(name)
    except openmm.OpenMMException as error:
        raise SettingsError(f"dynamics.platform: {name} is not on this worker ({error})") from error
    return PlatformChoice(platform=platform, properties=properties, reason=reason)


def choose_platform(
    system: openmm.System, requested: str = "auto", *, devices: Sequence[str] = ()
) -> PlatformChoice:
    """The OpenMM platform for a System.

    "auto" takes Reference for tiny systems, where the threads of the CPU platform and the launches of a GPU
    cost more than the forces, and otherwise the fastest platform on which a Context can be created. Ewald
    sums and forces given as formulas (GBn2, OBC2 of implicit/obc2.xml) are slow on Reference at any size.

    Args:
        devices: indices of GPUs, of which this process takes the first; empty for OpenMM's choice.

    Raises:
        SettingsError: when the requested platform is not there or does not work, or has no devices to choose.
    """
    chosen = _choose(system, requested)
    return chosen.on_device(devices[0]) if devices else chosen


def _reference_limit(system: openmm.System) -> tuple[int, str]:
    """Atoms up to which Reference is the fastest platform, and what decides it."""
    kinds = {type(force) for force in system.getForces()}
    if openmm.CustomGBForce in kinds:
        return 0, "generalised Born by formulas"
    if system.usesPeriodicBoundaryConditions():
        return 0, "a periodic box"
    if openmm.GBSAOBCForce in kinds:
        return REFERENCE_MAX_ATOMS_GB, f"> {REFERENCE_MAX_ATOMS_GB} with generalised Born"
    return REFERENCE_MAX_ATOMS, f"> {REFERENCE_MAX_ATOMS}"


def _choose(system: openmm.System, requested: str) -> PlatformChoice:
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if requested != "auto":
        known = {name.lower(): name for name in names}
        if requested.lower() not in known:
            raise SettingsError(
                f"dynamics.platform: needs 'auto' or one of {', '.join(names)}, got '{requested}'"
                f"{_not_here(requested) or suggestion(requested, names)}"
            )
        name = known[requested.lower()]
        if (problem := _problem(name)) is not None:
            raise SettingsError(f"dynamics.platform: {name} does not work here ({problem}); use 'auto'")
        return _choice(name, "as requested")
    n_atoms = system.getNumParticles()
    limit, why = _reference_limit(system)
    if n_atoms <= limit:
        return _choice("Reference", f"{n_atoms} atoms <= {limit}, where it is the fastest")
    return fastest_platform(f"{n_atoms} atoms{', ' if limit == 0 else ' '}{why}, ")


def _not_here(requested: str) -> str:
    """That OpenMM has such a platform, and this one does not; empty for what is none of OpenMM's."""
    name = next((name for name in KNOWN_PLATFORMS if name.lower() == requested.lower()), None)
    if name is None:
        return ""
    failed = [text for text in openmm.Platform.getPluginLoadFailures() if name.lower() in text.lower()]
    why = f" ({failed[0].strip().splitlines()[0]})" if failed else ""
    return f"; this OpenMM has no {name} platform that works{why}"


def fastest_platform(why: str = "") -> PlatformChoice:
    """The platform that OpenMM holds for the fastest, of those on which a Context can be created.

    Args:
        why: begins the reason.

    Raises:
        SettingsError: when there is none.
    """
    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    by_speed = sorted(names, key=lambda name: -openmm.Platform.getPlatformByName(name).getSpeed())
    failed: list[str] = []
    for name in by_speed:
        if (problem := _problem(name)) is None:
            note = f"; not working: {', '.join(failed)}" if failed else ""
            return _choice(name, f"{why}fastest that works{note}")
        failed.append(f"{name} ({problem})")
    raise SettingsError(f"dynamics.platform: no OpenMM platform works: {'; '.join(failed)}; reinstall OpenMM")


def _choice(name: str, why: str) -> PlatformChoice:
    # One thread per walker: walkers run side by side, and threads of one walker would fight for cores.
    properties = {"Threads": "1"} if name == "CPU" else {}
    logger.debug("platform %s: %s", name, why)
    return PlatformChoice(
        platform=openmm.Platform.getPlatformByName(name), properties=properties, reason=f"{name}: {why}"
    )


def _problem(name: str) -> str | None:
    """Why a Context cannot be created on a platform, or None."""
    if name in ("Reference", "CPU"):
        return None
    system = openmm.System()
    system.addParticle(1.0)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(name))
    except openmm.OpenMMException as error:
        return str(error).splitlines()[0]
    return None
