"""State files of PLUMED's DRR, read and written as bytes; the example comes from PLUMED 2.10.1's own code.

Two samples at lambda (-0.5, 1.75) with forces kappa (xi - lam) of (-7.5, 2) and (-1.5, 3), one at (1.5, 0.25)
with (4, -1); of xi one at (0.5, 1.25), one off the grid and one at (1.9, 0.1), with the same forces.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import SimulationError
from aecv.ground.grid import Grid
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.sampling.engines.drr_state import UNREACHABLE, DRRArchive, DRRState, starting_samples

EXAMPLE = (Path(__file__).parent / "data" / "plumed_2_10_1.drrstate").read_bytes()
GRID = Grid(lower=(-1.0, 0.0), upper=(2.0, 2.0), n_bins=(3, 4))


def test_a_file_of_plumed_says_what_plumed_put_in() -> None:
    state = DRRArchive(EXAMPLE, GRID).decode(EXAMPLE)
    np.testing.assert_array_equal(state.lam, [1.25, 0.3])
    np.testing.assert_array_equal(state.velocity, [-3.5, 4.5])
    expected = Accumulators.zeros(GRID)
    first, second = GRID.index([[-0.5, 1.75], [1.5, 0.25]])
    expected.n_lam[[first, second]] = 2, 1
    # ours are sums of kappa (lam - xi)
    expected.sum_lam[first], expected.sum_lam[second] = (9.0, -5.0), (-4.0, 1.0)
    first, second = GRID.index([[0.5, 1.25], [1.9, 0.1]])
    expected.n_xi[[first, second]] = 1, 1
    expected.sum_xi[first], expected.sum_xi[second] = (7.5, -2.0), (-4.0, 1.0)
    np.testing.assert_array_equal(state.samples.samples, expected.samples)


def test_what_is_written_is_what_plumed_writes() -> None:
    """All but the velocity at the last full step and the force, which DRR computes anew."""
    archive = DRRArchive(EXAMPLE, GRID)
    zeros = DRRState(lam=np.zeros(2), velocity=np.zeros(2), samples=Accumulators.zeros(GRID))
    from_nothing = DRRArchive(archive.encode(zeros), GRID)
    written = from_nothing.encode(archive.decode(EXAMPLE))
    differing = {index for index, (a, b) in enumerate(zip(written, EXAMPLE, strict=True)) if a != b}
    # the two vectors of two numbers that end 16 bytes before the class information and the name of the grid
    name = EXAMPLE.index(b".abf")
    assert differing
    assert max(differing) < name
    assert min(differing) > name - 2 * (8 + 16) - 40


def test_random_numbers_survive_the_round_trip_in_three_dimensions() -> None:
    grid = Grid(lower=(0.0,) * 3, upper=(1.0,) * 3, n_bins=(2, 3, 5))
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(grid.size, 8))
    samples[:, [0, 4]] = rng.integers(0, 2**45, size=(grid.size, 2))
    state = DRRState(
        lam=rng.uniform(size=3), velocity=rng.normal(size=3), samples=Accumulators(grid=grid, samples=samples)
    )
    archive = DRRArchive(_template(grid), grid)
    read = archive.decode(archive.encode(state))
    np.testing.assert_array_equal(read.lam, state.lam)
    np.testing.assert_array_equal(read.velocity, state.velocity)
    np.testing.assert_array_equal(read.samples.samples, samples)


def _template(grid: Grid) -> bytes:
    """The layout of a state file, with other bytes between the vectors than the example has."""

    def vector(length: int) -> bytes:
        return length.to_bytes(8, "little") + bytes(8 * length)

    def grids(name: bytes) -> bytes:
        axes = b"".join(bytes(16) + n.to_bytes(8, "little") + bytes(17) for n in grid.n_bins)
        return name + bytes(7) + axes + vector(grid.size * grid.n_dims) + vector(grid.size)

    return b"archive" + bytes(9) + 4 * vector(grid.n_dims) + bytes(3) + grids(b".abf") + grids(b".czar")


def test_a_file_of_another_grid_is_refused() -> None:
    other = Grid(lower=(-1.0, 0.0), upper=(2.0, 2.0), n_bins=(3, 5))
    with pytest.raises(SimulationError, match=r"vectors of lengths \[30, 15\] in one place, found 0"):
        DRRArchive(EXAMPLE, other)
    with pytest.raises(SimulationError, match=r"needs a grid .abf before a grid .czar, got 5 bytes"):
        DRRArchive(b"empty", GRID)


def test_a_file_cut_short_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"needs \d+ bytes for this grid, got \d+; the disk"):
        DRRArchive(EXAMPLE, GRID).decode(EXAMPLE[:-1])


def test_a_damaged_file_is_refused() -> None:
    archive = DRRArchive(EXAMPLE, GRID)
    state = archive.decode(EXAMPLE)
    with pytest.raises(SimulationError, match="needs finite numbers, it has others"):
        archive.decode(archive.encode(replace(state, lam=np.array([np.nan, 0.3]))))


def test_starting_samples_give_the_bias_of_ours() -> None:
    """DRR's force on lambda is its ramp times the mean of what it has, and zero beyond the ceiling."""
    total = Accumulators.zeros(GRID)
    rng = np.random.default_rng(1)
    total.n_lam[:] = rng.integers(0, 400, size=GRID.size)
    total.n_lam[3] = 150.4  # a prior may count in parts
    total.sum_lam[:] = total.n_lam[:, None] * rng.normal(size=(GRID.size, 2))
    unbiased = np.zeros(GRID.size, dtype=bool)
    unbiased[5] = True
    counts, sums = starting_samples(total, unbiased)
    np.testing.assert_array_equal(counts, np.rint(counts))
    # the next sample, of 20 kJ/mol/CV, enters before the force is taken
    after, pulled = counts + 1.0, sums + 20.0
    ramp = np.clip(2.0 * after / 200 - 1.0, 0.0, 1.0)
    force = ramp[:, None] * pulled / after[:, None]
    ours = Accumulators.zeros(GRID)
    ours.n_lam[:], ours.sum_lam[:] = total.n_lam + 1.0, total.sum_lam + 20.0
    expected = ours.applied_force(full_samples=200, unbiased=unbiased)
    np.testing.assert_allclose(force[unbiased], 0.0, atol=1e-9)
    assert counts[5] == UNREACHABLE
    whole = np.arange(GRID.size) != 3
    np.testing.assert_allclose(force[whole], expected[whole], atol=1e-9)
    np.testing.assert_allclose(force[3], expected[3], atol=0.2)
