"""Overdamped particles on a tilted double well under frozen biases, many runs at once."""

import numpy as np
from numba import njit

from aecv.ground.arrays import FloatArray

KT = 2.5
"""kJ/mol."""
_TIMESTEP = 2e-3
"""D dt [nm^2] with D = 1; V'' dt / kT = 0.08 in the wells, whose square is the relative error of the law."""

N_BIASES = 3


def potential(x: FloatArray) -> FloatArray:
    """V = 5 kT (x^2 - 1)^2 + 0.6 kT x [kJ/mol]; Delta F between the wells is 1.2 kT to first order."""
    return KT * (5.0 * (x**2 - 1.0) ** 2 + 0.6 * x)


def bias(x: FloatArray, kind: int) -> FloatArray:
    """U_k [kJ/mol]: minus a wrong idea of V, each wrong in another way."""
    if kind == 0:
        return -KT * (3.6 * (np.exp(-3.0 * x**2)) + 0.9 * x)
    if kind == 1:
        return -KT * (2.4 * np.exp(-4.0 * (x - 0.2) ** 2) - 0.4 * x)
    return -KT * (4.0 * np.exp(-2.0 * x**2) + 1.6 * x)


@njit(cache=True)
def _force(x, kind):  # type: ignore[no-untyped-def]
    """-(V + U)' / kT."""
    f = -20.0 * x * (x * x - 1.0) - 0.6
    if kind == 0:
        return f + 0.9 - 3.6 * 6.0 * x * np.exp(-3.0 * x * x)
    if kind == 1:
        return f - 0.4 - 2.4 * 8.0 * (x - 0.2) * np.exp(-4.0 * (x - 0.2) ** 2)
    return f + 1.6 - 4.0 * 4.0 * x * np.exp(-2.0 * x * x)


@njit(cache=True)
def _drive(seed, kinds, frames, stride, dt):  # type: ignore[no-untyped-def]
    """Leimkuhler-Matthews steps, whose law is right to second order in dt; walkers start left and right."""
    np.random.seed(seed)  # noqa: NPY002 - numba's own generator, apart from NumPy's
    n_runs, n_walkers, n_frames = frames.shape
    half = 0.5 * np.sqrt(2.0 * dt)
    for run in range(n_runs):
        for walker in range(n_walkers):
            x, old = -1.0 + 2.0 * (walker % 2), np.random.standard_normal()  # noqa: NPY002
            for frame in range(n_frames):
                for _ in range(stride):
                    new = np.random.standard_normal()  # noqa: NPY002
                    x += dt * _force(x, kinds[walker]) + half * (old + new)
                    old = new
                frames[run, walker, frame] = x


def simulate(kinds: list[int], n_runs: int, n_frames: int, *, stride: int, seed: int) -> FloatArray:
    """Positions, shape (n_runs, n_walkers, n_frames); walker w is under bias kinds[w]."""
    frames = np.empty((n_runs, len(kinds), n_frames))
    _drive(seed, np.array(kinds), frames, stride, _TIMESTEP)
    return frames
