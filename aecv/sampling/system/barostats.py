"""Forces of OpenMM that are no forces: they change the box."""

import openmm


def barostats_of(system: openmm.System) -> list[openmm.Force]:
    """The barostats of a System, of any kind that OpenMM has."""
    return [force for force in system.getForces() if "Barostat" in type(force).__name__]
