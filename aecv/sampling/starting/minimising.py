"""Local minima of the potential energy, one after the other or side by side on workers."""

from dataclasses import dataclass, field
from uuid import uuid4

import numpy as np
import openmm
from openmm import unit

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SimulationError
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice

FORCE_TOLERANCE = 1.0
"""Root-mean-square force at which a minimisation ends [kJ/mol/nm]."""

SOLVENT_TOLERANCE = 10.0
"""The same in a box of water, OpenMM's own: the water's minimum is of no interest, and takes minutes."""

MAX_ITERATIONS = 10_000
"""Where a minimisation ends at the latest."""

MAX_RESTARTS = 10
"""How often a minimisation that stopped early is begun again."""

EXPLODED_NM = 1e4
"""A coordinate beyond this is no longer a simulation [nm]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MinimiserRecipe:
    """How to make a minimiser; can be pickled, where `system` becomes its spec and is built anew.

    Attributes:
        system: what is minimised.
        platform: where; the device may be another one in another process.
        key: tells recipes apart, so that a process makes each minimiser once.
    """

    system: MolecularSystem
    platform: PlatformChoice | str | None
    key: str = field(init=False, default_factory=lambda: uuid4().hex)

    def make(self, device: str | None = None) -> "Minimiser":
        """The minimiser, with a context of its own.

        Args:
            device: index of a GPU; None for OpenMM's choice.
        """
        platform = self.platform
        if device is not None and isinstance(platform, PlatformChoice):
            platform = platform.on_device(device)
        return Minimiser(self.system, platform)


class Minimiser:
    """Finds minima of a system; what it did before does not matter to the next one."""

    def __init__(self, system: MolecularSystem, platform: PlatformChoice | str | None) -> None:
        # a minimisation draws no random numbers
        self._context, _ = make_context(system, platform=platform, seed=1, constant_pressure=False)
        self._tolerance = tolerance_for(system)

    def run(self, job: FloatArray) -> tuple[FloatArray, float]:
        """Positions [nm], shape (N, 3), and potential energy [kJ/mol] of the minimum next to some positions.

        Raises:
            SimulationError: as `minimise`.
        """
        return minimise(self._context, job, tolerance=self._tolerance)


def tolerance_for(molecular_system: MolecularSystem) -> float:
    """Root-mean-square force at which its minimisations end [kJ/mol/nm]."""
    return SOLVENT_TOLERANCE if molecular_system.is_solvated else FORCE_TOLERANCE


def minimise(
    context: openmm.Context, positions: FloatArray, *, tolerance: float = FORCE_TOLERANCE
) -> tuple[FloatArray, float]:
    """The next local minimum of the potential energy, by L-BFGS.

    OpenMM ends without a word where a line search fails (on a surface with thin wells once in 100 starts):
    as long as the forces are too large, short steps downhill lead away from there, and it begins again.

    Args:
        context: its positions and velocities change.
        positions: start [nm], shape (N, 3).
        tolerance: root-mean-square force to reach [kJ/mol/nm].

    Returns:
        Positions [nm], shape (N, 3), and potential energy [kJ/mol].

    Raises:
        SimulationError: when a coordinate or the energy is not finite before or afterwards.
    """
    context.setPositions(positions)
    checked_state(context, doing="structure to minimise")  # OpenMM's L-BFGS never returns from NaN
    for _ in range(MAX_RESTARTS):
        try:
            openmm.LocalEnergyMinimizer.minimize(context, tolerance, MAX_ITERATIONS)
        except openmm.OpenMMException as error:
            raise SimulationError(
                f"minimisation failed ({error}); check the structure and its force field"
            ) from error
        minimum, energy = checked_state(context, doing="minimisation")
        is_flat = np.sqrt(np.mean(_forces(context) ** 2)) <= 2.0 * tolerance
        # bonds of fixed length carry forces at a minimum too, so that nothing can be told from them
        if is_flat or context.getSystem().getNumConstraints() or not _descend(context, energy):
            break
    return minimum, energy


def _descend(context: openmm.Context, energy: float, *, n_steps: int = 50, step: float = 0.001) -> bool:
    """Short steps along the forces that lower the energy, the first one `step` [nm]; whether any did."""
    positions, _ = checked_state(context, doing="minimisation")
    start = energy
    for _ in range(n_steps):
        forces = _forces(context)
        context.setPositions(positions + step * forces / np.abs(forces).max())
        moved, lower = checked_state(context, doing="minimisation")
        if lower < energy:
            positions, energy, step = moved, lower, 1.2 * step
        else:
            step *= 0.25
            context.setPositions(positions)
    return energy < start


def _forces(context: openmm.Context) -> FloatArray:
    """Forces [kJ/mol/nm], shape (N, 3)."""
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    return np.asarray(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer), dtype=float)


def checked_state(context: openmm.Context, *, doing: str) -> tuple[FloatArray, float]:
    """Positions [nm], shape (N, 3), and potential energy [kJ/mol] of a context that has not exploded.

    Raises:
        SimulationError: when a coordinate or the energy is not finite, or an atom is beyond 10 um.
    """
    state = context.getState(getPositions=True, getEnergy=True)
    positions = np.array(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer), dtype=float)
    energy = float(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
    if not (np.isfinite(energy) and np.all(np.abs(positions) < EXPLODED_NM)):
        n_bad = int(np.count_nonzero(~(np.abs(positions) < EXPLODED_NM).all(axis=1)))
        raise SimulationError(
            f"{doing}: needs finite energy and positions, got {energy} kJ/mol and {n_bad} lost atoms; "
            "check the structure, or lower dynamics.timestep_ps or the temperature"
        )
    return positions, energy
