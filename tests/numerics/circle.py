"""A particle on a circle under extended ABF, and what quadrature says of it."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from aecv.ground.arrays import FloatArray
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable, couple
from aecv.numerics.kernels import encoder_kernels as kernels

KT = 2.5
"""kJ/mol."""
TURN = 2.0 * np.pi
GRID = Grid(lower=(-np.pi,), upper=(np.pi,), n_bins=(60,), periodic=(True,))
FINE = np.linspace(-np.pi, np.pi, 4000, endpoint=False)


def potential(x: FloatArray) -> FloatArray:
    """V = 5 cos(x + 0.4) + 6 sin(2 x) [kJ/mol]: two wells, the seam on a slope."""
    return np.asarray(5.0 * np.cos(x + 0.4) + 6.0 * np.sin(2.0 * x))


@njit
def _drive(  # type: ignore[no-untyped-def]
    n_steps, stride, constants, bins, samples, unbiased, bias, lam, counters, lam_noise, noise, xs, lams
):
    """Langevin dynamics of a particle of mass 1 whose coordinate is never wrapped.

    Compiled anew in every session: numba's cache would not notice a change of the kernels.
    """
    x, v = np.zeros(1), 0.0
    dt = 2.0 * constants[kernels.HALF_DRIFT, 0]
    damping = np.exp(-2.0 * dt)
    kick = np.sqrt((1.0 - damping**2) * KT)
    for step in range(n_steps):
        kernels.extended_step(x, step, constants, bins, samples, unbiased, bias, lam, counters, lam_noise)
        if step % stride == 0:
            xs[step // stride] = x[0]
            lams[step // stride] = lam[kernels.LAM, 0]
        stretch = kernels.nearest_image(x[0] - lam[kernels.LAM, 0], constants[kernels.PERIOD, 0])
        force = 5.0 * np.sin(x[0] + 0.4) - 12.0 * np.cos(2.0 * x[0])
        v += dt * (force - constants[kernels.KAPPA, 0] * stretch)
        x[0] += 0.5 * dt * v
        v = damping * v + kick * noise[step]
        x[0] += 0.5 * dt * v


@dataclass(frozen=True)
class Run:
    """Accumulators, and x (not wrapped) and lambda every 10 steps, shape (n,)."""

    accumulators: Accumulators
    x: FloatArray
    lam: FloatArray
    extended: ExtendedVariable


def extended_variable(timestep: float) -> ExtendedVariable:
    return couple(
        GRID,
        kt=KT,
        sigma=1.5 * GRID.widths,
        tau_ps=1.0,
        friction_per_ps=1.0,
        timestep_ps=timestep,
        full_samples=200,
    )


def run(*, n_steps: int, seed: int, bias: FloatArray | None = None, timestep: float = 0.02) -> Run:
    """Extended ABF on the circle; with `bias` at bin centres [kJ/mol] under that frozen bias."""
    extended = extended_variable(timestep)
    rng = np.random.default_rng(seed)
    samples = Accumulators.zeros(GRID).samples
    lam, counters = np.zeros((kernels.N_LAM_ROWS, 1)), np.array([-1, 0, 0, bias is not None])
    xs, lams = np.empty(n_steps // 10), np.empty(n_steps // 10)
    _drive(
        n_steps, 10, extended.constants, np.array(GRID.n_bins), samples, np.zeros(GRID.size, dtype=bool),
        np.zeros(GRID.size) if bias is None else bias, lam, counters,
        rng.standard_normal((n_steps, 1)), rng.standard_normal(n_steps), xs, lams,
    )  # fmt: skip
    assert counters[kernels.OFF_GRID] == 0  # a circle has no outside
    return Run(Accumulators(grid=GRID, samples=samples), xs, lams, extended)


def shortest(difference: FloatArray) -> FloatArray:
    return np.asarray(difference - TURN * np.round(difference / TURN))


def f_kappa_at(lam: FloatArray, kappa: float) -> FloatArray:
    """-kT ln int dx exp(-[V(x) + kappa/2 |x - lam|^2]/kT) by quadrature, up to a constant."""
    spring = 0.5 * kappa * shortest(np.subtract.outer(lam, FINE)) ** 2
    return np.asarray(-KT * np.log(np.exp(-(potential(FINE) + spring) / KT).sum(axis=1)))


def f_kappa(lam: FloatArray, kappa: float) -> FloatArray:
    """The same, minimum 0."""
    values = f_kappa_at(lam, kappa)
    return np.asarray(values - values.min())
