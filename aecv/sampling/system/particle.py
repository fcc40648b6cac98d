"""A system of one particle on a potential V(x, y): OpenMM's System and a topology of one atom."""

import numpy as np
import openmm
from openmm import app

from aecv.ground.errors import GridError, MolecularSystemError
from aecv.ground.units import thermal_energy
from aecv.molecules.spec import SystemSpec
from aecv.numerics.free_energy.quadrature import boltzmann_plane, cell_centers

N_CHECK = 200
"""Points per axis on which the potential is looked at before a run."""
MOST_OUTSIDE = 1e-4
"""Boltzmann share of the domain's outermost cells; beyond it exact answers would not be exact."""


def particle_system(spec: SystemSpec) -> openmm.System:
    """One particle with the external force of V(x, y) + k z^2/2.

    Raises:
        MolecularSystemError: when OpenMM does not take the potential, or it has no numbers or too much
            Boltzmann weight at the border of the domain.
    """
    particle, potential = spec.settings.particle, spec.potential
    assert particle is not None
    assert potential is not None
    definitions = "".join(f"; {name} = {text}" for name, text in potential.definitions)
    spring = 0.5 * particle.z_stiffness_kj_mol_nm2
    system = openmm.System()
    system.addParticle(particle.mass_da)
    force = openmm.CustomExternalForce(f"({potential.main}) + {spring!r}*z^2{definitions}")
    force.setName("V(x, y) and the spring along z")
    force.addParticle(0, [])
    system.addForce(force)
    try:
        openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    except openmm.OpenMMException as error:
        raise MolecularSystemError(f"particle.potential: OpenMM does not take it: {error}") from error
    _check_domain(spec)
    return system


def particle_topology() -> app.Topology:
    """One atom. It is called argon, since files and selections need an element; its mass is the settings'."""
    topology = app.Topology()
    residue = topology.addResidue("PAR", topology.addChain())
    topology.addAtom("P", app.element.argon, residue)
    return topology


def _check_domain(spec: SystemSpec) -> None:
    """V has numbers on the whole domain, and hardly any weight at its border."""
    particle, potential = spec.settings.particle, spec.potential
    assert particle is not None
    assert potential is not None
    x, y = cell_centers(particle.domain_nm, N_CHECK)
    kt = thermal_energy(spec.settings.dynamics.temperature_k)
    try:
        plane = boltzmann_plane(potential(x=x[:, None], y=y[None]), x, y, kt=kt)
    except GridError as error:
        raise MolecularSystemError(f"particle.potential on particle.domain_nm: {error}") from error
    if plane.edge_share > MOST_OUTSIDE:
        raise MolecularSystemError(
            f"particle.domain_nm: needs to hold all of the Boltzmann weight, but {plane.edge_share:.1e} of "
            f"it lies at the border (at most {MOST_OUTSIDE:g}); widen it, or make particle.potential confine"
        )
    starts = np.array(particle.starts_nm)
    if not np.isfinite(potential(x=starts[:, 0], y=starts[:, 1])).all():
        raise MolecularSystemError("particle.starts_nm: the potential needs to be finite at every start")
