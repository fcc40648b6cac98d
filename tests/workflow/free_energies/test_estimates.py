"""Passages, free energies in time, and what an iteration's pool gives altogether."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from aecv.ground.grid import Grid
from aecv.ground.regions import ends_of_region, in_region
from aecv.ground.settings import DeltaFSettings, PoolSettings, Settings
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators, couple
from aecv.results.formats.colvar import read_colvar
from aecv.workflow.free_energies.estimates import estimate, inside_region, passages
from aecv.workflow.free_energies.time_course import write_convergence
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.segments import History
from aecv.workflow.weights.pool import BiasedSample, mbar_pool
from tests.numerics.toys import KT
from tests.workflow.hand import samples_of_walkers, system_with
from tests.workflow.weights.test_pool import P_RIGHT, biased, flattening

WAY = [[0, -1, 1, -1, 1, 0, 1, 1], [1, 1, -1, -1, 1, 1, 1, 0]]
"""Milestones: walker 0 goes 0, 1, 0, 1, walker 1 goes 1, 0."""
X = np.array([[-1, 0.1, 1, -0.1, 1, -1, 1, 1], [1, 1, -0.1, 0.1, 1, 1, 1, -1]])
"""The same way by its side of x = 0: with a recrossing in each walker."""
INSIDE = np.array([False, True])


def test_passages_are_counted_between_basins_where_these_lie_on_both_sides() -> None:
    samples = samples_of_walkers(WAY, x=X)
    assert passages(samples, INSIDE, X.ravel() > 0) == (2, 2)
    assert passages(samples, ~INSIDE, X.ravel() < 0) == (2, 2)


@pytest.mark.parametrize("basins", [None, np.array([True, True]), np.array([False, False])])
def test_passages_are_changes_of_side_where_no_basin_tells(basins: np.ndarray | None) -> None:
    """Walker 0 is in at frames 1-2, 4, 6-7, walker 1 at 0-1, 3-6; from walker to walker is no passage."""
    assert passages(samples_of_walkers(WAY, x=X), basins, X.ravel() > 0) == (4, 4)


def test_passages_up_to_a_time() -> None:
    """In, out, in of walker 0 at frames 3, 6 and 7 of 8, out of walker 1 at 8."""
    samples = samples_of_walkers(WAY, x=X)
    found = [passages(samples, INSIDE, X.ravel() > 0, until=k / 8) for k in (2, 3, 5, 6, 7, 8)]
    assert found == [(0, 0), (1, 0), (1, 0), (1, 1), (2, 1), (2, 2)]
    assert passages(samples, None, X.ravel() > 0, until=3 / 8) == (1, 1)


def test_the_region_is_open_and_may_be_absent() -> None:
    x = np.array([-0.1, 0.0, 0.1, 1.5, 1.6])
    np.testing.assert_array_equal(inside_region({"x": x}, system_with()), (x > 0.0) & (x < 1.6))
    absent: Any = SimpleNamespace(spec=SimpleNamespace(settings=SimpleNamespace(delta_f=None)))
    assert inside_region({"x": x}, absent) is None


def test_a_region_of_a_dihedral_may_lie_across_the_seam() -> None:
    """5 < phi < 7 is -1.283 < phi < 0.717; inside -pi..pi the comparison is the plain one, bit by bit."""
    phi, turn = np.append(np.linspace(-np.pi, np.pi, 1001), np.nextafter(0.1, 1)), 2 * np.pi

    def with_region(lower: float, upper: float) -> Settings:
        region = DeltaFSettings(observable="phi", lower=lower, upper=upper)
        return load_system("ala2").settings.model_copy(update={"delta_f": region})

    for ends, inside in (
        ((5, 7), (phi > 5 - turn) & (phi < 7 - turn)),
        ((2.5, 4), (phi > 2.5) | (phi < 4 - turn)),
        ((-4, -2.5), (phi > turn - 4) | (phi < -2.5)),
        ((0.1, 2.2), (phi > 0.1) & (phi < 2.2)),
    ):
        np.testing.assert_array_equal(in_region({"phi": phi}, with_region(*ends)), inside)
    assert ends_of_region(with_region(5, 7)) == pytest.approx((5 - turn, 7 - turn))
    assert ends_of_region(with_region(0.1, 2.2)) == (0.1, 2.2)


def test_pool_and_iteration_alone_have_the_exact_delta_f_within_their_errors() -> None:
    """Independent draws from three biases: errors of a few hundredths of kT, the pool's not the larger."""
    forces = (flattening(0.9, 6.0), flattening(0.5), flattening(1.0))
    runs = [biased(index, force, 6000, index) for index, force in enumerate(forces, 1)]
    temperature = f"dynamics.temperature_k={KT / 0.00831446261815324}"
    system = system_with(overrides=(temperature, "delta_f.upper=10.0"))
    pool = mbar_pool(runs, PoolSettings())
    found = estimate(pool, runs, None, system, place=3, n_replicates=60)
    truth, errors = -KT * np.log(P_RIGHT / (1 - P_RIGHT)), []
    for one in (found.pooled, found.alone):
        delta = one.delta_f()
        assert delta is not None
        assert 0.01 < delta.standard_error / KT < 0.1
        assert abs(delta.estimate - truth) < 4 * delta.standard_error
        errors.append(float(delta.standard_error))
    assert errors[0] < 1.2 * errors[1]
    assert len(found.alone.weights) == len(pool.last_frames)
    again = estimate(pool, runs, None, system, place=3, n_replicates=60)
    np.testing.assert_array_equal(again.pooled.replicates.replicates, found.pooled.replicates.replicates)


def test_the_pool_adds_up_the_passages_of_its_iterations() -> None:
    """Runs that sit on one side but for one visit each."""
    runs = []
    for index in (1, 2):
        item = biased(index, flattening(0.5), 1000, index)
        x = np.full(item.samples.n_frames, -1.0)
        x[len(x) // 4] = 1.0
        runs.append(replace(item, samples=Samples(item.samples.arrays | {"observable_x": x})))
    pool = mbar_pool(runs, PoolSettings())
    found = estimate(pool, runs, None, system_with(), place="production_02", n_replicates=20)
    assert found.pooled.passages == (2, 2)
    assert found.alone.passages == (1, 1)


GRID = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(20,))
EXTENDED = couple(
    GRID, kt=KT, sigma=GRID.widths, tau_ps=1.0, friction_per_ps=1.0, timestep_ps=0.02, full_samples=1
)
SHARE = np.arange(1, 11) / 10


def accumulated(slope: float, n: float) -> Accumulators:
    """n samples per bin of a constant mean force: F = slope lambda."""
    counts = np.full(20, n)
    return Accumulators(grid=GRID, samples=np.column_stack([counts, slope * counts, np.zeros((20, 2))]))


@pytest.fixture(scope="module")
def in_time(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """convergence.dat of two walkers: 0 enters the region at the half, 1 leaves it at three quarters."""
    x = np.repeat([[-1.0, 1.0], [1.0, 1.0]], 100, axis=1)
    x[1, 150:] = -1.0
    samples = samples_of_walkers(x > 0, x=x)
    prior, early, final = accumulated(9.0, 50.0), accumulated(5.0, 30.0), accumulated(2.0, 100.0)
    snapshots = np.array([(prior + early).samples, (prior + final).samples])
    bias: Any = SimpleNamespace(
        grid=GRID,
        extended=EXTENDED,
        prior=prior,
        total=final,
        history=History(shares=np.array([0.35, 1.0]), samples=snapshots),
        begin=lambda discard: 0.2,
    )
    frames = np.flatnonzero(samples.progress > 0.2)
    return written(tmp_path_factory, samples, bias, frames, np.zeros((1, len(frames))), [len(frames)])


def written(
    factory: pytest.TempPathFactory,
    samples: Samples,
    bias: Any,
    frames: np.ndarray,
    energies: np.ndarray,
    n_per_state: list[int],
) -> dict[str, np.ndarray]:
    """convergence.dat of frames under biases of these energies."""
    sample = BiasedSample(energies=energies, n_per_state=np.array(n_per_state))
    pool: Any = SimpleNamespace(last_frames=frames, last_sample=sample)
    estimates: Any = SimpleNamespace(basins_inside=INSIDE)
    path = factory.mktemp("time") / "convergence.dat"
    write_convergence(path, samples, pool, bias, estimates, system_with())
    return read_colvar(path)


def test_delta_f_in_time_counts_the_frames_up_to_then(in_time: dict[str, np.ndarray]) -> None:
    """From 0.2 to the half one walker is inside, then both for a quarter, then one again."""
    np.testing.assert_allclose(in_time["time"], 200.0 * SHARE)
    inside = (SHARE - 0.2).clip(0) + (SHARE - 0.5).clip(0, 0.25)
    outside = 2 * (SHARE - 0.2) - inside
    known = SHARE > 0.39  # 50 frames at least
    expected = -KT * np.log(inside[known] / outside[known])
    np.testing.assert_allclose(in_time["delta_f"][known], expected, atol=1e-5)
    assert np.isnan(in_time["delta_f"][~known]).all()


def test_intervals_in_time_are_infinite_until_there_were_passages_both_ways(
    in_time: dict[str, np.ndarray],
) -> None:
    """The entry at 0.5 alone says nothing; one stay on each side leaves at least kT ln(0.975/0.025)."""
    finite = np.isfinite(in_time["delta_f_lower"])
    np.testing.assert_array_equal(finite, SHARE > 0.751)
    half = 0.5 * (in_time["delta_f_upper"] - in_time["delta_f_lower"])[finite]
    assert np.all(half > 0.9999 * KT * np.log(39.0))


def test_delta_f_in_time_knows_only_the_biases_that_had_begun(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Target N(0, 1); first half drawn from N(0.5, 1), second from N(1.5, 1), bias energies -kT s x.

    With the weights of the whole run the first half alone would be off by some 0.6 kT.
    """
    n, shifts = 4000, (0.5, 1.5)
    rng = np.random.default_rng(4)
    x = np.concatenate([rng.normal(shift, 1.0, (2, n // 2)) for shift in shifts], axis=1)
    samples = samples_of_walkers(x > 0.0, x=x)
    total = accumulated(2.0, 100.0)
    bias: Any = SimpleNamespace(
        grid=GRID,
        extended=EXTENDED,
        prior=Accumulators.zeros(GRID),
        total=total,
        history=History(shares=np.array([1.0]), samples=total.samples[None]),
        begin=lambda discard: 0.0,
    )
    early = samples.progress <= 0.5
    frames = np.concatenate([np.flatnonzero(early), np.flatnonzero(~early)])
    values = samples.observables["x"][frames]
    energies = -KT * np.outer(shifts, values)
    table = written(tmp_path_factory, samples, bias, frames, energies, [n, n])
    error = (table["delta_f_upper"] - table["delta_f_lower"]) / (2 * 1.96)
    assert np.all(error < 0.15 * KT)
    region = system_with().spec.settings.delta_f
    p = norm.cdf(region.upper) - norm.cdf(region.lower)
    assert np.all(np.abs(table["delta_f"] + KT * np.log(p / (1 - p))) < 4 * error)


def test_change_of_f_along_the_cv_is_that_of_the_slopes_without_the_prior(
    in_time: dict[str, np.ndarray],
) -> None:
    """F = 5 lambda, in the end 2 lambda: 3 times the spread of 20 even bin centres, all below 10 kT."""
    assert np.isnan(in_time["xi_change"][SHARE < 0.34]).all()
    spread = 3.0 * 0.1 * np.sqrt((20**2 - 1) / 12)
    np.testing.assert_allclose(in_time["xi_change"][(SHARE > 0.34) & (SHARE < 1)], spread, rtol=1e-5)
    assert in_time["xi_change"][-1] == pytest.approx(0.0, abs=1e-6)
