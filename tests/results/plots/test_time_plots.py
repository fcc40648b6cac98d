"""Delta F, scores and basins against time or iterations: numbers as given, and what is unknown is said."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.results import plots
from aecv.results.story.content import History, InTime, Point, Quantity, Walkers
from tests.results.plots.drawn import extent, lines, panels, render

NAN = float("nan")
UNKNOWN = Point(value=NAN, lower=NAN, upper=NAN)


def history(**changed: object) -> History:
    """Of four iterations of which nothing is known."""
    nothing = dict.fromkeys(("score", "unweighted", "nonlinear", "required", "loss"), (NAN,) * 4)
    given = {"index": (0, 1, 2, 3), "pool": (UNKNOWN,) * 4, "alone": (UNKNOWN,) * 4}
    return History(**(nothing | given | changed))


class TestDeltaFInTime:
    time = np.linspace(1.0, 10.0, 10)
    values = np.r_[np.inf, np.inf, np.linspace(12.0, 9.0, 8)]

    def found(self, *, error: float = 0.5) -> InTime:
        finite = np.where(np.isfinite(self.values), self.values, 10.0)
        upper = np.where(np.isfinite(self.values), finite + error, np.inf)
        return InTime(
            time_ns=self.time,
            delta_f=self.values,
            lower=finite - error,
            upper=upper,
            xi_change=None,
            exact=9.25,
        )

    def test_curve_band_final_value_and_exact_line(self):
        figure = plots.delta_f_in_time(self.found(), region="in")
        (axis,), drawn = panels(figure), lines(figure)
        known = np.where(np.isfinite(self.values), self.values, np.nan)
        np.testing.assert_array_equal(drawn["production"].get_ydata(), known)
        assert extent(axis.collections[0], 10.0) == pytest.approx((8.5, 9.5))
        assert len(axis.collections) == 3  # a band, its bars of single points, and hatches
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

    def test_unbounded_end_is_said_and_shapes_are_checked(self):
        figure = plots.delta_f_in_time(self.found(error=np.inf), region="in")
        assert "final: 9 (95 %: no bound)" in lines(figure)
        with pytest.raises(GridError, match=r"lower needs shape \(10,\), got \(2,\)"):
            replace(self.found(), lower=np.ones(2))


class TestErrorBarsOfDeltaF:
    values = (np.inf, 9.0, 9.5, NAN)
    bars = ((8.0, np.inf), (7.0, 11.0), (np.nan, 12.0), (1.0, 2.0))

    def test_bars_hold_the_intervals(self):
        pool = tuple(
            Point(value=v, lower=low, upper=high)
            for v, (low, high) in zip(self.values, self.bars, strict=True)
        )
        alone = tuple(Point(value=v, lower=v - 1, upper=v + 1) for v in (NAN, 8.0, 10.0, 9.0))
        figure = plots.delta_f_history(history(pool=pool, alone=alone), region="in")
        (axis,) = panels(figure)
        low, high = axis.get_ylim()
        drawn = axis.collections[0]
        assert extent(drawn, 1.0) == (7.0, 11.0)
        assert extent(drawn, 0.0)[0] == 8.0
        assert extent(drawn, 0.0)[1] > high
        assert extent(drawn, 2.0)[0] < low
        assert len(drawn.get_paths()) == 3  # no value, no bar
        # Series stand side by side, or their bars would hide each other.
        np.testing.assert_allclose(lines(figure)["iteration alone"].get_xdata() - [0, 1, 2, 3], 0.12)
        assert axis.get_ylabel().startswith(r"$\Delta F$ [kJ/mol], bars: 95 %")

    def test_one_number_per_iteration(self):
        with pytest.raises(GridError, match=r"pool needs shape \(4,\), got \(1,\)"):
            history(pool=(UNKNOWN,))


class TestThresholdOfScores:
    def test_one_threshold_per_iteration(self):
        found = history(score=(NAN, NAN, 0.9, 0.99), required=(NAN, NAN, 0.4, 0.98))
        axis = plots.score_history(found).axes[0]
        (steps,) = axis.collections
        np.testing.assert_allclose([extent(steps, 1.5)[0], extent(steps, 3.5)[0]], [0.6, 0.02])
        # The reference fill begins at the threshold and ends above the best score.
        np.testing.assert_allclose([bar.get_y() for bar in axis.patches], [0.6, 0.02])
        assert axis.get_ylim()[0] > 0.6
        assert "s_" in axis.figure.legends[0].get_texts()[0].get_text()

    def test_no_threshold_and_wrong_lengths(self):
        axis = plots.score_history(history()).axes[0]
        assert (len(axis.patches), len(axis.texts)) == (0, 0)
        assert not [path for item in axis.collections for path in item.get_paths()]
        with pytest.raises(GridError, match=r"required needs shape \(4,\), got \(2,\)"):
            history(required=(0.9, NAN))
        with pytest.raises(GridError, match=r"score needs shape \(4,\), got \(3,\)"):
            history(score=(0.9, 0.9, 0.9))


def walkers(labels: Sequence, counts: Sequence, *, n_observables: int = 0, time_ns: float = 8.0) -> Walkers:
    basin, passages = np.asarray(labels), np.asarray(counts, dtype=np.int64)
    known = [Quantity(name=f"phi_{k}", label="φ", unit="rad") for k in range(n_observables)]
    return Walkers(
        place="here",
        time_ns=np.linspace(0.0, time_ns, basin.shape[-1] + 1)[1:],
        basin=basin,
        observables=tuple((item, np.full(len(passages), -1.234)) for item in known),
        passages=passages,
    )


class TestTransitions:
    def test_rows_titles_and_legend(self):
        labels = np.array([[0, 0, -1, 1], [1, 1, 1, 1]])
        figure = plots.passages(walkers(labels, [[5, 2], [1, 7]]))
        (axis,) = panels(figure)
        image = axis.collections[0]
        np.testing.assert_array_equal(image.get_array(), labels)
        assert axis.get_title() == "3 passages between the starts' basins"  # the diagonal is none
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["start 0, entered 1×", "start 1, entered 2×", "between"]  # noqa: RUF001
        assert (axis.get_xlim(), axis.get_ylim()) == ((0, 8), (1.5, -0.5))  # walker 0 on top
        assert axis.get_yticks().tolist() == [0, 1]
        # Colours of the picture are those of the legend.
        colours = [patch.get_facecolor() for patch in figure.legends[0].get_patches()]
        np.testing.assert_allclose(image.cmap(image.norm([0, 1, -1])), colours)

    def test_long_runs_become_slices_of_what_most_frames_are(self):
        labels = np.zeros((16, 25_000), dtype=np.int64)
        labels[0, 12_500:12_514] = 1  # 14 of the 25 frames of slice 500
        labels[1, 12_500:12_511] = 1  # 11 of them
        figure = plots.passages(walkers(labels, np.zeros((2, 2)), time_ns=5.0))
        drawn = panels(figure)[0].collections[0].get_array()
        assert drawn.shape == (16, plots.coverage.MAX_COLUMNS)
        assert np.argwhere(drawn == 1).tolist() == [[0, 500]]
        assert panels(figure)[0].get_title() == "0 passages between the starts' basins"

    def test_one_walker_no_frames_and_many_basins(self):
        render(plots.passages(walkers(np.empty((1, 0), int), np.zeros((2, 2)))))
        figure = plots.passages(walkers(np.arange(12)[None], np.eye(12)))
        image = panels(figure)[0].collections[0]
        assert len(np.unique(image.cmap(image.norm(np.arange(-1, 12))), axis=0)) == 13

    @pytest.mark.parametrize("n_observables", [0, 2, 14])
    def test_the_legend_stays_inside_the_picture(self, n_observables):
        labels = np.zeros((4, 10), dtype=int)
        found = walkers(labels, np.zeros((4, 4)), n_observables=n_observables)
        assert found.starts("name")[3] == "start 3" + "".join(
            f", phi_{k} -1.23" for k in range(n_observables)
        )
        figure = plots.passages(found)
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
            (np.zeros(5, int), np.zeros((2, 2)), r"basin needs shape"),
            (np.zeros((1, 5), int), np.zeros((3, 2)), r"passages needs shape \(3, 3\), got \(3, 2\)"),
            (np.full((1, 5), 2), np.zeros((2, 2)), r"basins need -1 .. 1, got 2 .. 2"),
        ],
    )
    def test_wrong_arrays_are_refused(self, labels, counts, message):
        with pytest.raises(GridError, match=message):
            walkers(labels, counts)
