"""Coverage of walkers whose ways are known, and the words for what they missed."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aecv.ground.files import read_json, write_json
from aecv.workflow.free_energies.basins import KnownStarts, basin_of_frames
from aecv.workflow.free_energies.coverage import assess
from tests.workflow.hand import samples_of_walkers
from tests.workflow.hand import system_with as system_with_region

ADAPTIVE: Any = SimpleNamespace(begin=lambda discard: 0.0)
FROZEN_FROM_HALF: Any = SimpleNamespace(begin=lambda discard: 0.5)


def system_with(*periodic: str) -> Any:
    """Without a region of Delta F."""
    system = system_with_region(*periodic)
    settings = system.spec.settings.model_copy(update={"delta_f": None})
    return SimpleNamespace(observables=system.observables, spec=replace(system.spec, settings=settings))


def test_entries_are_counted_from_core_to_core(tmp_path: Path) -> None:
    """Walker 0: 0 -> 1 -> 0 -> 2, with a look over the barrier and back; walker 1 begins in 2 and stays."""
    ways = [[0, -1, 0, 1, -1, 1, 0, 2], [2, -1, 2, 2, -1, -1, 2, 2]]
    found = assess(samples_of_walkers(ways), ADAPTIVE, 3, system_with())
    np.testing.assert_array_equal(found.visits.transitions, [[0, 1, 1], [1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found.visits.visited_by, [1, 1, 2])
    np.testing.assert_array_equal(found.visits.entered_by, [1, 1, 1])
    assert found.problems == (
        "hardly entered from elsewhere: the basin of start 0 (1 times), 1 (1 times), 2 (1 times)",
    )
    write_json(tmp_path / "coverage.json", found.as_dict())
    written = read_json(tmp_path / "coverage.json")
    assert written["passages"] == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert written["problems"] == list(found.problems)


def test_two_entries_into_every_basin_are_enough() -> None:
    ways = [[0, 1, 0, 1], [1, 0, 0, 0]]
    found = assess(samples_of_walkers(ways), ADAPTIVE, 2, system_with())
    np.testing.assert_array_equal(found.visits.transitions.sum(axis=0), [2, 2])
    assert found.problems == ()
    once = assess(samples_of_walkers([[0, 1, 0, 1], [1, 1, 1, 1]]), ADAPTIVE, 2, system_with())
    assert once.problems == ("hardly entered from elsewhere: the basin of start 0 (1 times)",)


def test_one_start_says_that_others_are_not_known() -> None:
    found = assess(samples_of_walkers(np.zeros((2, 8), dtype=int)), ADAPTIVE, 1, system_with())
    assert found.problems == (
        "all walkers began in one structure, so that other basins may be unknown (starts.mode)",
    )


def test_a_region_of_delta_f_that_no_walker_entered_or_left_is_told() -> None:
    """Delta F is infinite then: nobody shall read that nothing speaks against the coverage."""
    labels = [[0, 1, 0, 1] * 2, [1, 0, 1, 0] * 2]
    system = system_with_region(overrides=("delta_f.observable=x", "delta_f.lower=2", "delta_f.upper=3"))
    for x, word in ((1.0, "visited"), (2.5, "left")):
        samples = samples_of_walkers(labels, x=np.full((2, 8), x))
        found = assess(samples, ADAPTIVE, 2, system)
        assert f"the region of [delta_f] was never {word}" in found.problems
        assert assess(samples, None, 2, system).problems == ()
    both = samples_of_walkers(labels, x=np.array([[1.0, 2.5] * 4] * 2))
    found = assess(both, ADAPTIVE, 2, system)
    assert not [text for text in found.problems if "delta_f" in text]


def test_nothing_is_asked_of_an_unbiased_iteration() -> None:
    found = assess(samples_of_walkers(np.zeros((2, 8), dtype=int)), None, 3, system_with())
    assert found.problems == ()
    np.testing.assert_array_equal(found.visits.visited_by, [2, 0, 0])


def test_walkers_that_stay_apart_disagree() -> None:
    """Two walkers of spread 1 at -1 and 1: of 4 half chains B/n = 4/3 and W = 1, so R = (1 + 4/3)^(1/2)."""
    noise = np.random.default_rng(0).normal(size=(2, 2000))
    labels = np.tile([0, 1], (2, 1000))
    apart = assess(
        samples_of_walkers(labels, xi=noise + np.array([[-1.0], [1.0]]), x=noise), ADAPTIVE, 2, system_with()
    )
    assert apart.r_hat["xi_1"] == pytest.approx(np.sqrt(7 / 3), abs=0.1)
    assert apart.r_hat["x"] == pytest.approx(1.0, abs=0.01)
    assert apart.problems == (f"walkers disagree (R-hat, wanted <= 1.2): xi_1 {apart.r_hat['xi_1']:.2f}",)


def test_walkers_on_both_sides_of_the_seam_agree_and_opposite_ones_do_not() -> None:
    """Spread 0.2 about pi: as numbers two clusters at -pi and pi, which hide how far the walkers are apart.

    As CV of period 1 the same, in turns. Walkers at pi and at 0 have cosines of -1 and 1.
    """
    noise = np.random.default_rng(4).normal(0.0, 0.2, (2, 4000))
    labels = np.tile([0, 1], (2, 2000))
    angle = np.pi + noise + np.array([[-0.1], [0.1]])
    seam = np.angle(np.exp(1j * angle))
    both = {"xi": seam / (2 * np.pi), "period": 1.0}
    round_ = assess(samples_of_walkers(labels, **both, phi=seam), ADAPTIVE, 2, system_with("phi"))
    line = assess(samples_of_walkers(labels, xi=seam, phi=angle), ADAPTIVE, 2, system_with())
    # B/W = (0.1/0.2)^2 of the sine at pi, as of the angle that has no seam there
    for name in ("xi_1", "phi"):
        assert round_.r_hat[name] == pytest.approx(line.r_hat["phi"], rel=0.02)
    opposite = np.angle(np.exp(1j * (noise + np.array([[np.pi], [0.0]]))))
    apart = assess(samples_of_walkers(labels, phi=opposite), ADAPTIVE, 2, system_with("phi"))
    assert apart.r_hat["phi"] > 1.7


def test_burn_in_knows_no_seam() -> None:
    """Swings by 1 rad about pi die down within a tenth of the time; the angle itself jumps throughout."""
    n = 2000
    rng = np.random.default_rng(5)
    swing = rng.choice([-1.0, 1.0], (4, n)) * np.exp(-np.arange(n) / 60.0)
    found = []
    for size in (1.0, 0.0):
        seam = np.angle(np.exp(1j * (np.pi + size * swing + rng.normal(0.0, 0.1, (4, n)))))
        made = samples_of_walkers(np.tile([0, 1], (4, n // 2)), xi=seam, period=2 * np.pi)
        found.append(assess(made, ADAPTIVE, 2, system_with()).burn_in["xi_1"])
    assert 0.05 <= found[0] <= 0.2
    assert found[1] == 0.0


def test_mixing_is_measured_after_the_bias_settled() -> None:
    """Apart in the first half, alike in the second: only a bias that adapts throughout sees a problem."""
    values = np.random.default_rng(1).normal(size=(2, 2000))
    values[:, :1000] += [[-3.0], [3.0]]
    samples = samples_of_walkers(np.tile([0, 1], (2, 1000)), x=values)
    assert assess(samples, FROZEN_FROM_HALF, 2, system_with()).r_hat["x"] == pytest.approx(1.0, abs=0.01)
    assert assess(samples, ADAPTIVE, 2, system_with()).r_hat["x"] > 1.2


def test_entries_before_the_frames_that_count_do_not_count() -> None:
    """Both basins are entered twice in the first half and never after it."""
    ways = [[0, 1, 0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 0, 0, 0, 0]]
    assert assess(samples_of_walkers(ways), ADAPTIVE, 2, system_with()).problems == ()
    late = assess(samples_of_walkers(ways), FROZEN_FROM_HALF, 2, system_with())
    assert late.problems == ("hardly entered from elsewhere: the basin of start 0 (0 times), 1 (0 times)",)
    np.testing.assert_array_equal(late.visits.transitions.sum(axis=0), [3, 3])


def test_one_walker_has_nobody_to_agree_with() -> None:
    found = assess(samples_of_walkers([[0, 1] * 4], x=[[0.0, 1.0] * 4]), ADAPTIVE, 2, system_with())
    assert np.isnan(found.r_hat["x"])
    assert not any("disagree" in problem for problem in found.problems)


def test_a_range_that_doubles_in_the_last_third_still_grows() -> None:
    """x in (0, 1) and then in (1, 2): half of the bins are new. As an angle it had been everywhere before."""
    rng = np.random.default_rng(2)
    labels = np.tile([0, 1], (2, 1500))
    late = np.broadcast_to(np.arange(3000) >= 2000, labels.shape)
    x = rng.uniform(0.0, 1.0, labels.shape) + late
    around = rng.uniform(-np.pi, np.pi, labels.shape) + 2 * np.pi * late
    grows = assess(samples_of_walkers(labels, x=x), ADAPTIVE, 2, system_with())
    # one bin of 40 holds the border
    assert grows.growth["x"] == pytest.approx(0.5, abs=0.026)
    words = "the visited range was still growing in the last third (wanted <= 5% of it): x "
    assert f"{words}{grows.growth['x']:.0%}" in grows.problems
    turns = assess(samples_of_walkers(labels, phi=around), ADAPTIVE, 2, system_with("phi"))
    assert turns.growth["phi"] == 0.0
    assert not any("growing" in problem for problem in turns.problems)
    stretched = assess(samples_of_walkers(labels, phi=around), ADAPTIVE, 2, system_with())
    assert stretched.growth["phi"] > 0.4


STARTS = np.array(
    [
        [[0.0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0.1, 0.1, 0.1]],
        [[0.0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0], [0.1, 0.1, -0.1]],
        [[0.0, 0, 0], [0.1, 0, 0], [0.2, 0.02, 0], [0.3, 0.0, 0.05]],
    ]
)


def test_a_frame_belongs_to_the_start_that_is_clearly_nearest() -> None:
    """At a third of the way from one start to another it is half as far from the first, farther out not."""
    shares = np.array([0.0, 0.32, 0.35, 0.5, 0.65, 0.68, 1.0])
    way = STARTS[0] + shares[:, None, None] * (STARTS[1] - STARTS[0])
    labels = basin_of_frames(way, STARTS[:2], superpose=False)
    np.testing.assert_array_equal(labels, [0, 0, -1, -1, -1, 1, 1])


def test_basins_do_not_depend_on_place_and_orientation_unless_they_should() -> None:
    turns = Rotation.random(6, random_state=3).as_matrix()
    frames = np.einsum("nij,naj->nai", turns, STARTS[[0, 1, 2, 2, 1, 0]]) + 0.7
    np.testing.assert_array_equal(basin_of_frames(frames, STARTS, superpose=True), [0, 1, 2, 2, 1, 0])
    # one atom alone has no orientation: a particle's place is all that there is
    places = np.array([[[0.0, 0, 0]], [[1.0, 0, 0]]])
    np.testing.assert_array_equal(basin_of_frames(places[[1, 0]], places, superpose=False), [1, 0])


def test_starts_know_on_which_side_of_the_region_they_lie(tmp_path: Path) -> None:
    run: Any = SimpleNamespace(iteration_dir=lambda _: tmp_path)
    report = {"n_starts": 3, "observables": {"x": [-1.0, 1.0, 1.7], "y": [0.0, 0.0, 0.0]}}
    write_json(tmp_path / "starts.json", report)
    known = KnownStarts.load(run, system_with_region())
    assert known.n_starts == 3
    assert known.inside is not None
    np.testing.assert_array_equal(known.inside, [False, True, False])  # 0 < x < 1.6
    nowhere: Any = SimpleNamespace(spec=SimpleNamespace(settings=SimpleNamespace(delta_f=None)))
    assert KnownStarts.load(run, nowhere).inside is None


@pytest.mark.parametrize("biased", [True, False])
def test_a_bias_is_blamed_for_inverted_frames_only_where_there_is_one(biased: bool) -> None:
    samples = samples_of_walkers(np.zeros((2, 8), dtype=int))
    arrays = samples.arrays | {"n_inverted": np.array(3)}
    found = assess(replace(samples, arrays=arrays), ADAPTIVE if biased else None, 1, system_with())
    (said,) = [problem for problem in found.problems if "chirality" in problem]
    assert "of 16 frames 3 have another chirality" in said
    assert ("eabf.ceiling_kj_mol" in said) == biased
    assert ("no bias did that" in said) != biased
