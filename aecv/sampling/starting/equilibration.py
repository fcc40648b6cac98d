"""From minimised structures to walkers at temperature, and in a box at pressure.

Every walker first moves under constant pressure, where the settings ask for it. Then all take the mean
volume, so that they sample one ensemble, and move at constant volume; with barostat.always each keeps its
own.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from openmm import unit

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.seeds import seed_31bit
from aecv.numerics.geometry.spanning_tree import molecules_of
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.dynamics.jobs import WalkerState
from aecv.sampling.dynamics.walkers import Ensemble, Plan, run_rounds
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.starting.pieces import Equilibration, equilibration_parts
from aecv.sampling.system.images import bond_pairs
from aecv.sampling.system.molecular_system import MolecularSystem, make_context
from aecv.sampling.system.platforms import PlatformChoice

logger = logging.getLogger(__name__)

_SETTLED = 0.5
"""Last share of them that counts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Moved:
    """Walkers after a plan of unbiased dynamics.

    Attributes:
        states: one per walker.
        boxes: box vectors at the end of every round, shape (n_rounds, n_walkers, 3, 3) [nm].
    """

    states: tuple[WalkerState, ...]
    boxes: FloatArray


Runner = Callable[[Plan, EngineRecipe, tuple[WalkerState, ...]], Moved]
"""Runs all rounds of a plan from the walkers' states."""


def at_once(plan: Plan, recipe: EngineRecipe, states: tuple[WalkerState, ...]) -> Moved:
    """All rounds in this process, one after the other."""
    engine, boxes = recipe.make(), []
    ensemble = Ensemble(rounds_done=0, states=states, increments=None)
    for round_ in run_rounds(ensemble, plan, lambda jobs: map(engine.run, jobs)):
        ensemble = round_.ensemble
        boxes.append([result.state.box for result in round_.results])
    return Moved(states=ensemble.states, boxes=np.array(boxes))


def equilibrate(
    system: MolecularSystem,
    starts: FloatArray,
    *,
    n_walkers: int,
    platform: PlatformChoice,
    run: Runner = at_once,
) -> tuple[WalkerState, ...]:
    """Walkers after unbiased dynamics at dynamics.temperature_k: barostat.equilibration_ps at
    barostat.pressure_bar, where there is one, then sampling.equilibration_ps.

    Walker w takes start w modulo their number; every walker has velocities and random streams of its own.

    Args:
        starts: minimised positions, shape (n_starts, N, 3) [nm].
        run: runs a plan; it may do so in pieces, and in other processes.

    Raises:
        SimulationError: when the dynamics explode.
    """
    settings = system.spec.settings
    states = _heated(system, starts, n_walkers, platform)
    recipe = EngineRecipe(system=system, platform=platform)
    for part in equilibration_parts(settings):
        at_pressure = part.stage == "pressure"
        moved = run(
            _plan(system, part, n_walkers),
            replace(recipe, constant_pressure=True) if at_pressure else recipe,
            states,
        )
        in_mean_volume = at_pressure and not settings.barostat.always
        states = _in_mean_volume(system, moved) if in_mean_volume else moved.states
    return states


def _heated(
    system: MolecularSystem, starts: FloatArray, n_walkers: int, platform: PlatformChoice
) -> tuple[WalkerState, ...]:
    """Walkers on their starts with velocities of the temperature."""
    settings = system.spec.settings
    root = settings.run.seed
    context, _ = make_context(system, platform=platform, seed=seed_31bit(root, "equilibration"))
    walkers = []
    for walker in range(n_walkers):
        context.setPositions(starts[walker % len(starts)])
        context.setVelocitiesToTemperature(
            settings.dynamics.temperature_k * unit.kelvin, seed_31bit(root, "velocities", walker)
        )
        walkers.append(dynamics.final_state(context, lam=np.empty(0), lam_velocity=np.empty(0)))
    return tuple(walkers)


def _plan(system: MolecularSystem, part: Equilibration, n_walkers: int) -> Plan:
    """Equal rounds of at most a segment each."""
    settings, n_rounds = system.spec.settings, part.n_rounds
    steps = ceil(round(part.length_ps / settings.dynamics.timestep_ps) / n_rounds)
    return Plan(
        root=settings.run.seed,
        stage=part.stage,
        n_walkers=n_walkers,
        frame_steps=steps,
        segment_steps=(steps,) * n_rounds,
        stages=(0,) * n_rounds,
    )


def _in_mean_volume(system: MolecularSystem, moved: Moved) -> tuple[WalkerState, ...]:
    """All walkers in a box of the mean volume of the settled rounds of all of them."""
    settled = moved.boxes[int((1 - _SETTLED) * len(moved.boxes)) :]
    volumes = np.linalg.det(settled)
    mean = float(volumes.mean())
    logger.info(
        "box: %.3f nm^3 at %g bar, the mean of %d walkers over the last %g of %g ps (spread %.3f nm^3)",
        mean,
        system.spec.settings.barostat.pressure_bar,
        settled.shape[1],
        _SETTLED,
        system.spec.settings.barostat.equilibration_ps,
        volumes.std(),
    )
    bonds = np.array(sorted(bond_pairs(system.topology, system.system)), dtype=np.int64)
    molecules = molecules_of(bonds, system.n_atoms)
    return tuple(rescaled(state, mean, molecules) for state in moved.states)


def rescaled(state: WalkerState, volume: float, molecules: IntArray) -> WalkerState:
    """Another volume by scaling the box and the centres of the molecules, as a barostat does it.

    Args:
        volume: [nm^3]
        molecules: number of the molecule that each atom belongs to, shape (N,).
    """
    scale = (volume / np.linalg.det(state.box)) ** (1 / 3)
    sizes = np.bincount(molecules)
    centres = [np.bincount(molecules, weights=column) / sizes for column in state.positions.T]
    shifts = (scale - 1.0) * np.stack(centres, axis=1)
    return replace(state, positions=state.positions + shifts[molecules], box=scale * state.box)
