"""Free energies with error bars: drawn as given, and an unknown error never looks small."""

import numpy as np
import pytest

from aecv.ground.errors import GridError
from aecv.results import plots
from aecv.results.plots import intervals, surface
from aecv.results.story.content import History, InTime, Landscape, Point, Quantity
from aecv.results.story.uncertainty import isolated
from tests.results.plots.drawn import extent, lines, panels, render

N = 36
PHI = -np.pi + (np.arange(N) + 0.5) * 2 * np.pi / N
F = 10 * (1 - np.cos(PHI))
BAND = (F - 1.0, F + 2.0)
ANGLES = tuple(Quantity(name=name, label=name, unit="rad", periodic=True) for name in ("phi", "psi"))
DISTANCE = Quantity(name="d", label="d", unit="nm")
CENTERS = np.linspace(-np.pi, np.pi, 7)[:-1] + np.pi / 6
PLANE = {"coordinates": ANGLES, "axes": (CENTERS, CENTERS[:4])}


def profile(**changed: object) -> Landscape:
    given = {"coordinates": ANGLES[:1], "axes": (PHI,), "values": F, "interval": BAND}
    return Landscape(**(given | changed))


def history(numbers: list[float], bars: list[tuple[float, float]]) -> History:
    """Of a run that tells Delta F of the pool alone."""
    nothing = (np.nan,) * len(numbers)
    points = tuple(
        Point(value=v, lower=low, upper=high) for v, (low, high) in zip(numbers, bars, strict=True)
    )
    alone = tuple(Point(value=np.nan, lower=np.nan, upper=np.nan) for _ in numbers)
    scores = dict.fromkeys(("score", "unweighted", "nonlinear", "required", "loss"), nothing)
    return History(index=tuple(range(1, len(numbers) + 1)), pool=points, alone=alone, **scores)


class TestIntervals:
    def test_limits_hold_the_values_and_half_as_much_of_the_bounds(self):
        # Values 0 .. 10: bounds may add 5 on either side, and 6 % of the 20 kJ/mol is margin.
        low, high = intervals.energy_limits([[0.0, np.nan, 10.0]], [[-99.0, -np.inf], [99.0, np.inf]])
        assert (low, high) == pytest.approx((-5 - 1.2, 15 + 1.2))

    def test_tight_bounds_do_not_widen_the_limits(self):
        assert intervals.energy_limits([[0.0, 10.0]], [[1.0], [9.0]]) == pytest.approx((-0.6, 10.6))

    def test_limits_end_at_the_ceiling_and_exist_without_values(self):
        assert intervals.energy_limits([[0.0, 1e300]], ceiling=60)[1] == pytest.approx(63.6)
        assert intervals.energy_limits([[np.nan]]) == pytest.approx((-0.5, 1.5))
        # A region never visited has no value, but a lower bound that must be on the picture.
        low, high = intervals.energy_limits([[np.inf]], [[12.0], [np.inf]])
        assert low < 12 < high

    @pytest.mark.parametrize(
        ("known", "expected"),
        [([1], [1]), ([0], [0]), ([1, 0, 1, 1], [1, 0, 0, 0]), ([1, 1, 0, 1], [0, 0, 0, 1])],
    )
    def test_isolated_points(self, known, expected):
        assert isolated(np.array(known, dtype=bool)).tolist() == expected


class TestProfiles:
    def test_line_and_band_hold_the_numbers_given(self):
        figure = plots.profile_with_error([profile()])
        (axis,) = panels(figure)
        np.testing.assert_array_equal(axis.lines[0].get_xydata(), np.stack([PHI, F], axis=1))
        for k in (0, 7, N - 1):
            assert extent(axis.collections[0], PHI[k]) == pytest.approx((F[k] - 1, F[k] + 2))
        assert axis.get_xlim() == pytest.approx((-np.pi, np.pi))
        assert (axis.get_xlabel(), axis.get_ylabel()) == (
            r"$\phi$ [rad]",
            "F [kJ/mol], shaded: ±1.96 SE",
        )
        assert axis.get_legend() is None  # one curve explains itself

    def test_further_curves_and_one_legend_entry_per_label(self):
        figure = plots.profile_with_error([profile(exact=F, czar=F + 1), profile(exact=F)])
        first, second = panels(figure)
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["reweighted", "exact", "CZAR"]
        assert first.get_legend() is second.get_legend() is None  # below the panels, where it hides nothing
        for drawn, k in zip(first.lines[1:], range(2), strict=True):
            np.testing.assert_array_equal(drawn.get_ydata(), F + k)
        assert first.lines[0].get_zorder() > first.lines[1].get_zorder()  # the exact answer lies behind

    @pytest.mark.parametrize("unknown", [np.inf, np.nan])
    def test_unknown_error_fills_the_panel_and_gaps_stay_white(self, unknown):
        values, upper = F.copy(), BAND[1].copy()
        values[[10, 12, 20]] = np.nan  # point 11 stands alone
        upper[5] = unknown
        (axis,) = panels(plots.profile_with_error([profile(values=values, interval=(BAND[0], upper))]))
        assert extent(axis.collections[0], PHI[5])[1] > axis.get_ylim()[1]
        shaded = np.concatenate([path.vertices[:, 0] for path in axis.collections[0].get_paths()])
        assert not np.isclose(shaded[:, None], PHI[[10, 12, 20]]).any()
        assert extent(axis.collections[1], PHI[11]) == pytest.approx((F[11] - 1, F[11] + 2))
        np.testing.assert_array_equal(axis.lines[1].get_xydata(), [[PHI[11], F[11]]])

    def test_rows_of_three_on_one_scale(self):
        wall = profile(coordinates=(DISTANCE,), values=100 * F, error=np.zeros(N), interval=None)
        figure = plots.profile_with_error([profile(), wall, profile(), profile()])
        first, second, *_ = panels(figure)
        assert len(panels(figure)) == 4
        assert 60 < second.get_ylim()[1] < 66
        assert first.get_ylim() == second.get_ylim()  # what is compared by eye has one scale
        # Bin centres lie half a bin inside of the range.
        assert second.get_xlim() == pytest.approx((-np.pi, np.pi))
        assert second.get_xlabel() == "d [nm]"

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: plots.profile_with_error([]), "at least one panel"),
            (lambda: profile(values=F[1:]), r"F along phi: values needs shape \(36,\), got \(35,\)"),
            (lambda: profile(interval=(F, F[:3])), r"upper needs shape \(36,\)"),
            (
                lambda: profile(axes=(np.empty(0),)),
                r"F along phi: needs at least one point per axis, got \(0,\)",
            ),
            (lambda: profile(czar=F[:2]), "F along phi: czar"),
        ],
    )
    def test_wrong_shapes_are_refused(self, call, message):
        with pytest.raises(GridError, match=message):
            call()


class TestPlane:
    values = np.arange(24.0).reshape(6, 4)

    def test_maps_hold_the_numbers_white_where_unknown_grey_where_the_error_is(self):
        values, error = self.values.copy(), 0.1 * (1 + self.values)
        values[0, 0], error[2, 1], error[0, 3] = np.nan, np.inf, np.nan
        figure = plots.plane_with_error(Landscape(values=values, error=error, **PLANE))
        free, errors = panels(figure)
        drawn = free.collections[0].get_array()
        np.testing.assert_array_equal(drawn.filled(np.nan), values.T)
        drawn = errors.collections[1].get_array()
        hidden = np.isnan(values) | ~np.isfinite(error)
        np.testing.assert_array_equal(drawn.mask, hidden.T)
        np.testing.assert_array_equal(drawn.compressed(), error.T[~hidden.T])
        grey = errors.collections[0].get_array()
        np.testing.assert_array_equal(~grey.mask, (hidden & np.isfinite(values)).T)
        assert errors.get_title() == "standard error (grey: unknown)"
        # Their own scales: energies to 23 in bands that widen, errors to 2.4 kJ/mol.
        assert free.collections[0].norm.vmax == pytest.approx(30)
        assert free.get_title() == "free energy (blank: unknown; hatched: its error is)"
        hatched = free.collections[-1]
        assert hatched.get_hatch()
        assert int((~np.ma.getmaskarray(hatched.get_array())).sum()) == 2
        assert errors.collections[1].norm.vmax == pytest.approx(2.4)

    def test_where_no_error_is_finite_it_is_said_without_a_scale(self):
        error = np.full_like(self.values, np.inf)
        figure = plots.plane_with_error(Landscape(values=self.values, error=error, **PLANE))
        free, errors = panels(figure)
        assert [text.get_text() for text in errors.texts] == ["no finite error"]
        assert not free.texts
        assert len(figure.axes) == 3  # one colour bar, that of the free energy

    def test_difference_to_a_reference(self):
        reference = self.values + np.linspace(-3, 1, 24).reshape(6, 4)
        reference[5, 3] = np.nan
        plane = Landscape(values=self.values, error=self.values, exact=reference, **PLANE)
        figure = plots.plane_with_error(plane)
        image = panels(figure)[2].collections[0]
        np.testing.assert_allclose(image.get_array().filled(np.nan), (self.values - reference).T)
        assert image.norm.vmin == -image.norm.vmax  # the middle of the colours is no difference
        assert len(figure.axes) == 6

    @pytest.mark.parametrize(
        ("values", "ceiling", "finest", "expected"),
        [
            ([0.0, 12.0], 60, 1.0, np.arange(13)),  # a whole number of steps opens no further band
            ([-3.0, 19.0], 60, 1.0, np.arange(-4, 21, 2)),
            ([0.0, 1e300], 60, 1.0, np.arange(0, 61, 5)),
            ([0.003, 0.04], 60, 0.01, [0, 0.01, 0.02, 0.03, 0.04]),
            ([np.nan], 60, 1.0, np.arange(11)),
        ],
    )
    def test_bands_have_round_boundaries(self, values, ceiling, finest, expected):
        np.testing.assert_allclose(surface.levels([np.array(values)], ceiling, finest=finest), expected)

    @pytest.mark.parametrize("which", ["values", "error", "exact"])
    def test_wrong_shapes_are_refused(self, which):
        arrays = {"values": self.values, "error": self.values} | {which: self.values.T}
        with pytest.raises(GridError, match=rf"{which} needs shape \(6, 4\), got \(4, 6\)"):
            Landscape(**arrays, **PLANE)


DEGENERATE = {
    "single point": np.array([3.0]),
    "all NaN": np.full(3, np.nan),
    "extreme": np.array([-1e300, 1e300, 0.0, np.inf, 1.0, -np.inf, np.nan, 2.0]),
    "constant": np.zeros(4),
}


@pytest.mark.parametrize("values", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_values_are_drawn_without_a_warning(values):
    x = np.arange(1.0, len(values) + 1)
    interval = (values - 1, np.where(np.isfinite(values), np.inf, np.nan))
    along = {"coordinates": (DISTANCE,), "axes": (x,)}
    render(plots.profile_with_error([Landscape(values=values, interval=interval, exact=values, **along)]))
    if len(values) > 1:
        square = np.repeat(values[:, None], len(values), axis=1)
        plane = {"coordinates": (DISTANCE, DISTANCE), "axes": (x, x)}
        render(plots.plane_with_error(Landscape(values=square, error=abs(square), exact=-square, **plane)))
    found = InTime(time_ns=x, delta_f=values, lower=interval[0], upper=interval[1], xi_change=None, exact=1.0)
    render(plots.delta_f_in_time(found, region="in"))
    made = history(list(values), list(zip(*interval, strict=True)))
    render(plots.delta_f_history(made, region="in"))


class TestUnknownErrors:
    upper = np.where((PHI > 0.5) & (PHI < 1.5), np.inf, F + 1.0)

    def test_a_curve_is_dashed_and_hatched_where_its_error_is_unknown(self):
        figure = plots.profile_with_error([profile(interval=(F - 1.0, self.upper))])
        (axis,) = panels(figure)
        bare = np.isinf(self.upper)
        drawn = lines(figure)
        np.testing.assert_array_equal(np.isnan(drawn["reweighted"].get_ydata()), bare)
        dashed = drawn["error unknown"]
        assert dashed.is_dashed()
        np.testing.assert_array_equal(dashed.get_ydata()[bare], F[bare])
        hatched = [item for item in axis.collections if item.get_hatch()]
        assert len(hatched) == 1
        assert extent(hatched[0], PHI[bare][0]) == axis.get_ylim()
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
        assert texts == ["reweighted", "error unknown"]
        render(figure)

    def test_a_known_error_everywhere_has_no_hatches(self):
        (axis,) = panels(plots.profile_with_error([profile()]))
        assert not [item for item in axis.collections if item.get_hatch()]

    def test_a_bar_without_an_end_is_dashed_and_its_marker_hollow(self):
        made = history([8.0, 8.5], [(7.0, 9.0), (-np.inf, np.inf)])
        figure = plots.delta_f_history(made, region="in")
        (axis,) = panels(figure)
        (drawn,) = axis.collections
        assert [pattern is None for _, pattern in drawn.get_linestyle()] == [True, False]
        hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
        np.testing.assert_array_equal(hollow[0].get_xydata(), [[2.0, 8.5]])
        assert "error unknown" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_bands_tell_basins_apart_that_a_few_kj_mol_divide():
    """C7eq, C5 and what lies between them: 0, 1 and 3.5 kJ/mol, on one scale with 60."""
    levels = surface.energy_levels([np.array([0.0, 1.2, 3.5, 60.0])], 60.0)
    assert len(set(np.digitize([0.0, 1.2, 3.5], levels))) == 3
    assert levels[-1] == 60.0
    assert len(levels) < 16
    np.testing.assert_array_equal(surface.energy_levels([np.array([-3.0, 5.0])], 60.0)[0], -3.0)


def test_the_name_of_the_system_stands_in_the_file(tmp_path):
    figure = plots.profile_with_error([profile()])
    plots.save(figure, tmp_path / "a.svg", name="ala2, iteration 3")
    assert figure.get_suptitle() == "ala2, iteration 3"
    assert (tmp_path / "a.svg").stat().st_size > 1000
