"""What OpenMM's callback calls in every MD step: kernels of extended ABF on a `KernelMemory`.

The arithmetic is in `kernels` and `internal_kernels`; here their arguments are cut out of the memory.
"""

import numpy as np

from aecv.numerics.extended_abf import kernel_memory as m
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.extended_abf.kernel_memory import KernelMemory, part
from aecv.numerics.kernels.compilation import jit
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.encoder_kernels import N_CONSTANTS, N_LAM_ROWS, extended_abf_force
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.numerics.kernels.internal_kernels import extended_internal_force

REFERENCE, PARAMETERS, WORK, MATRICES, QUARTIC = range(m.OWN, m.OWN + 5)
XI, GRADIENT, SCRATCH = range(m.OWN, m.OWN + 3)


def encoder_memory(encoder: Encoder, extended: ExtendedVariable) -> KernelMemory:
    """Memory of `encoder_step`."""
    work = np.zeros((2, encoder.layers[:, 0].sum()))
    own = (encoder.reference, encoder.parameters, work, np.zeros((4, 3, 3)), np.zeros((9, 4)))
    return KernelMemory(extended, n_atoms=encoder.n_atoms, own=own, integers=encoder.layers.ravel())


def internal_memory(internal: InternalCoordinates, extended: ExtendedVariable) -> KernelMemory:
    """Memory of `internal_step`."""
    d = extended.grid.n_dims
    own = (np.zeros(d), np.zeros((d, 4, 3)), np.zeros((9, 3)))
    integers = np.concatenate([internal.codes, internal.table.ravel()])
    return KernelMemory(extended, n_atoms=internal.n_atoms, own=own, integers=integers)


@jit
def _extended_parts(floats, table):  # type: ignore[no-untyped-def]
    """What `kernels.extended_step` takes between xi and the noise."""
    d = table[m.N_DIMS]
    return (
        part(floats, table, m.CONSTANTS).reshape((N_CONSTANTS, d)),
        table[m.BINS : m.BINS + d],
        part(floats, table, m.SAMPLES).reshape((-1, 2 + 2 * d)),
        part(floats, table, m.UNBIASED),
        part(floats, table, m.POTENTIAL),
        part(floats, table, m.LAM_ROWS).reshape((N_LAM_ROWS, d)),
        table[m.COUNTERS : m.N_ATOMS],
    )


@jit
def encoder_step(step, floats, table, noise):  # type: ignore[no-untyped-def]
    """`kernels.extended_abf_force` on the memory of `encoder_memory`; positions in, forces out.

    Args:
        step: MD step of this evaluation.
        floats, table: of the memory.
        noise: as in `kernels.extended_step`.

    Returns:
        The spring energy [kJ/mol]; NaN where the fit is not unique or a number is not finite.
    """
    d = table[m.N_DIMS]
    constants, bins, samples, unbiased, potential, lam, counters = _extended_parts(floats, table)
    reference = part(floats, table, REFERENCE)
    return extended_abf_force(
        part(floats, table, m.POSITIONS).reshape((-1, 3)),
        step,
        reference.reshape((reference.shape[0] // 3, 3)),
        part(floats, table, PARAMETERS),
        table[m.BINS + d :].reshape((-1, 2)),
        constants,
        bins,
        samples,
        unbiased,
        potential,
        lam,
        counters,
        noise,
        part(floats, table, WORK).reshape((2, -1)),
        part(floats, table, MATRICES).reshape((4, 3, 3)),
        part(floats, table, QUARTIC).reshape((9, 4)),
        part(floats, table, m.FORCES).reshape((-1, 3)),
    )


@jit
def internal_step(step, floats, table, noise):  # type: ignore[no-untyped-def]
    """`internal_kernels.extended_internal_force` on the memory of `internal_memory`; as `encoder_step`."""
    d = table[m.N_DIMS]
    kinds = m.BINS + d
    constants, bins, samples, unbiased, potential, lam, counters = _extended_parts(floats, table)
    return extended_internal_force(
        part(floats, table, m.POSITIONS).reshape((-1, 3)),
        step,
        table[kinds : kinds + d],
        table[kinds + d :].reshape((d, 4)),
        constants,
        bins,
        samples,
        unbiased,
        potential,
        lam,
        counters,
        noise,
        part(floats, table, XI),
        part(floats, table, GRADIENT).reshape((d, 4, 3)),
        part(floats, table, SCRATCH).reshape((9, 3)),
        part(floats, table, m.FORCES).reshape((-1, 3)),
    )
