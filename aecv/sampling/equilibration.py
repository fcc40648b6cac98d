"""From minimised structures to walkers at temperature."""

import numpy as np
from openmm import unit

from aecv.ground.grid import FloatArray
from aecv.ground.seeds import seed_31bit
from aecv.sampling import dynamics
from aecv.sampling.dynamics import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.recipe import EngineRecipe
from aecv.sampling.system import MolecularSystem, PlatformChoice, make_context


def equilibrate(
    system: MolecularSystem, starts: FloatArray, *, n_walkers: int, platform: PlatformChoice
) -> tuple[WalkerState, ...]:
    """Walkers after unbiased dynamics of sampling.equilibration_ps at dynamics.temperature_k.

    Walker w takes start w modulo their number; every walker has velocities and random streams of its own.

    Args:
        starts: minimised positions, shape (n_starts, N, 3) [nm].

    Raises:
        SimulationError: when the dynamics explode.
    """
    settings = system.spec.settings
    root = settings.run.seed
    n_steps = round(settings.sampling.equilibration_ps / settings.dynamics.timestep_ps)
    context, _ = make_context(system, platform=platform, seed=seed_31bit(root, "equilibration"))
    engine = EngineRecipe(system=system, platform=platform).make()
    walkers = []
    for walker in range(n_walkers):
        context.setPositions(starts[walker % len(starts)])
        context.setVelocitiesToTemperature(
            settings.dynamics.temperature_k * unit.kelvin, seed_31bit(root, "velocities", walker)
        )
        state = dynamics.final_state(context, lam=np.empty(0), lam_velocity=np.empty(0))
        if n_steps:
            seed = SegmentSeed(root=root, stage="equilibration", walker=walker, segment=0)
            state = engine.run(SegmentJob(state=state, n_steps=n_steps, frame_steps=n_steps, seed=seed)).state
        walkers.append(state)
    return tuple(walkers)
