"""Sections held against each other: what none of them can know alone."""

from itertools import pairwise
from math import sqrt

from aecv.ground.errors import suggestion
from aecv.ground.names import check_observable_names
from aecv.ground.settings.barostat import MOVES
from aecv.ground.settings.limits import MOST_BINS, MOST_NS_STEPS, MOST_STEPS, MOST_WEIGHTS
from aecv.ground.settings.molecule import (
    PARAMETERS,
    STRUCTURES,
    TITLES,
    TOPOLOGIES,
    MolecularSettings,
    suffix,
)
from aecv.ground.settings.region import region_fault
from aecv.ground.settings.sections import Sections

MOST_PHASE = 0.3
"""Largest omega dt of the spring along z: the frequency is then off by (omega dt)^2/24 = 0.4 %."""
_MOLECULAR = (
    "topology",
    "include",
    "parameters",
    "starts",
    "nonbonded",
    "cutoff_nm",
    "constraints",
    "hydrogen_mass_da",
    "implicit_solvent",
)
_FORCES = ("nonbonded", "cutoff_nm", "constraints", "hydrogen_mass_da")


def check(settings: Sections, *, has_forces: bool = True) -> None:
    """Hold the sections against each other.

    Args:
        has_forces: whether they have to say what gives the forces; frames can be learned from without.

    Raises:
        ValueError: with what does not fit.
    """
    if has_forces:
        check_kind(settings)
    elif settings.particle is not None or not settings.cv.align:
        raise ValueError(
            "atoms of a topology (--top) are a molecule's, which turns and drifts: take [particle] out and "
            "leave cv.align true"
        )
    check_observable_names(settings.observables)
    if settings.delta_f is not None and settings.delta_f.observable not in settings.observables:
        raise ValueError(
            f"delta_f.observable '{settings.delta_f.observable}' is not one of the observables "
            f"{sorted(settings.observables)}{suggestion(settings.delta_f.observable, settings.observables)}"
        )
    check_region(settings)
    if settings.starts.mode == "given" and settings.particle is None and not settings.system.starts:
        raise ValueError("starts.mode 'given' needs system.starts, a list of structure files")
    if settings.eabf.tau_ps < 20 * settings.dynamics.timestep_ps:
        raise ValueError(
            f"eabf.tau_ps {settings.eabf.tau_ps} needs to be at least 20 time steps "
            f"({20 * settings.dynamics.timestep_ps:g} ps)"
        )
    check_barostat(settings)
    check_components(settings)
    check_network(settings)
    check_lengths(settings)
    ratio = settings.sampling.frame_ps / settings.dynamics.timestep_ps
    if abs(ratio - round(ratio)) > 1e-6 * ratio or round(ratio) < 1:
        raise ValueError(
            f"sampling.frame_ps {settings.sampling.frame_ps} needs to be a multiple of "
            f"dynamics.timestep_ps {settings.dynamics.timestep_ps}"
        )


def check_molecule(settings: Sections) -> None:
    """The files and keys of [system] make one description of a molecule.

    Raises:
        ValueError: with what does not fit.
    """
    system = settings.system
    if system.structure is None or not (system.forcefield or system.topology):
        raise ValueError(
            "a molecule needs system.structure and system.forcefield (or system.topology), a particle on a "
            "potential needs a section [particle]; give one of the two"
        )
    if system.topology is not None and suffix(system.topology) not in TOPOLOGIES:
        raise ValueError(
            f"system.topology needs a file ending in {', '.join(TOPOLOGIES)}, got '{system.topology}'"
        )
    if system.topology is not None and system.forcefield:
        raise ValueError(
            f"system.topology '{system.topology}' brings its own forces, and system.forcefield others; take "
            "one of the two out"
        )
    if suffix(system.structure) not in STRUCTURES[system.format]:
        raise ValueError(
            f"system.structure of {TITLES[system.format]} needs a file ending in "
            f"{', '.join(STRUCTURES[system.format])}, got '{system.structure}'"
        )
    _check_companions(system)
    _check_forces(system)
    if not settings.cv.align:
        raise ValueError(
            "cv.align = false is for [particle] systems; a molecule turns and drifts, so leave it true"
        )


def _check_companions(system: MolecularSettings) -> None:
    """Keys that one format alone has."""
    if system.include is not None and system.format != "gromacs":
        raise ValueError("system.include is for a Gromacs .top; take it out")
    if system.format == "charmm" and not system.parameters:
        raise ValueError(
            f"system.topology '{system.topology}' holds no force constants: system.parameters needs the "
            ".rtf, .prm and .str files that it was made with"
        )
    if system.parameters and system.format != "charmm":
        raise ValueError("system.parameters are those of a CHARMM .psf; take them out")
    unknown = [name for name in system.parameters if suffix(name) not in PARAMETERS]
    if unknown:
        raise ValueError(
            f"system.parameters needs files ending in {', '.join(PARAMETERS)}, got '{unknown[0]}'"
        )


def _check_forces(system: MolecularSettings) -> None:
    """Keys that would contradict the file that the forces come from."""
    if system.format == "openmm":
        fields = type(system).model_fields
        set_anyway = [key for key in _FORCES if getattr(system, key) != fields[key].default]
        if set_anyway:
            raise ValueError(
                f"system.{set_anyway[0]} is part of the OpenMM System in '{system.topology}' already; take "
                "it out here, or make that file anew"
            )
    if system.implicit_solvent == "none":
        return
    if system.format not in ("amber", "charmm"):
        remedy = (
            'name a file such as "implicit/obc2.xml" in system.forcefield'
            if system.format == "forcefield"
            else "take it out"
        )
        raise ValueError(f"system.implicit_solvent is for Amber and CHARMM topologies; {remedy}")
    if system.is_periodic:
        raise ValueError(
            f"system.implicit_solvent '{system.implicit_solvent}' has no box: system.nonbonded needs to be "
            f"NoCutoff or CutoffNonPeriodic, got '{system.nonbonded}'"
        )


def check_kind(settings: Sections) -> None:
    """Either a molecule (structure, force field, aligned frames) or a particle (none of these).

    Raises:
        ValueError: when the settings are neither or both.
    """
    system, particle = settings.system, settings.particle
    if particle is None:
        check_molecule(settings)
        return
    if system.structure is not None or system.forcefield:
        raise ValueError(
            "a [particle] has no system.structure and no system.forcefield; take these or [particle] out"
        )
    unfit = [key for key in _MOLECULAR if getattr(system, key) != type(system).model_fields[key].default]
    if unfit:
        raise ValueError(f"system.{unfit[0]} is for molecules; take it out, [particle] says all there is")
    if settings.cv.align:
        raise ValueError("a [particle] needs cv.align = false: one point has no shape to superpose")
    if settings.autoencoder.latent > 2:
        raise ValueError(
            f"a [particle] moves in a plane: autoencoder.latent needs to be 1 or 2, "
            f"got {settings.autoencoder.latent}"
        )
    phase = sqrt(particle.z_stiffness_kj_mol_nm2 / particle.mass_da) * settings.dynamics.timestep_ps
    if phase > MOST_PHASE:
        raise ValueError(
            f"particle.z_stiffness_kj_mol_nm2 {particle.z_stiffness_kj_mol_nm2:g} with particle.mass_da "
            f"{particle.mass_da:g} turns {phase:.2f} rad per time step, at most {MOST_PHASE}; lower it or "
            "dynamics.timestep_ps"
        )


def check_barostat(settings: Sections) -> None:
    """A pressure has a box, and time to change it.

    Raises:
        ValueError: with what does not fit.
    """
    barostat, system = settings.barostat, settings.system
    if barostat.pressure_bar is None:
        if barostat.always:
            raise ValueError("barostat.always needs barostat.pressure_bar, for example 1.0")
        return
    if settings.particle is not None:
        raise ValueError("barostat.pressure_bar is for molecules in a periodic box; take it out")
    if not (system.is_periodic or system.format == "openmm"):
        raise ValueError(
            f"barostat.pressure_bar needs a periodic box: system.nonbonded PME or CutoffPeriodic, got "
            f"'{system.nonbonded}'"
        )
    if barostat.always and settings.sampling.engine == "plumed":
        raise ValueError(
            "barostat.always is not for sampling.engine 'plumed', whose DRR would take a sample at every "
            "trial of the barostat; set barostat.always = false, or take another engine"
        )
    least = MOVES * barostat.interval_steps * settings.dynamics.timestep_ps
    for key, length in (
        ("barostat.equilibration_ps", barostat.equilibration_ps),
        ("sampling.segment_ps", settings.sampling.segment_ps),
    ):
        if 0 < length < least * (1 - 1e-9):
            raise ValueError(
                f"{key} {length:g} needs to hold {MOVES} moves of the barostat, one every "
                f"barostat.interval_steps {barostat.interval_steps}: {least:g} ps or more"
            )


def check_region(settings: Sections) -> None:
    """ValueError for a region that the period of its observable does not allow."""
    region = settings.delta_f
    if region is None:
        return
    fault = region_fault(region, settings.observables[region.observable].period)
    if fault:
        raise ValueError(f"delta_f: {fault}")


def check_components(settings: Sections) -> None:
    bins, autoencoder = settings.eabf.bins, settings.autoencoder
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


def check_network(settings: Sections) -> None:
    restarts, convergence = settings.training.restarts, settings.convergence
    n = (
        restarts
        if convergence.s_min != "bootstrap"
        else max(restarts, convergence.replicas * convergence.replica_restarts)
    )
    sizes = (*settings.autoencoder.hidden, settings.autoencoder.latent)
    pairs = n * sum(max(a, b) ** 2 for a, b in pairwise(sizes))
    if pairs > MOST_WEIGHTS:
        raise ValueError(
            f"autoencoder.hidden {list(settings.autoencoder.hidden)} in {n} autoencoders that train together "
            f"(training.restarts, convergence.replicas) gives {pairs:.2g} pairs of units, more than "
            f"{MOST_WEIGHTS:g}"
        )


def check_lengths(settings: Sections) -> None:
    timestep = settings.dynamics.timestep_ps
    for key, length_ps, limit in (
        ("sampling.ns", 1000.0 * settings.sampling.ns, MOST_NS_STEPS),
        ("production.ns", 1000.0 * (settings.production.ns or 0.0), MOST_NS_STEPS),
        ("sampling.frame_ps", settings.sampling.frame_ps, MOST_STEPS),
        ("sampling.segment_ps", settings.sampling.segment_ps, MOST_STEPS),
        ("sampling.equilibration_ps", settings.sampling.equilibration_ps, MOST_STEPS),
        ("starts.hot_ps", settings.starts.hot_ps, MOST_STEPS),
        ("barostat.equilibration_ps", settings.barostat.equilibration_ps, MOST_STEPS),
    ):
        if length_ps / timestep > limit:
            raise ValueError(
                f"{key} is {length_ps / timestep:.3g} time steps of dynamics.timestep_ps {timestep:g}, "
                f"more than {limit:g}"
            )
