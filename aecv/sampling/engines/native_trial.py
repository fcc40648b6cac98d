"""Whether the native engine works here: a few steps of it, kernels and all."""

import numpy as np

from aecv.ground.errors import SimulationError
from aecv.ground.grid import Grid
from aecv.ground.units import thermal_energy
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators, couple
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform


def try_native(n_steps: int) -> int:
    """Samples that n_steps of extended ABF along x of a particle leave: n_steps.

    With the compiled kernel; the engine verifies its own forces.

    Raises:
        SimulationError: for another number of samples, and whatever the engine raises.
    """
    system = build(load_system("mueller_brown"))
    settings = system.spec.settings
    cv = observable_cv(system.observables, ("x",), ranges={"x": (-2.0, 2.0)})
    extended = couple(
        Grid(lower=(-2.0,), upper=(2.0,), n_bins=(20,)),
        kt=thermal_energy(settings.dynamics.temperature_k),
        sigma=np.array([0.1]),
        tau_ps=settings.eabf.tau_ps,
        friction_per_ps=settings.eabf.friction_per_ps,
        timestep_ps=settings.dynamics.timestep_ps,
        full_samples=100,
    )
    platform, probe = choose_platform(system.system), np.array([[[x, 0.5, 0.0]] for x in (-0.5, 0.0, 0.5)])
    engine = NativeEngine(system, cv, extended, platform=platform, probe=probe)
    state = WalkerState(
        positions=system.positions,
        velocities=np.zeros((1, 3)),
        box=np.zeros((3, 3)),
        lam=cv(system.positions)[0],
        lam_velocity=np.zeros(1),
    )
    job = SegmentJob(
        state=state,
        n_steps=n_steps,
        frame_steps=n_steps // 2,
        seed=SegmentSeed(root=1, stage="trial", walker=0, segment=0),
        accumulators=Accumulators.zeros(extended.grid),
    )
    increment = engine.run(job).increment
    taken = 0 if increment is None else int(increment.n_xi.sum())
    if taken != n_steps:
        raise SimulationError(f"{n_steps} steps left {taken} samples")
    return taken
