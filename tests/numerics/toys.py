"""A particle on an analytic potential, driven by the same extended-ABF kernel as the molecules."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from aecv.ground.arrays import FloatArray
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable, couple
from aecv.numerics.kernels import encoder_kernels as kernels

KT = 2.5
"""kJ/mol."""
_FRICTION = 2.0


@njit(cache=True)
def force_1d(x):  # type: ignore[no-untyped-def]
    """V = 10 (x^2 - 1)^2 + 2 x: a double well, barrier 10 = 4 kT, wells 4 = 1.6 kT apart."""
    return np.array([-40.0 * x[0] * (x[0] ** 2 - 1.0) - 2.0])


def potential_1d(x: FloatArray) -> FloatArray:
    return 10.0 * (x**2 - 1.0) ** 2 + 2.0 * x


@njit(cache=True)
def force_2d(x):  # type: ignore[no-untyped-def]
    """V = 6 (x^2 - 1)^2 + 4 (y - x)^2 + 1.5 sin(2 y): coupled, and not symmetric."""
    return np.array(
        [
            -24.0 * x[0] * (x[0] ** 2 - 1.0) + 8.0 * (x[1] - x[0]),
            -8.0 * (x[1] - x[0]) - 3.0 * np.cos(2.0 * x[1]),
        ]
    )


def potential_2d(x: FloatArray, y: FloatArray) -> FloatArray:
    return 6.0 * (x**2 - 1.0) ** 2 + 4.0 * (y - x) ** 2 + 1.5 * np.sin(2.0 * y)


@dataclass(frozen=True)
class ToyRun:
    """What a run gives: accumulators, and x and lambda every `stride` steps, shape (n, d)."""

    accumulators: Accumulators
    x: FloatArray
    lam: FloatArray
    extended: ExtendedVariable


@njit(cache=True)
def _drive(  # type: ignore[no-untyped-def]
    force,
    x,
    n_steps,
    stride,
    constants,
    bins,
    samples,
    unbiased,
    potential,
    lam,
    counters,
    lam_noise,
    noise,
    xs,
    lams,
):
    v = np.zeros_like(x)
    dt = 2.0 * constants[kernels.HALF_DRIFT, 0]
    damping = np.exp(-_FRICTION * dt)
    kick = np.sqrt((1.0 - damping**2) * KT)
    for step in range(n_steps):
        kernels.extended_step(
            x, step, constants, bins, samples, unbiased, potential, lam, counters, lam_noise
        )
        if step % stride == 0:
            xs[step // stride] = x
            lams[step // stride] = lam[kernels.LAM]
        v += dt * (force(x) - constants[kernels.KAPPA] * (x - lam[kernels.LAM]))
        x += 0.5 * dt * v
        v = damping * v + kick * noise[step]
        x += 0.5 * dt * v


def run(  # type: ignore[no-untyped-def]
    force,
    grid: Grid,
    *,
    n_steps: int,
    seed: int,
    full_samples: int = 200,
    potential: FloatArray | None = None,
    timestep: float = 0.02,
) -> ToyRun:
    """Extended ABF of a particle of mass 1 along its own coordinates, from the origin.

    Args:
        potential: bias potential at bin centres for a run with a frozen bias; None for an adaptive one.
    """
    d = grid.n_dims
    extended = couple(
        grid,
        kt=KT,
        sigma=1.5 * grid.widths,
        tau_ps=1.0,
        friction_per_ps=1.0,
        timestep_ps=timestep,
        full_samples=full_samples,
    )
    rng = np.random.default_rng(seed)
    samples = Accumulators.zeros(grid).samples
    lam, counters = np.zeros((kernels.N_LAM_ROWS, d)), np.array([-1, 0, 0, potential is not None])
    stride = 10
    xs, lams = np.empty((n_steps // stride, d)), np.empty((n_steps // stride, d))
    _drive(
        force, np.zeros(d), n_steps, stride, extended.constants, np.array(grid.n_bins), samples,
        np.zeros(grid.size, dtype=bool), np.zeros(grid.size) if potential is None else potential, lam,
        counters, rng.standard_normal((n_steps, d)), rng.standard_normal((n_steps, d)), xs, lams,
    )  # fmt: skip
    return ToyRun(Accumulators(grid=grid, samples=samples), xs, lams, extended)
