"""Parts of the extended-ABF kernel in compiled loops of their own, for `kernel_cost.py`.

Each call changes its input a little, so that no compiler can take it out of the loop.
"""

import time

from aecv.ground.grid import FloatArray, IntArray
from aecv.numerics.extended_abf.kernel_memory import KernelMemory, part
from aecv.numerics.extended_abf.step_kernels import MATRICES, PARAMETERS, QUARTIC, REFERENCE, WORK
from aecv.numerics.kernels.compilation import jit
from aecv.numerics.kernels.encoder_kernels import extended_step
from aecv.numerics.kernels.network import backward, forward
from aecv.numerics.kernels.superposition import fit, unfit

NUDGE = 1e-12
"""Added to one number of the input per call [nm]; a million calls later it is still no other frame."""


@jit
def _fits(n, positions, reference, aligned, matrices, quartic, gradient, forces):  # type: ignore[no-untyped-def]
    for _ in range(n):
        positions[0, 0] += NUDGE
        fit(positions, reference, aligned, quartic[8, :3], matrices, quartic)
        unfit(gradient, aligned, reference, matrices, forces)


@jit
def _networks(n, parameters, layers, activations, derivatives):  # type: ignore[no-untyped-def]
    for _ in range(n):
        activations[0] += NUDGE
        out = forward(parameters, layers, activations)
        backward(parameters, layers, activations, out, derivatives)


@jit
def _steps(xi, constants, bins, samples, unbiased, potential, lam, counters, noise):  # type: ignore[no-untyped-def]
    for step in range(noise.shape[0]):
        extended_step(xi, step, constants, bins, samples, unbiased, potential, lam, counters, noise)


def fit_seconds(memory: KernelMemory, n: int) -> float:
    """Of n superpositions of the positions in an encoder's memory, each with its way back to the forces."""
    reference, matrices, quartic, work = (
        _own(memory, index) for index in (REFERENCE, MATRICES, QUARTIC, WORK)
    )
    aligned, gradient = work.reshape(2, -1)
    shaped = reference.reshape(-1, 3), aligned, matrices.reshape(4, 3, 3), quartic.reshape(9, 4)
    began = time.process_time()
    _fits(n, memory.positions, *shaped, gradient, memory.forces)
    return time.process_time() - began


def network_seconds(memory: KernelMemory, layers: IntArray, n: int) -> float:
    """Of n passes forward and backward, from what the last call of the kernel left in an encoder's memory."""
    activations, derivatives = _own(memory, WORK).reshape(2, -1)
    began = time.process_time()
    _networks(n, _own(memory, PARAMETERS), layers, activations, derivatives)
    return time.process_time() - began


def lambda_seconds(memory: KernelMemory, xi: FloatArray, bins: IntArray, noise: FloatArray) -> float:
    """Of as many steps of the extended variable as there are rows of noise, shape (n, d)."""
    began = time.process_time()
    _steps(
        xi, memory.constants, bins, memory.samples, memory.unbiased, memory.potential, memory.lam,
        memory.counters, noise,
    )  # fmt: skip
    return time.process_time() - began


def _own(memory: KernelMemory, index: int) -> FloatArray:
    """One part of an encoder's memory, where the kernel has it: where an array begins changes its speed."""
    view: FloatArray = part(memory.floats, memory.table, index)
    return view
