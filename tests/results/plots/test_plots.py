"""The pictures show the numbers they were given, and say so where there are none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from aecv.ground.errors import GridError, StoreError
from aecv.ground.grid import Grid
from aecv.results import plots
from aecv.results.story.content import Biased, Frames, History, Point, Quantity, Training
from tests.results.plots.drawn import render

KT = 2.494
PLANE = {"names": ("phi", "psi"), "periodic": (True, True)}


def square(n_dims: int, n_bins: int = 12) -> Grid:
    return Grid(lower=(-2.0,) * n_dims, upper=(2.0,) * n_dims, n_bins=(n_bins,) * n_dims)


def bowl(grid: Grid) -> np.ndarray:
    """5 |xi|^2 kJ/mol, from 0, unvisited outside a radius of 2."""
    squared = (grid.center_points() ** 2).sum(axis=1)
    values = np.where(squared < 4, 5 * squared, np.nan)
    return values - np.nanmin(values)


def biased(name: str, grid: Grid, values: np.ndarray, **changed: object) -> Biased:
    """What an iteration knows of F along its CV; it was where that is known."""
    nothing = {"exact": None, "time_ns": np.zeros(1), "n_visited": np.zeros(1, dtype=np.int64)}
    given = {"visited": np.isfinite(values)} | nothing | changed
    return Biased(name=name, grid=grid, values=values, **given)


def in_xi(panels: list, **more: object) -> Figure:
    return plots.free_energy_in_xi([biased(*panel) for panel in panels], kt=KT, **more)


def history(*values: float, scores: dict | None = None, exact: float | None = None) -> History:
    """Of iterations from 0 on: Delta F of the pool without errors, and scores."""
    scores = scores or {}
    n = max(len(values), *map(len, scores.values()), 0) if scores else len(values)
    nothing = (float("nan"),) * n
    series = dict.fromkeys(("score", "unweighted", "nonlinear", "required", "loss"), nothing)
    nan = float("nan")
    known = [Point(value=v, lower=v, upper=v) for v in values] or [Point(value=nan, lower=nan, upper=nan)] * n
    alone = (Point(value=nan, lower=nan, upper=nan),) * n
    return History(index=tuple(range(n)), pool=tuple(known), alone=alone, exact=exact, **series | scores)


def shown_panels(figure: Figure) -> list:
    return [axis for axis in figure.axes if axis.get_visible() and axis.get_label() != "<colorbar>"]


def colour_bars(figure: Figure) -> list:
    return [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]


def lines_by_label(figure: Figure) -> dict:
    return {line.get_label(): line for axis in figure.axes for line in axis.lines}


class TestFreeEnergyInXi:
    def test_two_dimensions_draw_the_bins_and_leave_unvisited_ones_white(self):
        grid = square(2)
        values = bowl(grid)
        figure = in_xi([(f"iteration {k}", grid, values) for k in range(1, 8)])
        panels = shown_panels(figure)
        assert [axis.get_title() for axis in panels] == [f"iteration {k}" for k in range(1, 8)]
        drawn = panels[3].collections[0].get_array()
        np.testing.assert_array_equal(drawn.mask.ravel(), np.isnan(values.reshape(grid.shape).T.ravel()))
        np.testing.assert_allclose(drawn.compressed(), values.reshape(grid.shape).T[~drawn.mask])
        assert len(colour_bars(figure)) == 1
        assert "kJ/mol" in colour_bars(figure)[0].get_ylabel()

    def test_first_component_runs_along_x(self):
        grid = Grid(lower=(0.0, 5.0), upper=(1.0, 9.0), n_bins=(4, 6))
        axis = shown_panels(in_xi([("one", grid, np.arange(24.0))]))[0]
        assert axis.get_xlim() == (0.0, 1.0)
        assert axis.get_ylim() == (5.0, 9.0)
        # C order: one step in the second component is 1 kJ/mol, drawn from one row to the next.
        np.testing.assert_array_equal(axis.collections[0].get_array()[:, 0], np.arange(6.0))

    def test_panels_of_other_grids_share_the_axes_and_what_is_not_known_is_grey(self):
        grids = [Grid(lower=(a, 0.0), upper=(a + 2.0, 1.0), n_bins=(4, 4)) for a in (-1.0, 0.5)]
        values = np.where(np.arange(16) < 4, np.nan, 1.0)
        items = [biased("one", grid, values, visited=np.arange(16) >= 2) for grid in grids]
        figure = plots.free_energy_in_xi(items, kt=KT)
        for axis in shown_panels(figure):
            assert (axis.get_xlim(), axis.get_ylim()) == ((-1.0, 2.5), (0.0, 1.0))
            grey = axis.collections[0].get_array()
            assert np.flatnonzero(~np.ma.getmaskarray(grey).T.ravel()).tolist() == [2, 3]

    def test_all_panels_share_one_scale_that_ends_at_the_ceiling(self):
        grid = square(2)
        figure = in_xi([("low", grid, bowl(grid)), ("high", grid, 50 * bowl(grid))], ceiling=100)
        ends = {
            (axis.collections[0].norm.vmin, axis.collections[0].norm.vmax) for axis in shown_panels(figure)
        }
        assert ends == {(0.0, 100.0)}

    def test_the_axis_holds_both_basins_of_the_exact_curve_where_the_estimate_knows_one(self):
        """Basins at -1 and 1, the second 9 kJ/mol deeper, with 30 kJ/mol between; walls are cut."""
        grid = Grid(lower=(-2.0,), upper=(2.0,), n_bins=(80,))
        x = grid.centers(0)
        exact = 25 * (x**2 - 1) ** 2 - 4.5 * x
        exact -= exact.min()
        values = np.where(x < -0.6, exact - exact[x < -0.6].min(), np.nan)
        values[values > 10] = np.nan
        (axis,) = shown_panels(plots.free_energy_in_xi([biased("one", grid, values, exact=exact)], kt=KT))
        drawn = axis.lines[0].get_ydata()
        low, high = axis.get_ylim()
        assert low < drawn.min() < -8
        assert drawn[np.abs(x) < 0.5].max() < high < drawn.max()

    def test_one_dimension_is_a_line_with_gaps(self):
        grid = square(1, 40)
        values = np.where(np.arange(40) < 30, bowl(grid), np.nan)
        axis = shown_panels(in_xi([("one", grid, values)]))[0]
        np.testing.assert_array_equal(axis.lines[0].get_ydata(), values)
        assert "kJ/mol" in axis.get_ylabel()

    def test_exact_curve_lies_behind_with_the_mean_of_the_estimate_where_it_is_low(self):
        grid = square(1, 40)
        exact = bowl(grid)
        values = exact + 3.0  # another zero
        values[exact > 20.0] += 50.0  # walls do not count
        items = [biased("known", grid, values, exact=exact), biased("unknown", grid, values)]
        known, unknown = shown_panels(plots.free_energy_in_xi(items, kt=KT))
        assert len(unknown.lines) == 1
        behind, front = known.lines
        np.testing.assert_array_equal(front.get_ydata(), values)
        low = exact < 20.0
        np.testing.assert_allclose(behind.get_ydata()[low], values[low], atol=1e-12)
        assert behind.get_color() == "black"

    def test_exact_curve_of_another_size_is_refused(self):
        grid = square(1, 40)
        with pytest.raises(GridError, match=r"one: exact needs shape \(40,\), got \(39,\)"):
            biased("one", grid, bowl(grid), exact=np.zeros(39))

    def test_three_dimensions_integrate_the_third_out(self):
        # F = f(a) + g(b) + h(c) without holes: the marginal over any component is the sum of the others.
        grid = square(3, 9)
        points = grid.center_points()
        parts = np.stack([points[:, 0] ** 2, 3 * points[:, 1] ** 2, 2 * points[:, 2]], axis=1)
        figure = in_xi([("one", grid, parts.sum(axis=1))])
        panels = shown_panels(figure)
        assert len(panels) == 3
        for axis, (first, second) in zip(panels, [(0, 1), (0, 2), (1, 2)], strict=True):
            third = 3 - first - second
            expected = parts[:, [first, second]].sum(axis=1).reshape(grid.shape).min(axis=third)
            drawn = axis.collections[0].get_array()
            np.testing.assert_allclose(drawn, (expected - expected.min()).T, atol=1e-12)

    def test_marginal_lies_below_the_minimum_where_the_third_is_wide(self):
        # Width matters to a marginal only: one bin at 0 against nine bins at 0 differ by kT ln 9.
        grid = square(3, 9)
        values = np.full(grid.shape, np.nan)
        values[0, 0, 4], values[1, 0, :] = 0.0, 0.0
        marginal = shown_panels(in_xi([("one", grid, values.ravel())]))[0]
        np.testing.assert_allclose(marginal.collections[0].get_array()[0, :2], [KT * np.log(9), 0.0])

    @pytest.mark.parametrize("n_dims", [1, 2, 3])
    def test_nothing_visited_is_said(self, n_dims):
        grid = square(n_dims, 5)
        figure = in_xi([("one", grid, np.full(grid.size, np.nan))])
        assert all("nothing visited" in axis.texts[0].get_text() for axis in shown_panels(figure))

    @pytest.mark.parametrize(
        ("panels", "message"),
        [
            ([], "at least one iteration"),
            ([("one", square(2), np.zeros(5))], r"one: values needs shape \(144,\), got \(5,\)"),
            (
                [("one", square(1), np.zeros(12)), ("two", square(2), np.zeros(144))],
                "two: needs 1 dimensions",
            ),
        ],
    )
    def test_wrong_arrays_are_refused(self, panels, message):
        with pytest.raises(GridError, match=message):
            in_xi(panels)


DISTANCE = Quantity(name="distance", label="distance", unit="nm")
PHI, PSI = (Quantity(name=name, label=name, unit="rad", periodic=True) for name in ("phi", "psi"))


def frames(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray, *, first: Quantity = PHI, **changed: object
) -> Frames:
    """Frames of one walker with two observables."""
    given = {"region": None, "kt": KT, "least_visits": 0.0, "xi": np.zeros((len(x), 1))} | changed
    walker = np.zeros(len(x), dtype=np.int64)
    return Frames(observables=((first, x), (PSI, y)), weights=weights, walker=walker, **given)


class TestFramesInPlane:
    def test_counts_and_reweighted_free_energy(self):
        # Three frames in one bin and one in another; the lone frame carries nine tenths of the weight.
        x, y = np.array([-1.0, -1.0, -1.0, 1.0]), np.array([2.0, 2.0, 2.0, -2.0])
        figure = plots.frames_in_plane(frames(x, y, np.array([1.0, 1.0, 1.0, 27.0])))
        biased, reweighted = (axis.collections[0].get_array() for axis in shown_panels(figure))
        assert sorted(biased.compressed()) == [1, 3]
        np.testing.assert_allclose(sorted(reweighted.compressed()), [0.0, KT * np.log(9)])

    def test_a_bin_that_one_heavy_frame_fills_is_unknown(self):
        """Its weight is the largest of all bins; the others are visited ten times each, in turn."""
        x, y = np.append(np.tile([-1.0, 1.0], 10), 2.5), np.zeros(21)
        weights = np.append(np.tile([3.0, 1.0], 10), 100.0)
        figure = plots.frames_in_plane(frames(x, y, weights, least_visits=3.0))
        grey, reweighted = (item.get_array() for item in shown_panels(figure)[1].collections[:2])
        assert grey.count() == 1
        np.testing.assert_allclose(sorted(reweighted.compressed()), [0.0, KT * np.log(3)])
        every = plots.frames_in_plane(frames(x, y, weights))
        reweighted = shown_panels(every)[1].collections[0].get_array()
        np.testing.assert_allclose(sorted(reweighted.compressed()), KT * np.log([1, 100 / 30, 10]))

    def test_axes_titles_and_region(self):
        rng = np.random.default_rng(3)
        x, y = rng.uniform(-np.pi, np.pi, (2, 1000))
        figure = plots.frames_in_plane(frames(x, y, np.ones(1000), region=(0.0, 2.2)))
        left, right = shown_panels(figure)
        assert left.get_title() == "1,000 frames"
        assert right.get_title().endswith("= 1,000 (grey: unknown)")  # equal weights: every frame counts
        for axis in (left, right):
            np.testing.assert_allclose([*axis.get_xlim(), *axis.get_ylim()], [-np.pi, np.pi] * 2)
            assert (axis.get_xlabel(), axis.get_ylabel()) == (r"$\phi$ [rad]", r"$\psi$ [rad]")
            assert [line.get_xdata()[0] for line in axis.lines] == [0.0, 2.2]

    def test_distance_keeps_its_name_and_range(self):
        x, y = np.linspace(0.2, 1.2, 50), np.linspace(-3, 3, 50)
        figure = plots.frames_in_plane(frames(x, y, np.ones(50), first=DISTANCE))
        axis = shown_panels(figure)[0]
        assert axis.get_xlabel() == "distance [nm]"
        np.testing.assert_allclose(axis.get_xlim(), (0.17, 1.23))

    def test_without_weight_the_panel_says_so(self):
        figure = plots.frames_in_plane(frames(np.zeros(3), np.zeros(3), np.zeros(3)))
        assert "nothing visited" in shown_panels(figure)[1].texts[0].get_text()


def shown_density(figure: Figure, n_components: int) -> tuple[int, np.ndarray]:
    """Number of grey bins, and -ln p of the others, of the first panel of a latent map."""
    axis = shown_panels(figure)[0]
    if n_components == 1:
        grey, line = (patch.get_data().values for patch in axis.patches)
        return int(grey.sum()), np.sort(line[np.isfinite(line)])
    images = [image.get_array() for image in axis.collections]
    return sum(image.count() for image in images[:-1]), np.sort(images[-1].compressed())


def density_labels(figure):
    return [axis.get_ylabel() for axis in figure.axes]


class TestLatentMap:
    @pytest.mark.parametrize("n_components", [1, 2])
    def test_a_bin_that_one_heavy_frame_fills_is_grey_and_not_the_zero(self, n_components):
        """Two places visited 200 times each, in turn, 3 to 1; one frame has nearly all of the weight."""
        x = np.append(np.tile([0.0, 1.0], 200), 3.0)
        weights = np.append(np.tile([3.0, 1.0], 200), 1e4)
        xi = np.stack([x] * n_components, axis=1)
        shares = weights / weights.sum()
        figure = plots.latent_map(xi, {}, shares, periodic={}, least_visits=3.0)
        n_grey, values = shown_density(figure, n_components)
        assert any("weighted" in label for label in density_labels(figure))
        equal = plots.latent_map(xi, {}, np.full(len(x), 1 / len(x)), periodic={})
        assert not any("weighted" in label for label in density_labels(equal))
        assert n_grey == 1
        np.testing.assert_allclose(values, [0.0, np.log(3)], atol=1e-12)
        n_grey, values = shown_density(plots.latent_map(xi, {}, shares, periodic={}), n_components)
        assert n_grey == 0
        np.testing.assert_allclose(values, np.log([1.0, 1e4 / 600, 1e4 / 200]), atol=1e-12)

    @pytest.mark.parametrize("n_components", [1, 2, 3])
    def test_where_nothing_is_known_all_is_grey(self, n_components):
        xi = np.random.default_rng(0).normal(size=(5, n_components))
        figure = plots.latent_map(xi, {"phi": xi[:, 0]}, np.full(5, 0.2), periodic={}, least_visits=9.0)
        render(figure)
        n_grey, values = shown_density(figure, min(n_components, 2))
        assert n_grey > 2
        assert values.size == 0


class TestScoreHistory:
    def test_scores_are_read_off_the_axis(self):
        figure = plots.score_history(history(scores={"score": (0.5, 0.99, 0.999)}))
        axis = figure.axes[0]
        np.testing.assert_allclose(lines_by_label(figure)["weighted"].get_ydata(), [0.5, 0.01, 0.001])
        assert axis.yaxis.get_major_formatter()(0.01, 0) == "0.99"
        bottom, top = axis.get_ylim()
        assert bottom > top  # better scores are higher up

    def test_missing_perfect_and_negative_scores_stay_on_the_picture(self):
        figure = plots.score_history(history(scores={"nonlinear": (float("nan"), 1.0, -0.3)}))
        drawn = lines_by_label(figure)["nonlinear"].get_ydata()
        np.testing.assert_allclose(drawn, [np.nan, 1e-4, 1.0])
        bottom, top = figure.axes[0].get_ylim()
        assert top < 1e-4
        assert bottom > 1.0

    def test_without_any_iteration(self):
        assert plots.score_history(history()).axes[0].get_xlabel() == "iteration"


class TestDeltaFHistory:
    def test_infinite_values_become_arrowheads_at_the_edges(self):
        figure = plots.delta_f_history(history(np.inf, 9.0, np.nan, -np.inf), region="0 < psi < 1")
        lines = lines_by_label(figure)
        low, high = figure.axes[0].get_ylim()
        np.testing.assert_array_equal(lines["pool"].get_ydata(), [np.nan, 9.0, np.nan, np.nan])
        np.testing.assert_array_equal(lines["region never visited"].get_xydata(), [[0, high]])
        np.testing.assert_array_equal(lines["region never left"].get_xydata(), [[3, low]])
        assert low < 9.0 < high
        assert figure.axes[0].get_ylabel() == "$\\Delta F$ [kJ/mol], bars: 95 %\n0 < psi < 1 against the rest"

    def test_a_known_value_is_a_line_inside_the_panel(self):
        figure = plots.delta_f_history(history(3.0, 4.0, exact=9.5), region="in")
        assert lines_by_label(figure)["exact: 9.5"].get_ydata()[0] == 9.5
        low, high = figure.axes[0].get_ylim()
        assert low < 3.0 < 9.5 < high

    def test_nothing_finite(self):
        figure = plots.delta_f_history(history(np.inf), region="in")
        assert np.isfinite(figure.axes[0].get_ylim()).all()


def training(train: np.ndarray, validation: np.ndarray, *, chosen: int = 0) -> Training:
    return Training(iteration=0, train=train, validation=validation, chosen=chosen)


class TestTrainingCurves:
    def test_best_restart_and_its_best_epoch(self):
        validation = np.array([[3.0, 2.5, 2.4, 2.3], [3.0, 1.0, 1.5, np.nan]])
        figure = plots.training_curves(training(0.9 * validation, validation, chosen=1))
        lines = lines_by_label(figure)
        np.testing.assert_array_equal(lines["validation"].get_ydata(), validation[1])
        np.testing.assert_array_equal(lines["training"].get_ydata(), 0.9 * validation[1])
        np.testing.assert_array_equal(lines["other restarts, validation"].get_ydata(), validation[0])
        np.testing.assert_array_equal(lines["kept: epoch 2, 1"].get_xydata(), [[2, 1.0]])
        assert figure.axes[0].get_title() == "restart 1 chosen, of 0 to 1"

    def test_single_restart(self):
        figure = plots.training_curves(training(np.ones((1, 3)), np.ones((1, 3))))
        assert "other restarts, validation" not in lines_by_label(figure)


def test_coverage_history_counts_and_percentages():
    time = np.linspace(0, 10, 5)
    grid = square(2, 50)
    items = [
        biased(f"iteration {k}", grid, np.zeros(2500), time_ns=time, n_visited=100 * time / k) for k in (1, 2)
    ]
    figure = plots.coverage_history(items)
    np.testing.assert_array_equal(lines_by_label(figure)["iteration 1"].get_ydata(), 100 * time)
    axis = figure.axes[0]
    assert axis.get_ylabel() == "visited bins of 2,500"
    percent = axis.child_axes[0]
    percent.figure.draw_without_rendering()
    assert percent.get_ylim()[1] == pytest.approx(axis.get_ylim()[1] / 2500)


class TestMaps:
    phi = np.linspace(-3, 3, 200)

    def coloured(self, xi: np.ndarray) -> Figure:
        """Of phi and a distance."""
        found = frames(self.phi, np.linspace(0, 1, 200), np.ones(200), xi=xi)
        distance = (DISTANCE, found.observables[1][1])
        return plots.cv_coloured_by_observables(replace(found, observables=(found.observables[0], distance)))

    @pytest.mark.parametrize(("n_components", "n_panels", "n_bars"), [(1, 2, 0), (2, 2, 2), (3, 6, 2)])
    def test_panels(self, n_components, n_panels, n_bars):
        xi = np.random.default_rng(0).normal(size=(200, n_components))
        figure = self.coloured(xi)
        assert len(shown_panels(figure)) == n_panels
        assert len(colour_bars(figure)) == n_bars

    def test_every_point_keeps_its_own_colour_value(self):
        xi = np.stack([self.phi, -2 * self.phi], axis=1)
        figure = self.coloured(xi)
        points = shown_panels(figure)[0].collections[0]
        np.testing.assert_allclose(points.get_offsets()[:, 0], points.get_array())
        np.testing.assert_allclose(points.get_offsets()[:, 1], -2 * points.get_array())
        assert (points.norm.vmin, points.norm.vmax) == (-np.pi, np.pi)
        # Both ends of the circle have one colour, or phi = -pi and phi = pi would look different.
        np.testing.assert_allclose(points.cmap(0.0), points.cmap(1.0), atol=0.02)

    def test_outliers_do_not_take_the_colours(self):
        values = np.append(np.linspace(0, 1, 999), 1e6)
        figure = plots.observables_coloured_by_cv(values * 0, values * 0, values[:, None], **PLANE)
        assert shown_panels(figure)[0].collections[0].norm.vmax < 1.01

    def test_one_panel_per_component_and_a_bounded_number_of_points(self):
        rng = np.random.default_rng(0)
        n = plots.maps.MAX_POINTS + 5000
        figure = plots.observables_coloured_by_cv(
            *rng.uniform(-3, 3, (2, n)), rng.normal(size=(n, 3)), **PLANE
        )
        panels = shown_panels(figure)
        assert [axis.get_ylabel() for axis in colour_bars(figure)] == [rf"$\xi_{{{i}}}$" for i in (1, 2, 3)]
        assert {len(axis.collections[0].get_offsets()) for axis in panels} == {plots.maps.MAX_POINTS}


class TestSave:
    def test_png_has_the_figure_s_pixels_and_no_leftovers(self, tmp_path: Path):
        plots.save(plots.score_history(history(0.0)), tmp_path / "score.png")
        height, width, _ = imread(tmp_path / "score.png").shape
        assert (width, height) == (960, 540)  # 6.4 x 3.6 inches at 150 dots
        assert [item.name for item in tmp_path.iterdir()] == ["score.png"]

    def test_same_numbers_same_bytes(self, tmp_path: Path):
        for name in ("a.png", "b.png"):
            plots.save(plots.training_curves(training(np.ones((2, 3)), np.ones((2, 3)))), tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_a_missing_folder_is_a_clear_error(self, tmp_path: Path):
        with pytest.raises(StoreError, match="cannot be written"):
            plots.save(plots.score_history(history(0.0)), tmp_path / "no" / "score.png")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("phi", r"$\phi$"),
        ("phi_2", r"$\phi_{\mathrm{2}}$"),
        ("chi1", r"$\chi_{\mathrm{1}}$"),
        ("xi_1", r"$\xi_{\mathrm{1}}$"),
        ("rmsd", "rmsd"),
    ],
)
def test_symbols_of_angles(name, expected):
    assert plots.style.symbol(name) == expected
