"""Pool, prior and coupling in numbers: exact draws from biased double wells in one dimension."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecv.ground.errors import StoreError
from aecv.ground.files import write_arrays
from aecv.ground.grid import Grid
from aecv.ground.settings import PoolSettings
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators, couple
from aecv.numerics.kernels.encoder import Encoder, encode
from aecv.workflow.dynamics.coupling import SAFE_PHASE, extended_variable
from aecv.workflow.dynamics.prior import prior_of_pool
from aecv.workflow.learning.next_cv import compare, matching
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.segments import History
from aecv.workflow.weights.pool import BiasedIteration, first_pooled, mbar_pool, plain_pool, unbiased_pool
from tests.numerics.toys import KT, potential_1d

GRID = Grid(lower=(-1.8,), upper=(1.8,), n_bins=(60,))
EXTENDED = couple(
    GRID, kt=KT, sigma=1.5 * GRID.widths, tau_ps=1.0, friction_per_ps=1.0, timestep_ps=0.02, full_samples=200
)
FINE = np.linspace(-2.6, 2.6, 521)
LAM = np.linspace(-1.8, 1.8, 361)[:-1] + 0.005
TRUTH = np.exp(-potential_1d(FINE) / KT)
P_RIGHT = TRUTH[FINE > 0].sum() / TRUTH.sum()


@dataclass(frozen=True)
class FirstCoordinate:
    """Stands for a CV: x of the first atom."""

    n_components: int = 1
    n_atoms: int = 1

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        return np.asarray(positions, dtype=float)[:, 0, :1]


def samples_of(x: np.ndarray, lam: np.ndarray, *, garbage: float = 1.0) -> Samples:
    """Frames of two walkers; the first fifth of each is replaced by a value that no estimate may see."""
    n = len(x) // 2
    time = np.tile(np.arange(1, n + 1) / n, 2)
    x, lam = x[: 2 * n].copy(), lam[: 2 * n].copy()
    x[time <= 0.2], lam[time <= 0.2] = garbage, garbage
    positions = np.zeros((2 * n, 1, 3), dtype=np.float32)
    positions[:, 0, 0] = x
    return Samples.of(
        cv_positions=positions,
        observables={"x": x},
        time_ps=time,
        walker=np.repeat([0, 1], n),
        basin=np.full(2 * n, -1),
        xi=x[:, None],
        lam=lam[:, None],
        n_inverted=0,
        n_turned=0,
    )


def biased(index: int, force: np.ndarray, n: int, seed: int, **other: Any) -> BiasedIteration:
    """An iteration under a frozen bias force per bin, drawn exactly from its stationary law.

    exp(-beta [V(x) + kappa/2 (x - lam)^2 - B(lam)]) with B' = force, constant in every bin.
    """
    counts = np.full(GRID.size, 1e6)
    own = np.column_stack([counts, counts * force, np.zeros((GRID.size, 2))])
    total = Accumulators(grid=GRID, samples=own)
    slope = force[GRID.index(LAM[:, None])]
    b = np.concatenate([[0.0], np.cumsum(0.5 * (slope[1:] + slope[:-1]) * np.diff(LAM))])
    spring = 0.5 * EXTENDED.kappa[0] * (FINE[:, None] - LAM) ** 2
    density = np.exp(-(potential_1d(FINE)[:, None] + spring - b) / KT)
    rng = np.random.default_rng(seed)
    drawn = rng.choice(density.size, size=n, p=(density / density.sum()).ravel())
    x = FINE[drawn // len(LAM)] + rng.uniform(-0.005, 0.005, n)
    lam = LAM[drawn % len(LAM)]
    bias = Bias(
        extended=EXTENDED,
        ceiling_kj_mol=1e9,
        increments=(total,),
        prior=Accumulators.zeros(GRID),
        history=History(shares=np.array([0.5, 1.0]), samples=np.array([own, own])),
        potentials=np.empty((0, GRID.size)),
        stage_edges=np.empty(0),
    )
    return BiasedIteration(index=index, samples=samples_of(x, lam, **other), bias=bias, cv=FirstCoordinate())  # type: ignore[arg-type]


def flattening(share: float, tilt: float = 0.0) -> np.ndarray:
    """A share of dF_kappa/dlam at the bin centres, and a constant force."""
    lam = GRID.centers(0)
    weight = np.exp(-(potential_1d(FINE) + 0.5 * EXTENDED.kappa[0] * (lam[:, None] - FINE) ** 2) / KT)
    mean = (weight * EXTENDED.kappa[0] * (lam[:, None] - FINE)).sum(axis=1) / weight.sum(axis=1)
    return share * mean + tilt


@lru_cache
def iterations(**other: Any) -> list[BiasedIteration]:
    """A run pushed to the right well, one half flat, and one flat: very different coverage."""
    return [
        biased(1, flattening(0.9, 6.0), 20_000, 1, **other),
        biased(2, flattening(0.5), 30_000, 2, **other),
        biased(3, flattening(1.0), 40_000, 3, **other),
    ]


def share_right(x: np.ndarray, w: np.ndarray) -> tuple[float, float]:
    """Weighted population of x > 0 and its standard error."""
    w = w / w.sum()
    p = float(w @ (x > 0))
    return p, float(np.sqrt(np.sum(w**2 * ((x > 0) - p) ** 2)))


def test_pool_weights_give_boltzmann_populations() -> None:
    pool = mbar_pool(iterations(), PoolSettings())
    p, error = share_right(pool.observables["x"], pool.weights)
    assert pytest.approx(0.184, abs=0.001) == P_RIGHT
    assert error < 0.006
    assert abs(p - P_RIGHT) < 4 * error


def test_last_weights_are_those_of_the_last_iteration_alone() -> None:
    """The mixture's denominator on one iteration's frames would give p0 p_3/p_mix: off by a factor here."""
    runs = iterations()
    pool = mbar_pool(runs, PoolSettings())
    x = runs[-1].samples.observables["x"]
    p, error = share_right(x, pool.last_weights)
    assert error < 0.008
    assert abs(p - P_RIGHT) < 4 * error
    assert pool.last_weights.sum() == pytest.approx(1.0)


def test_frozen_stages_are_weighted_by_their_own_potentials() -> None:
    """Stages after the first 0.6 of the time; what the accumulators say of the bias no longer matters."""
    runs = []
    for item, force in zip(
        iterations(), (flattening(0.9, 6.0), flattening(0.5), flattening(1.0)), strict=True
    ):
        potential = GRID.widths[0] * (np.cumsum(force) - 0.5 * force)
        wrong = Accumulators(grid=GRID, samples=item.bias.total.samples * [1.0, -2.0, 1.0, 1.0])
        bias = replace(
            item.bias,
            increments=(wrong,),
            history=History(shares=np.array([1.0]), samples=wrong.samples[None]),
            potentials=np.array([potential, potential + 3.0]),
            stage_edges=np.array([0.6, 0.8, 1.0]),
        )
        runs.append(replace(item, bias=bias))
    pool = mbar_pool(runs, PoolSettings(discard=0.0))
    p, error = share_right(pool.observables["x"], pool.weights)
    assert error < 0.01
    # the draws know a force that is constant in every bin, the potential is linear between centres
    assert abs(p - P_RIGHT) < 4 * error + 0.003
    late = runs[-1].samples.progress > 0.6
    # thinned by up to a tenth, since inefficiencies of uncorrelated frames are 1 but for noise
    assert 0.9 < pool.n_frames / sum(int((run.samples.progress > 0.6).sum()) for run in runs) <= 1.0
    assert pool.last_weights[~late].max() == 0.0
    x = runs[-1].samples.observables["x"]
    p, error = share_right(x, pool.last_weights)
    assert abs(p - P_RIGHT) < 4 * error + 0.003


def test_plain_weights_are_flat_above_the_ceiling() -> None:
    """Lambda is not pushed there: frames have the weight exp(-ceiling/kT), not exp(-F/kT)."""
    last = iterations()[-1]
    high = float(np.nanmax(last.bias.total.free_energy().values))
    capped = replace(last, bias=replace(last.bias, ceiling_kj_mol=0.5 * high))
    free, flat = (plain_pool(item, PoolSettings(mode="none")).last_weights for item in (last, capped))
    used = free > 0
    ratio = np.log(flat[used] / free[used])
    excess = -np.log(free[used] / free[used].max()) * last.bias.extended.kt - 0.5 * high
    # F is interpolated between bins: those next to the kink are left out
    low, above = excess < -0.2 * high, excess > 0.2 * high
    assert low.any()
    assert above.any()
    base = np.median(ratio[low])
    np.testing.assert_allclose(ratio[low], base, atol=1e-9)
    # the zero of F is that of a bin centre, which no frame need hit: a hundredth of kT
    np.testing.assert_allclose(ratio[above] - base, excess[above] / last.bias.extended.kt, atol=0.01)


def test_plain_weights_come_from_lambda() -> None:
    pool = plain_pool(iterations()[-1], PoolSettings(mode="none"))
    p, error = share_right(pool.observables["x"], pool.weights)
    assert error < 0.008
    assert abs(p - P_RIGHT) < 4 * error
    assert set(np.unique(pool.iteration)) == {3}


@pytest.mark.parametrize("make", [mbar_pool, lambda runs, settings: plain_pool(runs[-1], settings)])
def test_discarded_frames_change_nothing(make: Any) -> None:
    first, second = (make(iterations(garbage=value), PoolSettings()) for value in (1.0, -1.0))
    np.testing.assert_allclose(first.weights, second.weights, rtol=1e-12)
    late = iterations()[-1].samples.progress > 0.2
    np.testing.assert_allclose(first.last_weights[late], second.last_weights[late], rtol=1e-12)
    assert first.last_weights[~late].max() == 0.0


def test_the_pool_is_thinned_to_what_it_may_hold() -> None:
    pool = mbar_pool(iterations(), PoolSettings(max_frames=10_000))
    assert 8_000 < pool.n_frames <= 10_010
    assert {1, 2, 3} == set(np.unique(pool.iteration))
    samples = iterations()[0].samples
    chosen = pool.iteration == 1
    np.testing.assert_array_equal(pool.observables["x"][chosen], samples.observables["x"][pool.frame[chosen]])
    plain = unbiased_pool(samples, 1000)
    assert plain.n_frames == 1000
    np.testing.assert_allclose(plain.weights, 1e-3)


def test_runs_that_share_nothing_are_told(caplog: pytest.LogCaptureFixture) -> None:
    apart = [biased(1, flattening(0.0, 250.0), 5_000, 1), biased(2, flattening(0.0, -250.0), 5_000, 2)]
    with caplog.at_level("WARNING"):
        mbar_pool(apart, PoolSettings())
    assert "shares least" in caplog.text
    caplog.clear()
    with caplog.at_level("WARNING"):
        mbar_pool(iterations(), PoolSettings())
    assert "shares least" not in caplog.text


@pytest.mark.parametrize(
    ("iteration", "exploration", "mode", "oldest"),
    [
        (1, 1, "mbar", 1),
        (2, 1, "mbar", 2),
        (5, 1, "mbar", 2),
        (5, 0, "mbar", 1),
        (2, 3, "mbar", 2),
        (5, 1, "none", 5),
    ],
)
def test_exploration_leaves_the_pool(iteration: int, exploration: int, mode: Any, oldest: int) -> None:
    assert first_pooled(iteration, PoolSettings(exploration=exploration, mode=mode)) == oldest


def test_a_prior_steers_the_bias_and_is_in_no_estimate() -> None:
    item = iterations()[0]
    prior = Accumulators.zeros(GRID)
    prior.samples[:, 0] = 500.0
    own = item.bias.increments[0]
    bias = replace(
        item.bias,
        prior=prior,
        history=History(shares=np.array([1.0]), samples=np.array([(prior + own).samples])),
    )
    np.testing.assert_array_equal(bias.total.samples, own.samples)
    np.testing.assert_array_equal(bias.snapshot(1.0).n_lam, own.n_lam + 500.0)


def test_bins_over_the_ceiling_are_those_of_high_free_energy() -> None:
    lam = GRID.centers(0)
    samples = np.column_stack([np.full(60, 100.0), 100.0 * 50.0 * lam, np.zeros((60, 2))])  # F = 25 lam^2
    over = Accumulators(grid=GRID, samples=samples).over_ceiling(25.0)
    np.testing.assert_array_equal(over, np.abs(lam) > 1.0)
    assert not Accumulators.zeros(GRID).over_ceiling(1.0).any()


class _Run:
    """Stands for a run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def iteration_dir(self, iteration: int) -> Path:
        folder = self.path / f"iteration_{iteration:02d}"
        folder.mkdir(exist_ok=True)
        return folder


def test_the_prior_is_the_mean_force_of_the_weighted_frames(tmp_path: Path) -> None:
    """Frames drawn flat, weighted by a Gaussian of width s: G = kT lam / (s^2 + sigma^2)."""
    run, x = _Run(tmp_path), np.random.default_rng(0).uniform(-1.8, 1.8, 80_000)
    samples_of(x, x).save(run.iteration_dir(2) / "samples.npz")
    frame = np.flatnonzero(np.tile(np.arange(1, 40_001) / 40_000, 2) > 0.2)
    weights = np.exp(-0.5 * (x[frame] / 0.5) ** 2)
    write_arrays(
        run.iteration_dir(4) / "weights.npz", iteration=np.full(len(frame), 2), frame=frame, weights=weights
    )
    prior = prior_of_pool(run, 4, FirstCoordinate(), EXTENDED)  # type: ignore[arg-type]
    np.testing.assert_array_equal(prior.n_lam, EXTENDED.full_samples)
    sigma = 1.5 * GRID.widths[0]
    inside = np.abs(GRID.centers(0)) < 1.2
    expected = KT * GRID.centers(0) / (0.25 + sigma**2)
    assert np.abs(prior.mean_force[inside, 0] - expected[inside]).max() < 1.5
    assert np.abs(expected[inside]).max() > 8.0
    assert prior.n_xi.sum() == 0.0


def linear_encoder(rows: np.ndarray) -> Encoder:
    reference = np.array([[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3], [0.1, 0.1, -0.1]])
    return Encoder(reference=reference, weights=(rows,), biases=(np.arange(len(rows), dtype=float),))


def test_components_are_matched_to_the_old_cv_in_order_and_sign() -> None:
    rng = np.random.default_rng(0)
    encoder = linear_encoder(rng.normal(size=(3, 12)))
    frames = encoder.reference + 0.05 * rng.normal(size=(500, 4, 3))
    old = encode(encoder, frames)
    shuffled = replace(
        encoder,
        weights=(np.array([-1.0, 1.0, -2.0])[:, None] * encoder.weights[0][[2, 0, 1]],),
        biases=(np.array([-1.0, 1.0, -2.0]) * encoder.biases[0][[2, 0, 1]],),
    )
    order, signs = matching(encode(shuffled, frames), old, np.ones(500))
    new = encode(shuffled.of_components(order, signs), frames)
    np.testing.assert_allclose(new, old * [1.0, 2.0, 1.0], atol=1e-12)


def test_the_score_explains_the_new_cv_by_the_old_one() -> None:
    """new = (x), old = (x, y): new is a function of old, not the other way round."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=4000)
    samples = samples_of(x, x)
    y = rng.normal(size=len(samples.time_ps))

    def new(positions: np.ndarray) -> np.ndarray:
        return np.asarray(positions[:, 0, :1], dtype=float)

    def old(positions: np.ndarray) -> np.ndarray:
        return np.column_stack([positions[:, 0, 0], y[: len(positions)]])

    weights = np.ones(len(y)) / len(y)
    forward: Any = compare(new, old, samples, weights, [], 0)  # type: ignore[arg-type]
    backward: Any = compare(old, new, samples, weights, [], 0)  # type: ignore[arg-type]
    assert forward["score"] == pytest.approx(1.0, abs=1e-6)
    assert backward["score"] < 0.05
    assert forward["observables"]["x"]["linear"] == pytest.approx(1.0, abs=1e-6)


@dataclass(frozen=True)
class Steep:
    """A CV of one atom with gradient `slope` along x."""

    slope: float
    n_components: int = 1
    cv_range: Any = None
    periodic: tuple[bool, ...] = (False,)

    def gradient(self, probe: np.ndarray) -> np.ndarray:
        gradient = np.zeros((len(probe), 1, 1, 3))
        gradient[..., 0] = self.slope
        return gradient


def test_a_spring_that_is_too_stiff_for_the_time_step_is_widened_to_the_limit() -> None:
    settings = load_system("ala2").settings
    box = np.array([[-2.0, 2.0]])
    masses, probe = np.array([12.0]), np.zeros((5, 1, 3))
    soft = extended_variable(Steep(10.0, cv_range=box), probe, masses, settings)  # type: ignore[arg-type]
    assert soft.kappa[0] == pytest.approx(soft.kt / 0.08**2)
    stiff = extended_variable(Steep(500.0, cv_range=box), probe, masses, settings)  # type: ignore[arg-type]
    omega = np.sqrt(stiff.kappa[0] * (500.0**2 / 12.0 + 1.0 / stiff.mass[0]))
    assert omega * settings.dynamics.timestep_ps == pytest.approx(SAFE_PHASE, rel=1e-9)


def test_samples_of_a_file_are_those_that_were_saved(tmp_path: Path) -> None:
    """They are read when asked for: memory of the pool does not grow with frames that it leaves out."""
    x = np.random.default_rng(0).standard_normal(40)
    made = samples_of(x, x)
    made.save(tmp_path / "samples.npz")
    stored = Samples.stored(tmp_path / "samples.npz")
    for name in ("cv_positions", "time_ps", "walker", "basin", "xi", "lam", "progress"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(made, name))
    assert (stored.n_frames, stored.n_turned, list(stored.observables)) == (40, 0, ["x"])
    assert stored.component_periods == (0.0,)
    assert stored.xi is not stored.xi
    assert stored.observables.get("y") is None
    assert stored.observables.get("x") is not None
    kept = Samples.load(tmp_path / "samples.npz")
    assert kept.xi is kept.xi
    without = {name: values for name, values in made.arrays.items() if name != "basin"}
    write_arrays(tmp_path / "less.npz", **without)
    with pytest.raises(StoreError, match=r"less\.npz: needs an array named 'basin'"):
        Samples.load(tmp_path / "less.npz")
