"""The memory of a kernel of extended ABF: all arrays that it reads and writes, as parts of two.

Each array that Python hands to a compiled function costs some 60 ns. The twenty of extended ABF along an
encoder took as long as its arithmetic, in every MD step. Here they are parts of one array of floats and one
of integers; a kernel cuts them out again for a few ns each, and Python sees them as views.
"""

from collections.abc import Sequence

import numpy as np

from aecv.ground.arrays import FloatArray, IntArray
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels.compilation import jit
from aecv.numerics.kernels.encoder_kernels import N_COUNTERS, N_LAM_ROWS

CONSTANTS, LAM_ROWS, SAMPLES, UNBIASED, POTENTIAL, POSITIONS, FORCES, OWN = range(8)
"""Parts of the floats; from OWN on those of one kind of CV."""
N_OWN = 6
"""At most so many parts of its own."""
COUNTERS = OWN + N_OWN + 1
N_ATOMS = COUNTERS + N_COUNTERS
N_DIMS = N_ATOMS + 1
BINS = N_DIMS + 1
"""Places in the table, which begins with where every part begins and the last one ends; the CV's own integers
come after the bins."""


class KernelMemory:
    """Arrays of extended ABF along one CV; all attributes but the first two are views of these.

    Args:
        extended: coupling and dynamics of lambda.
        n_atoms: atoms of the CV.
        own: what the kind of CV needs besides, at most N_OWN arrays, copied.
        integers: its integers, copied.

    Attributes:
        floats, table: what a kernel is handed.
        constants, lam, samples, unbiased, potential, counters: see `kernels.extended_step`.
        positions, forces: of the CV's atoms, shape (n_atoms, 3) [nm], [kJ/mol/nm].
    """

    def __init__(
        self,
        extended: ExtendedVariable,
        *,
        n_atoms: int,
        own: Sequence[FloatArray] = (),
        integers: Sequence[int] | IntArray = (),
    ) -> None:
        grid, constants = extended.grid, extended.constants
        d, size = grid.n_dims, grid.size
        shapes = [constants.shape, (N_LAM_ROWS, d), (size, 2 + 2 * d), (size,), (size,)]
        shapes += [(n_atoms, 3)] * 2
        sizes = [int(np.prod(shape)) for shape in shapes] + [array.size for array in own]
        ends = np.cumsum([0, *sizes, *[0] * (N_OWN - len(own))])
        self.floats: FloatArray = np.zeros(ends[-1])
        self.table: IntArray = np.array([*ends, *[0] * N_COUNTERS, n_atoms, d, *grid.n_bins, *integers])
        parts = [self.floats[ends[k] : ends[k + 1]] for k in range(OWN + len(own))]
        views = [flat.reshape(shape) for flat, shape in zip(parts, shapes, strict=False)]
        self.constants, self.lam, self.samples, self.unbiased, self.potential = views[:POSITIONS]
        self.positions, self.forces = views[POSITIONS:]
        self.counters = self.table[COUNTERS:N_ATOMS]
        self.constants[...] = constants
        for flat, array in zip(parts[OWN:], own, strict=True):
            flat[...] = np.ravel(array)


@jit
def part(floats, table, index):  # type: ignore[no-untyped-def]
    """One part of the floats, flat."""
    return floats[table[index] : table[index + 1]]
