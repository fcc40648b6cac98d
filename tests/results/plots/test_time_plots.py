"""Delta F, scores and basins against time or iterations: numbers as given, and what is unknown is said."""

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.results import plots
from tests.results.plots.drawn import extent, lines, panels, render


class TestConvergenceInTime:
    time = np.linspace(1.0, 10.0, 10)
    values = np.r_[np.inf, np.inf, np.linspace(12.0, 9.0, 8)]
    label = "in against out"

    def estimate(self, name: str = "production", *, error: float = 0.5) -> plots.Estimate:
        finite = np.where(np.isfinite(self.values), self.values, 10.0)
        interval = (finite - error, np.where(np.isfinite(self.values), finite + error, np.inf))
        return plots.Estimate(label=name, time_ns=self.time, values=self.values, interval=interval)

    def test_curve_band_final_value_and_exact_line(self):
        figure = plots.convergence_in_time([self.estimate()], label=self.label, reference=9.25)
        (axis,), drawn = panels(figure), lines(figure)
        known = np.where(np.isfinite(self.values), self.values, np.nan)
        np.testing.assert_array_equal(drawn["production"].get_ydata(), known)
        assert extent(axis.collections[0], 10.0) == pytest.approx((8.5, 9.5))
        assert drawn["final: 9 (95 %: 8.5 to 9.5)"].get_ydata()[0] == 9.0
        assert drawn["exact: 9.25"].get_ydata()[0] == 9.25
        edge = drawn["region never visited"].get_ydata()
        np.testing.assert_array_equal(np.isnan(edge), self.values != np.inf)
        assert edge[0] == axis.get_ylim()[1]
        assert axis.get_xlim() == (0, 10)
        # While the region was never visited the interval is one-sided: at least 9.5 kJ/mol.
        low, high = extent(axis.collections[0], 1.0)
        assert low == 9.5
        assert high > axis.get_ylim()[1]

    def test_many_iterations_show_only_the_band_of_the_last(self):
        few = [self.estimate(f"iteration {k}") for k in range(2)] + [self.estimate()]
        assert len(panels(plots.convergence_in_time(few, label=self.label))[0].collections) == 3 * 3
        many = [self.estimate(f"iteration {k}") for k in range(3)] + [self.estimate()]
        figure = plots.convergence_in_time(many, label=self.label)
        assert len(panels(figure)[0].collections) == 3  # a band, its bars of single points, and hatches
        assert lines(figure)["production"].get_linewidth() > lines(figure)["iteration 0"].get_linewidth()

    def test_unbounded_end_is_said_and_shapes_are_checked(self):
        figure = plots.convergence_in_time([self.estimate(error=np.inf)], label=self.label)
        assert "final: 9 (95 %: no bound)" in lines(figure)
        with pytest.raises(GridError, match="at least one estimate"):
            plots.convergence_in_time([], label=self.label)
        with pytest.raises(GridError, match=r"'a': values needs shape \(10,\), got \(2,\)"):
            plots.Estimate(label="a", time_ns=self.time, values=np.ones(2))


class TestErrorBarsOfDeltaF:
    values = {"pool": [np.inf, 9.0, 9.5, None], "alone": [None, 8.0, 10.0, 9.0]}  # noqa: RUF012
    bars = {"pool": [(8.0, np.inf), (7.0, 11.0), (np.nan, 12.0), (1.0, 2.0)]}  # noqa: RUF012

    def test_bars_hold_the_intervals(self):
        figure = plots.delta_f_history([0, 1, 2, 3], self.values, label="in", error_bars=self.bars)
        (axis,) = panels(figure)
        low, high = axis.get_ylim()
        drawn = axis.collections[0]
        assert extent(drawn, 1.0) == (7.0, 11.0)
        assert extent(drawn, 0.0)[0] == 8.0
        assert extent(drawn, 0.0)[1] > high
        assert extent(drawn, 2.0)[0] < low
        assert len(drawn.get_paths()) == 3  # no value, no bar
        # Series stand side by side, or their bars would hide each other.
        np.testing.assert_allclose(lines(figure)["alone"].get_xdata() - [0, 1, 2, 3], 0.12)
        assert axis.get_ylabel().startswith(r"$\Delta F$ [kJ/mol], bars: 95 %")

    def test_one_interval_per_iteration(self):
        with pytest.raises(GridError, match="one interval or None per point, 4, got 1"):
            plots.delta_f_history([0, 1, 2, 3], self.values, label="in", error_bars={"pool": [None]})


class TestThresholdOfScores:
    scores = {"weighted": [None, 0.9, 0.99]}  # noqa: RUF012

    @pytest.mark.parametrize("kind", [list, np.array])
    def test_one_threshold_per_iteration(self, kind):
        s_min = kind([np.nan, 0.4, 0.98])
        axis = plots.score_history([0, 1, 2], self.scores, s_min=s_min).axes[0]
        (steps,) = axis.collections
        np.testing.assert_allclose([extent(steps, 0.5)[0], extent(steps, 2.5)[0]], [0.6, 0.02])
        # The reference fill begins at the threshold and ends above the best score.
        np.testing.assert_allclose([bar.get_y() for bar in axis.patches], [0.6, 0.02])
        assert axis.get_ylim()[0] > 0.6
        assert "s_" in axis.figure.legends[0].get_texts()[0].get_text()

    def test_no_threshold_and_wrong_lengths(self):
        axis = plots.score_history([0, 1, 2], self.scores, s_min=None).axes[0]
        assert (len(axis.patches), len(axis.collections), len(axis.texts)) == (0, 0, 0)
        with pytest.raises(GridError, match=r"s_min needs shape \(3,\), got \(2,\)"):
            plots.score_history([0, 1, 2], self.scores, s_min=[0.9, None])
        with pytest.raises(GridError, match=r"weighted needs shape \(2,\), got \(3,\)"):
            plots.score_history([0, 1], self.scores, s_min=0.9)


class TestTransitions:
    names = ("C7eq", "C7ax")

    def test_rows_titles_and_legend(self):
        labels = np.array([[0, 0, -1, 1], [1, 1, 1, 1]])
        figure = plots.passages(labels, [[5, 2], [1, 7]], names=self.names, time_ns=8.0)
        (axis,) = panels(figure)
        image = axis.collections[0]
        np.testing.assert_array_equal(image.get_array(), labels)
        assert axis.get_title() == "3 passages between the starts' basins"  # the diagonal is none
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["C7eq, entered 1×", "C7ax, entered 2×", "between"]  # noqa: RUF001
        assert (axis.get_xlim(), axis.get_ylim()) == ((0, 8), (1.5, -0.5))  # walker 0 on top
        assert axis.get_yticks().tolist() == [0, 1]
        # Colours of the picture are those of the legend.
        colours = [patch.get_facecolor() for patch in figure.legends[0].get_patches()]
        np.testing.assert_allclose(image.cmap(image.norm([0, 1, -1])), colours)

    def test_long_runs_become_slices_of_what_most_frames_are(self):
        labels = np.zeros((16, 25_000), dtype=np.int64)
        labels[0, 12_500:12_514] = 1  # 14 of the 25 frames of slice 500
        labels[1, 12_500:12_511] = 1  # 11 of them
        figure = plots.passages(labels, np.zeros((2, 2)), names=self.names, time_ns=5.0)
        drawn = panels(figure)[0].collections[0].get_array()
        assert drawn.shape == (16, plots.coverage.MAX_COLUMNS)
        assert np.argwhere(drawn == 1).tolist() == [[0, 500]]
        assert panels(figure)[0].get_title() == "0 passages between the starts' basins"

    def test_one_walker_no_frames_and_many_basins(self):
        render(plots.passages(np.empty((1, 0), int), np.zeros((2, 2)), names=self.names, time_ns=1.0))
        names = [f"basin {k}" for k in range(12)]
        figure = plots.passages(np.arange(12)[None], np.eye(12, dtype=int), names=names, time_ns=1.0)
        image = panels(figure)[0].collections[0]
        assert len(np.unique(image.cmap(image.norm(np.arange(-1, 12))), axis=0)) == 13

    @pytest.mark.parametrize("n_observables", [0, 2, 14])
    def test_the_legend_stays_inside_the_picture(self, n_observables):
        known = "".join(f", phi_{k} -1.23" for k in range(n_observables))
        names = [f"start {k}{known}" for k in range(4)]
        labels = np.zeros((4, 10), dtype=int)
        figure = plots.passages(labels, np.zeros((4, 4)), names=names, time_ns=1.0)
        figure.canvas.draw()
        legend, whole = figure.legends[0].get_window_extent(), figure.bbox
        assert legend.x0 >= 0
        assert legend.x1 <= whole.x1
        assert legend.y0 >= 0
        # the panel keeps the height of its walkers
        assert panels(figure)[0].get_window_extent().height > 0.25 * 4 * figure.dpi

    @pytest.mark.parametrize(
        ("labels", "counts", "message"),
        [
            (np.zeros(5, int), np.zeros((2, 2)), r"labels needs shape \(n_walkers, n_frames\), got \(5,\)"),
            (np.zeros((0, 5), int), np.zeros((2, 2)), "labels needs shape"),
            (np.zeros((1, 5), int), np.zeros((3, 3)), r"counts needs shape \(2, 2\) for 2 names"),
            (np.full((1, 5), 2), np.zeros((2, 2)), r"labels need -1 .. 1, got 2 .. 2; name every basin"),
        ],
    )
    def test_wrong_arrays_are_refused(self, labels, counts, message):
        with pytest.raises(GridError, match=message):
            plots.passages(labels, counts, names=self.names, time_ns=1.0)
