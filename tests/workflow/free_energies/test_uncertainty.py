"""Delta F and profiles with intervals, from draws whose free energy is known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from aecv.numerics.free_energy.support import Course
from aecv.numerics.statistics.bootstrap import Replicates
from aecv.numerics.statistics.intervals import Interval, aligned, crossing_error
from aecv.workflow.free_energies.uncertainty import Origins, Resampled, resample
from aecv.workflow.weights.pool import BiasedSample

KT = 2.5
N_WALKERS, N_FRAMES = 4, 1500
MANY = (10**7, 10**7)
"""Passages that put the floor of the error far below any spread."""


def origins_of(*slow: np.ndarray) -> Origins:
    """Four walkers of one run; slow series of shape (n_walkers, n_frames)."""
    n_walkers, n = slow[0].shape
    return Origins(
        run=np.full(n_walkers * n, 7),
        walker=np.repeat(np.arange(n_walkers), n),
        progress=np.tile((np.arange(n) + 1) / n, n_walkers),
        slow=tuple(series.ravel() for series in slow),
    )


def drawn(
    seed: int, shift: float = 0.0, passages: tuple[int, int] | None = MANY
) -> tuple[np.ndarray, Resampled]:
    """x ~ N(shift, 1), independent: a standard normal under the bias -kT shift x; the region is x > 1."""
    x = np.random.default_rng(seed).normal(shift, 1.0, (N_WALKERS, N_FRAMES))
    energies = -KT * shift * x.reshape(1, -1)
    weights = np.exp(energies[0] / KT)
    found = resample(
        BiasedSample(energies=energies, n_per_state=np.array([x.size])),
        weights / weights.sum(),
        origins_of(x),
        kt=KT,
        inside=x.ravel() > 1.0,
        passages=passages,
        n_replicates=200,
        seed=0,
    )
    return x.ravel(), found


def resampled(
    weights: list[float],
    replicates: np.ndarray,
    inside: list[bool] | None,
    passages: tuple[int, int] | None,
    frames: list[int] | None = None,
) -> Resampled:
    """Frames with replicates made by hand, of 8 units."""
    w = np.array(weights) / np.sum(weights)
    kept = np.arange(len(w)) if frames is None else np.array(frames)
    drawn_weights = Replicates(
        frames=kept,
        weights=w[kept] / w[kept].sum(),
        replicates=replicates,
        n_units=8,
        n_strata=1,
        n_unsolved=0,
    )
    mask = None if inside is None else np.array(inside)
    course = Course.of(np.zeros(len(w)), np.zeros(len(w)), np.arange(len(w)))
    return Resampled(
        weights=w, replicates=drawn_weights, kt=KT, passages=passages, inside=mask, course=course
    )


def fixed(weights: list[float], inside: list[bool] | None, passages: tuple[int, int] | None) -> Resampled:
    """Frames whose replicates are all alike, so that nothing but the floor makes an error."""
    return resampled(weights, np.tile(np.array(weights) / np.sum(weights), (20, 1)), inside, passages)


def delta_f_of(found: Resampled, *chosen: np.ndarray, passages: tuple[int, int] | None = None) -> Interval:
    delta = found.delta_f(*chosen, passages=passages)
    assert delta is not None
    return delta


def test_delta_f_of_independent_frames_has_the_error_of_a_count() -> None:
    """p frames of n inside: F = -kT ln(p / (1 - p)), SE = kT / (n p (1 - p))^(1/2).

    80 units and 200 replicates know a standard error to 1/160^(1/2) and 1/400^(1/2): 4 of them are 0.38.
    """
    x, found = drawn(1)
    p, delta = np.mean(x > 1.0), delta_f_of(found)
    assert found.replicates.n_units == 80  # 20 blocks per walker is the most there are
    assert delta.estimate == pytest.approx(-KT * np.log(p / (1 - p)), rel=1e-12)
    assert delta.standard_error == pytest.approx(KT / np.sqrt(len(x) * p * (1 - p)), rel=0.38)
    assert 1.96 < (delta.upper - delta.estimate) / delta.standard_error < 2.0  # Student's, 79 degrees
    assert delta.contains(-KT * np.log(norm.sf(1.0) / norm.cdf(1.0)))


@pytest.mark.parametrize("shift", [-0.5, 0.8])
def test_delta_f_and_profile_of_biased_frames_are_those_of_the_unbiased_law(shift: float) -> None:
    """F(x) = kT x^2/2 up to a constant: every bin within 4.5 of its own standard errors."""
    x, found = drawn(2, shift)
    delta = delta_f_of(found)
    assert 0.02 < delta.standard_error / KT < 0.1
    assert abs(delta.estimate + KT * np.log(norm.sf(1.0) / norm.cdf(1.0))) < 4 * delta.standard_error
    edges = np.linspace(-2.0, 2.0, 17)
    profile = found.profile(x, [edges])
    assert np.nanmin(profile.estimate) == 0.0
    exact = aligned(-KT * np.log(np.diff(norm.cdf(edges))), profile.estimate, kt=KT)
    assert np.abs((profile.estimate - exact) / profile.standard_error).max() < 4.5
    assert np.ptp(exact) > 1.5 * KT
    assert profile.standard_error.max() < 0.3 * KT


def test_a_plane_of_independent_coordinates_is_the_sum_of_their_profiles() -> None:
    x, found = drawn(3)
    y = np.random.default_rng(4).permutation(x)
    edges = [np.linspace(-1.5, 1.5, 7), np.linspace(-1.5, 1.5, 4)]
    plane = found.profile(np.stack([x, y], axis=1), edges)
    assert plane.estimate.shape == plane.standard_error.shape == (6, 3)
    sides = [-KT * np.log(np.diff(norm.cdf(axis))) for axis in edges]
    exact = aligned(sides[0][:, None] + sides[1], plane.estimate, kt=KT)
    assert np.abs((plane.estimate - exact) / plane.standard_error).max() < 4.5


def test_a_profile_leaves_out_nan_and_what_lies_outside_and_marks_empty_bins() -> None:
    """Weights 1 and e in the bins 0 and 2: kT apart; the last edge is part of its bin."""
    found = fixed([1.0, 1.0, 0.4 * np.e, 1.0, 0.6 * np.e, 1.0], None, None)
    profile = found.profile([0.5, np.nan, 2.5, 9.0, 3.0, -0.1], [np.arange(4.0)])
    for values in (profile.estimate, profile.lower, profile.upper):
        np.testing.assert_allclose(values, [KT, np.nan, 0.0], atol=1e-12)
    assert np.isnan(profile.standard_error[1])


def test_a_bin_that_the_thinned_frames_miss_has_a_value_and_no_error_bar() -> None:
    found = resampled([0.25, 0.25, 0.5], np.tile([1 / 3, 2 / 3], (20, 1)), None, None, frames=[0, 2])
    profile = found.profile([0.5, 1.5, 2.5], [np.arange(4.0)])
    np.testing.assert_allclose(profile.estimate, [KT * np.log(2), KT * np.log(2), 0.0])
    np.testing.assert_array_equal(np.isfinite(profile.standard_error), [True, False, True])
    assert (profile.lower[1], profile.upper[1]) == (-np.inf, np.inf)


def test_no_interval_is_narrower_than_the_passages_allow() -> None:
    """That of 4 entries and 2 exits; of it a bin has its distance from p."""
    found = fixed([0.1, 0.1, 0.1, 0.7], [True, True, False, False], (4, 2))
    floor, delta = crossing_error(4, 2, kt=KT), delta_f_of(found)
    assert delta.standard_error == pytest.approx(floor)
    assert delta.upper - delta.estimate == pytest.approx(norm.ppf(0.975) * floor)
    profile = found.profile([0.5, 1.5, 1.5, 2.5], [np.arange(4.0)])
    np.testing.assert_allclose(profile.standard_error, floor * np.array([0.8, 0.3, 0.2]))


@pytest.mark.parametrize("passages", [(0, 3), (3, 0), (0, 0)])
def test_without_a_passage_in_one_direction_nothing_is_known(passages: tuple[int, int]) -> None:
    """Of Delta F; a bin with as much of the region as everything has does not depend on it."""
    found = fixed([0.1, 0.1, 0.4, 0.4], [True, False, True, False], passages)
    delta = delta_f_of(found)
    assert delta.estimate == pytest.approx(0.0, abs=1e-12)
    assert (delta.lower, delta.upper) == (-np.inf, np.inf)
    assert delta.standard_error == np.inf
    profile = found.profile([0.5, 1.5, 2.5, 3.5], [np.arange(5.0)])
    assert np.isinf(profile.standard_error).all()
    assert np.isfinite(profile.estimate).all()


def test_where_no_region_is_defined_there_is_no_delta_f_and_no_floor() -> None:
    found = fixed([0.5, 0.5], None, None)
    assert found.delta_f() is None
    assert found.profile([0.5, 1.5], [np.arange(3.0)]).standard_error.max() < 1e-12


@pytest.mark.parametrize(("n_empty", "is_known"), [(4, True), (6, False)])
def test_replicates_that_drop_one_side_make_the_interval_infinite_if_many_do(
    n_empty: int, is_known: bool
) -> None:
    """More than 5 of 100, for an interval of 95 %."""
    draws = np.tile([0.5, 0.5], (100, 1))
    draws[:n_empty] = [0.0, 1.0]
    delta = delta_f_of(resampled([0.5, 0.5], draws, [True, False], (9, 9)))
    assert np.isfinite(delta.standard_error) == is_known


def test_delta_f_of_chosen_frames_counts_these_alone() -> None:
    found = fixed([0.1, 0.2, 0.3, 0.4], [True, False, True, False], (4, 4))
    chosen = np.array([True, True, False, False])
    early = delta_f_of(found, chosen, passages=(1, 1))
    assert early.estimate == pytest.approx(KT * np.log(2.0))
    assert early.standard_error == pytest.approx(crossing_error(1, 1, kt=KT))
    late = delta_f_of(found, ~chosen)
    assert late.estimate == pytest.approx(KT * np.log(4.0 / 3.0))
    assert late.standard_error == pytest.approx(crossing_error(4, 4, kt=KT))
    nothing = delta_f_of(found, np.zeros(4, dtype=bool))
    assert np.isnan([nothing.estimate, nothing.lower, nothing.upper]).all()


def units_of(*slow: np.ndarray) -> int:
    """Units of frames with these slow series."""
    origins = origins_of(*slow)
    n = len(origins.run)
    found = resample(
        BiasedSample(energies=np.zeros((1, n)), n_per_state=np.array([n])),
        np.full(n, 1.0 / n),
        origins,
        kt=KT,
        inside=None,
        passages=None,
        n_replicates=20,
        seed=0,
    )
    assert found.replicates.n_strata == 1
    return found.replicates.n_units


def test_the_slowest_series_sets_the_length_of_the_blocks() -> None:
    """White noise allows 20 blocks of every walker; walkers that stay where they are count as one each.

    Runs of 50 equal values have g = 50, the sum of a triangle, so that 1500 frames are 1500 / (5 50) = 6
    blocks; g of 120 runs is known to a quarter or so.
    """
    rng = np.random.default_rng(6)
    white = rng.normal(size=(N_WALKERS, N_FRAMES))
    stuck = np.repeat([[0.0], [1.0], [0.0], [1.0]], N_FRAMES, axis=1)
    runs = np.repeat(rng.normal(size=(N_WALKERS, N_FRAMES // 50)), 50, axis=1)
    assert units_of(white) == 4 * 20
    assert units_of(white, stuck) == 4
    assert 4 * 4 <= units_of(white, runs) <= 4 * 9
    assert units_of(white, np.ones_like(white)) == 4 * 20  # what never changes tells no time
    assert units_of(white[:, :1]) == 4


def heavy_tailed(seed: int, least_visits: float) -> tuple[Interval, np.ndarray]:
    """F on 60 bins from weights exp(s z - s^2/2) of mean 1, and the exact F: some 2 to 300 frames per bin.

    z is normal and hidden, its spread s grows to 2.5 kT in the bins with few frames: the walker comes there
    by the wrong coordinate, as at the rim of F(phi, psi).
    """
    rng = np.random.default_rng(seed)
    mean = np.exp(np.linspace(np.log(300.0), np.log(2.0), 60))
    spread = np.linspace(0.2, 2.5, 60)
    bins = rng.permutation(np.repeat(np.arange(60), rng.poisson(mean)))
    n = 4 * (len(bins) // 4)
    bins = bins[:n]
    weights = np.exp(spread[bins] * rng.standard_normal(n) - 0.5 * spread[bins] ** 2)
    weights /= weights.sum()
    rows = rng.standard_normal((N_WALKERS, n // N_WALKERS))
    found = resample(
        BiasedSample.of_weights(weights, KT),
        weights,
        origins_of(rows),
        kt=KT,
        inside=None,
        passages=None,
        n_replicates=100,
        seed=seed,
        least_visits=least_visits,
    )
    return found.profile(bins + 0.5, [np.arange(61.0)]), -KT * np.log(mean)


def test_bins_that_a_few_heavy_weights_reach_are_unknown() -> None:
    """Of 12 x 60 bins some 70 % stay, those with many frames among them, at less than half the error.

    Weights of a spread of 2.5 kT deceive: two of the bins that stay are still off by more than 5 kJ/mol.
    """
    errors: dict[float, list[np.ndarray]] = {0.0: [], 3.0: []}
    held = []
    for seed in range(12):
        for least, off in errors.items():
            profile, exact = heavy_tailed(seed, least)
            error = profile.estimate - aligned(exact, profile.estimate, kt=KT)
            off.append(error)
            if least:
                held.append(profile.contains(aligned(exact, profile.estimate, kt=KT)))
                assert np.isfinite(profile.estimate[:17]).all()
                assert np.isnan(profile.standard_error[np.isnan(profile.estimate)]).all()
    every, known = (np.abs(np.array(errors[least])) for least in (0.0, 3.0))
    assert np.nanmax(every) > 15.0
    assert np.sqrt(np.nanmean(every**2)) > 2.9
    assert np.sqrt(np.nanmean(known**2)) < 1.45
    assert np.sum(every > 5.0) > 8 * np.sum(known > 5.0)
    assert np.mean(known[:, :30][np.isfinite(known[:, :30])] < 2.0) > 0.99
    assert 0.65 < np.isfinite(known).mean() < 0.8
    assert np.nanmean(np.concatenate(held)) > 0.88


def test_the_numbers_of_bins_that_stay_known_do_not_change() -> None:
    every, known = (heavy_tailed(3, least)[0] for least in (0.0, 3.0))
    kept = np.isfinite(known.estimate)
    for name in ("estimate", "lower", "upper", "standard_error"):
        assert np.array_equal(getattr(every, name)[kept], getattr(known, name)[kept]), name


def test_errors_are_those_of_a_bins_share_in_all_weight() -> None:
    """Also in that of an unknown bin, whose one frame has half or three quarters of the weight by turns.

    The two other bins share the rest evenly in every replicate: both go up and down by kT ln 2 together.
    """
    x = np.array([0.5, *np.tile([1.5, 2.5], 10)])
    weights, heavy = (np.array([share, *np.full(20, (1 - share) / 20)]) for share in (0.5, 0.75))
    found = resampled(weights.tolist(), np.array([weights, heavy] * 20), None, None)
    every, known = (replace(found, least_visits=least).profile(x, [np.arange(4.0)]) for least in (0.0, 3.0))
    np.testing.assert_allclose(known.estimate, [np.nan, 0.0, 0.0], atol=1e-12)
    spread = KT * np.log(2.0) * np.std([0.0, 1.0] * 20, ddof=1)
    np.testing.assert_allclose(known.standard_error, [np.nan, spread, spread])
    np.testing.assert_allclose(every.standard_error[1:], known.standard_error[1:], rtol=1e-12)


def test_the_zero_of_a_profile_is_not_a_bin_that_is_unknown() -> None:
    """One frame has half of all weight: its bin would be the lowest."""
    weights = np.array([0.5, *np.full(10, 0.03), *np.full(10, 0.02)])
    found = replace(fixed(weights.tolist(), None, None), least_visits=3.0)
    x = np.array([0.5, *np.tile([1.5, 2.5], 10)])
    profile = found.profile(x, [np.arange(4.0)])
    assert np.isnan(profile.estimate[0])
    assert np.nanmin(profile.estimate) == 0.0
    assert found.has_weight(x, [np.arange(4.0)]).tolist() == [True, True, True]
    nothing = replace(found, least_visits=100.0).profile(x, [np.arange(4.0)])
    assert np.isnan(nothing.estimate).all()
