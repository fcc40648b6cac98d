"""Kernels on their memory do what they do on arrays handed over one by one."""

from itertools import pairwise

import numpy as np
import pytest

from aecv.ground.grid import Grid
from aecv.numerics.extended_abf import kernel_memory as m
from aecv.numerics.extended_abf import step_kernels
from aecv.numerics.extended_abf.abf import ExtendedVariable, couple
from aecv.numerics.extended_abf.kernel_memory import KernelMemory
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder, encode
from aecv.numerics.kernels.internal import InternalCoordinates, internal_values
from aecv.numerics.kernels.internal_kernels import extended_internal_force
from aecv.numerics.kernels.network import IDENTITY, SOFTPLUS, TANH

N_ATOMS, N_STEPS = 6, 25
SAME = 1e-10
"""Two compilations may order sums differently; 25 steps enlarge that little."""


def extended(d: int) -> ExtendedVariable:
    grid = Grid(lower=(-4.0,) * d, upper=(4.0,) * d, n_bins=tuple(range(5, 5 + d)))
    return couple(
        grid,
        kt=2.5,
        sigma=grid.widths,
        tau_ps=0.2,
        friction_per_ps=8.0,
        timestep_ps=0.001,
        full_samples=4,
    )


def begin(memory: KernelMemory, xi: np.ndarray, *, frozen: bool, rng: np.random.Generator) -> np.ndarray:
    """Lambda near xi, some samples, a mask and a potential; returns the noise."""
    memory.lam[:2] = xi + 0.1
    memory.samples[:] = rng.uniform(0.0, 5.0, memory.samples.shape)
    memory.unbiased[::3] = 1.0
    memory.potential[:] = rng.normal(size=memory.potential.shape)
    memory.counters[kernels.LAST_STEP] = -1
    memory.counters[kernels.FROZEN] = frozen
    noise: np.ndarray = rng.normal(size=(N_STEPS, len(xi)))
    return noise


def apart(memory: KernelMemory) -> list[np.ndarray]:
    """Copies of what `kernels.extended_step` takes."""
    bins = memory.table[m.BINS : m.BINS + memory.table[m.N_DIMS]]
    arrays = (memory.constants, bins, memory.samples, memory.unbiased, memory.potential)
    return [array.copy() for array in (*arrays, memory.lam, memory.counters)]


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("is_aligned", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_encoders(d: int, is_aligned: bool, frozen: bool) -> None:
    rng = np.random.default_rng(d)
    frames = rng.normal(size=(N_STEPS, N_ATOMS, 3))
    sizes = (3 * N_ATOMS, 11, 9, d)  # one layer of either kind of product
    encoder = Encoder(
        reference=frames[0] if is_aligned else NO_REFERENCE,
        weights=tuple(rng.normal(size=(o, i)) / np.sqrt(i) for i, o in pairwise(sizes)),
        biases=tuple(rng.normal(size=o) for o in sizes[1:]),
        activations=(TANH, SOFTPLUS, IDENTITY),
    )
    variable = extended(d)
    memory = step_kernels.encoder_memory(encoder, variable)
    noise = begin(memory, encode(encoder, frames[:1])[0], frozen=frozen, rng=rng)
    definition = (encoder.reference, encoder.parameters, encoder.layers)
    arrays, forces = apart(memory), np.zeros((N_ATOMS, 3))
    scratch = (np.zeros((2, sum(sizes))), np.zeros((4, 3, 3)), np.zeros((9, 4)))
    for step, frame in enumerate(frames):
        memory.positions[:] = frame
        energy = step_kernels.encoder_step(step, memory.floats, memory.table, noise)
        expected = kernels.extended_abf_force(frame, step, *definition, *arrays, noise, *scratch, forces)
        assert energy == pytest.approx(expected, rel=SAME)
        assert energy > 0
        np.testing.assert_allclose(memory.forces, forces, rtol=0, atol=SAME * np.abs(forces).max())
    for own, array in zip(apart(memory), arrays, strict=True):
        np.testing.assert_allclose(own, array, rtol=SAME)
    assert memory.counters[kernels.LAST_STEP] == N_STEPS - 1
    memory.positions[:] = np.nan
    before = memory.lam.copy()
    assert np.isnan(step_kernels.encoder_step(N_STEPS, memory.floats, memory.table, noise))
    np.testing.assert_array_equal(memory.lam, before)


def test_internal_coordinates() -> None:
    rng = np.random.default_rng(0)
    frames = rng.normal(size=(N_STEPS, N_ATOMS, 3))
    internal = InternalCoordinates(
        kinds=("dihedral", "distance"), atoms=((0, 1, 2, 3), (2, 5)), axes=(None, None), n_atoms=N_ATOMS
    )
    memory = step_kernels.internal_memory(internal, extended(2))
    noise = begin(memory, internal_values(internal, frames[:1])[0], frozen=False, rng=rng)
    arrays, forces = apart(memory), np.zeros((N_ATOMS, 3))
    scratch = (np.zeros(2), np.zeros((2, 4, 3)), np.zeros((9, 3)))
    for step, frame in enumerate(frames):
        memory.positions[:] = frame
        energy = step_kernels.internal_step(step, memory.floats, memory.table, noise)
        expected = extended_internal_force(
            frame, step, internal.codes, internal.table, *arrays, noise, *scratch, forces
        )
        assert energy == pytest.approx(expected, rel=SAME)
        assert energy > 0
        np.testing.assert_allclose(memory.forces, forces, rtol=0, atol=SAME * np.abs(forces).max())
    for own, array in zip(apart(memory), arrays, strict=True):
        np.testing.assert_allclose(own, array, rtol=SAME)


def test_parts_do_not_overlap() -> None:
    """Every number of the floats belongs to one part: filled part by part, all are filled and none twice."""
    own = (np.full(7, 6.0), np.full((2, 3), 7.0))
    memory = KernelMemory(extended(2), n_atoms=4, own=own, integers=[3, 1, 4])
    parts = (memory.lam, memory.samples, memory.unbiased, memory.potential, memory.positions, memory.forces)
    for value, part in enumerate(parts):
        part[...] = value
    assert [np.unique(part).tolist() for part in parts] == [[float(value)] for value in range(6)]
    np.testing.assert_array_equal(memory.constants, extended(2).constants)
    assert m.part(memory.floats, memory.table, m.OWN).tolist() == [6.0] * 7
    assert m.part(memory.floats, memory.table, m.OWN + 1).tolist() == [7.0] * 6
    assert len(memory.floats) == sum(part.size for part in parts) + memory.constants.size + 13
    assert memory.table[m.N_ATOMS] == 4
    assert memory.table[m.BINS :].tolist() == [5, 6, 3, 1, 4]
