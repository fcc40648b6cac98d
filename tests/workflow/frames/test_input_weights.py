"""Weights of a user's frames: the column that is meant, a bias with its unit, and rows found by time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import SamplingError, SettingsError
from aecv.results.formats.user_tables import read_user_table
from aecv.workflow.frames.input_weights import Weights, as_weights, frame_column, frame_weights

KT_300 = 300.0 * 8.31446261815324e-3


def taken(
    weights: object, n: int, *, times: np.ndarray | None = None, kept: np.ndarray | None = None
) -> np.ndarray:
    return frame_weights(
        as_weights(weights),
        kept=np.arange(n) if kept is None else kept,
        times_ps=np.full(n, np.nan) if times is None else times,
        temperature_k=300.0,
    )


def said(weights: object, n: int, **options: np.ndarray) -> str:
    with pytest.raises(SamplingError) as caught:
        taken(weights, n, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_columns_are_not_twice_as_many_weights(tmp_path: Path) -> None:
    """200 rows of time and weight were 400 weights of 400 frames, times included."""
    path = tmp_path / "w.txt"
    np.savetxt(path, np.stack([np.arange(200) * 2.0, np.arange(200) + 1.0], axis=1))
    assert "w.txt: needs one column, has 2 without names; say which with --weights-column" in said(path, 400)
    weights = Weights(source=path, column=2)
    np.testing.assert_allclose(taken(weights, 200), (np.arange(200) + 1.0) / 20100)
    assert "needs a weight for each of 400 frames, has 200; where a column of it is the time" in said(
        weights, 400
    )
    np.save(tmp_path / "w.npy", np.loadtxt(path))
    assert "w.npy: needs one column, has 2 without names" in said(tmp_path / "w.npy", 400)
    np.testing.assert_allclose(
        taken(Weights(source=tmp_path / "w.npy", column="2"), 200), taken(weights, 200)
    )


def _one(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("suffix", "write"),
    [
        (".txt", _one("weight\n1\n3\n")),
        (".txt", _one("# weight\n1\n3")),
        (".txt", _one("# a file of mine, made on day 7\n\n1\n3\n")),
        (".txt", _one("\ufeffweight\r\n1\r\n3\r\n")),
        (".csv", _one('"weight"\n1\n3\n')),
        ("", _one("#! FIELDS weight\n#! SET min_phi -pi\n 1\n 3\n")),
        ("", _one("#! FIELDS weight\n 1\n#! FIELDS weight\n#! SET min_phi -pi\n 3\n")),
        (".txt", _one("weight\n1\nweight\n3\n")),
        (".npy", lambda path: np.save(path, np.array([1, 3]))),
        (".npy", lambda path: np.save(path, np.array([[1.0], [3.0]]))),
        (".npz", lambda path: np.savez(path, w=[1.0, 3.0], positions=np.zeros((2, 3)))),
    ],
)
def test_one_column_needs_no_name(tmp_path: Path, suffix: str, write: Callable[[Path], None]) -> None:
    path = tmp_path / f"w{suffix}"
    write(path)
    np.testing.assert_allclose(taken(path, 2), [0.25, 0.75])
    np.testing.assert_allclose(taken(str(path), 2), [0.25, 0.75])


@pytest.mark.parametrize(
    ("suffix", "write", "column"),
    [
        ("", _one("#! FIELDS time phi w\n 0 9 1\n 1 9 3\n"), "w"),
        ("", _one("#! FIELDS time phi w\n 0 9 1\n 1 9 3\n"), "3"),
        (".csv", _one("time,phi,w\n0,9,1\n1,9,3\n"), "w"),
        (".csv", _one("time;w\n0;1\n1;3\n"), "w"),
        (".txt", _one("# time phi w\n0 9 1\n1 9 3\n"), "w"),
        (".xvg", _one('# gmx\n@ title "t"\n@ s0 legend "phi"\n@ s1 legend "w"\n 0 9 1\n 1 9 3\n'), "w"),
        (".npz", lambda path: np.savez(path, w=[1.0, 3.0], v=[1.0, 2.0]), "w"),
        (".npy", lambda path: np.save(path, np.array([(9, 1), (9, 3)], [("v", "f8"), ("w", "f8")])), "w"),
    ],
)
def test_a_column_by_its_name(
    tmp_path: Path, suffix: str, write: Callable[[Path], None], column: str
) -> None:
    path = tmp_path / f"w{suffix}"
    write(path)
    assert "needs one column, has " in said(path, 2)
    np.testing.assert_allclose(taken(Weights(source=path, column=column), 2), [0.25, 0.75])
    assert "needs a column 'wt', has" in said(Weights(source=path, column="wt"), 2)
    assert "needs a column '9'" in said(Weights(source=path, column=9), 2)


XVG = '# gmx rms -tu ns\n@    title "RMSD"\n@    xaxis  label "{}"\n@    yaxis  label "RMSD (nm)"\n@TYPE xy\n'


@pytest.mark.parametrize("legend", ["", '@ s0 legend "w"\n'])
@pytest.mark.parametrize(
    ("label", "factor"),
    [("Time (ps)", 1.0), ("Time (ns)", 1e3), ("Time (us)", 1e6), ("Time (fs)", 1e-3), ("Time (ms)", 1e9),
     ("Time", 1.0), ("Residue", None), ("Times", None), ("Time steps", None), ("", None)],
)  # fmt: skip
def test_the_axis_of_an_xvg_tells_its_times(
    label: str, factor: float | None, legend: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.xvg"
    path.write_text(XVG.format(label) + legend + " 0 1\n 0.5 3\n")
    found = read_user_table(path)
    assert list(found.columns) == [label or "x", "w" if legend else "RMSD (nm)"]
    if factor is None:
        assert found.time_ps is None
    else:
        np.testing.assert_allclose(found.time_ps, [0.0, 0.5 * factor])


@pytest.mark.parametrize(
    ("head", "row", "names"),
    [
        (
            '@ xaxis label "Time (ns)"\n@ s0 legend "w"\n',
            "1 2 3",
            ["Time (ns)", "w", "s1"],
        ),  # a band of errors
        ('@ xaxis label "Time (ns)"\n@ yaxis label "nm"\n', "1", ["1"]),
        ('@ yaxis label "nm"\n@TYPE xy\n', "1 2", ["1", "2"]),  # TYPE and xy name no columns
        ('@ xaxis label "Time"\n@ s5 legend "w"\n', "1 2 3", ["1", "2", "3"]),
    ],
)
def test_columns_of_an_xvg_without_legends_of_all(
    head: str, row: str, names: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "w.xvg"
    path.write_text(f"{head} {row}\n {row}\n")
    assert list(read_user_table(path).columns) == names


def test_rows_of_an_xvg_in_ns_are_found_by_time(tmp_path: Path) -> None:
    """Frames at 0, 500 and 1000 ps of rows at 0, 0.25 ... 1 ns."""
    path = tmp_path / "w.xvg"
    path.write_text(XVG.format("Time (ns)") + "".join(f"{0.25 * i} {i + 1.0}\n" for i in range(5)))
    weights = Weights(source=path, column="RMSD (nm)")
    np.testing.assert_allclose(
        taken(weights, 3, times=np.array([0.0, 500.0, 1000.0])), np.array([1.0, 3.0, 5.0]) / 9.0
    )


def test_a_bias_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "COLVAR").write_text("#! FIELDS time opes.bias\n 0 1\n 1 2\n")
    text = said(tmp_path / "COLVAR", 2)
    assert (
        "has time, opes.bias; say which with --weights-column, or a bias (opes.bias) with --bias-column"
        in text
    )
    (tmp_path / "alone").write_text("#! FIELDS opes.bias\n 1\n 2\n")
    assert "its only column is named opes.bias; give a bias with --bias-column" in said(tmp_path / "alone", 2)


@pytest.mark.parametrize(
    ("options", "ratio"),
    [
        ({"bias": ("b",)}, 3.0 / KT_300),
        ({"bias": "b, c"}, 5.0 / KT_300),
        ({"bias": ("b",), "bias_unit": "kcal/mol"}, 3.0 * 4.184 / KT_300),
        ({"bias": ("b",), "bias_unit": "kT"}, 3.0),
        ({"bias": ("b",), "bias_unit": "eV"}, 3.0 * 96.48533212 / KT_300),
        ({"bias": ("b",), "temperature_k": 600.0}, 1.5 / KT_300),
        ({"column": "b", "is_log": True}, 3.0),
    ],
)
def test_a_bias_gives_its_boltzmann_factor(tmp_path: Path, options: dict, ratio: float) -> None:
    """w_2 / w_1 = exp(+(V_2 - V_1) / kT)."""
    (tmp_path / "COLVAR").write_text("#! FIELDS b c\n 1.5 1\n 4.5 3\n")
    first, second = taken(Weights(source=tmp_path / "COLVAR", **options), 2)
    assert np.log(second / first) == pytest.approx(ratio, rel=1e-9)
    assert first + second == pytest.approx(1.0)


def test_large_numbers_do_not_overflow(tmp_path: Path) -> None:
    np.save(tmp_path / "bias.npy", np.array([9000.0, 9000.0 + KT_300 * np.log(3.0)]))
    np.testing.assert_allclose(taken(Weights(source=tmp_path / "bias.npy", bias=("1",)), 2), [0.25, 0.75])
    np.testing.assert_allclose(taken(np.array([0.5e308, 1.5e308]), 2), [0.25, 0.75])
    np.testing.assert_allclose(taken(Weights(source=np.array([-np.inf, 0.0]), is_log=True), 2), [0.0, 1.0])


@pytest.mark.parametrize(
    ("numbers", "options", "message"),
    [
        ([1, np.nan], {}, "finite, not negative and not all zero; that of frame 1 is nan"),
        ([1, -1e-9], {}, "finite, not negative and not all zero; that of frame 1 is -1e-09"),
        ([np.inf, -1], {}, "that of frame 0 is inf, and 1 more are wrong"),
        ([0, 0], {}, "not all zero; all are 0"),
        (
            [1, np.nan],
            {"is_log": True},
            "needs logarithms of weights that are finite or -inf; that of frame 1",
        ),
        ([-np.inf, -np.inf], {"is_log": True}, "needs logarithms of weights that are finite or -inf"),
        ([1, -np.inf], {"bias": ("1",)}, "needs a bias that is finite; that of frame 1 is -inf"),
    ],
)
def test_numbers_that_cannot_be_weights(tmp_path: Path, numbers: list, options: dict, message: str) -> None:
    np.save(tmp_path / "w.npy", np.array(numbers, dtype=float))
    assert message in said(Weights(source=tmp_path / "w.npy", **options), 2)


def test_what_is_said_of_weights_fits_together() -> None:
    for options, message in (
        ({"bias": ("b",), "column": "w"}, "a bias gives the weights alone"),
        ({"bias": ("b",), "bias_unit": "J"}, "got 'J'"),
        ({"bias": ("b",), "temperature_k": 0.0}, "above 0 K"),
        ({"temperature_k": 300.0}, "are of a bias; name its column too"),
    ):
        with pytest.raises(SettingsError, match=message):
            Weights(source=Path("w"), **options)


# by time


def colvar(path: Path, times: np.ndarray, values: np.ndarray, *, restarts: tuple[int, ...] = ()) -> Path:
    """A COLVAR whose header comes again where PLUMED was restarted."""
    lines = ["#! FIELDS time w"]
    for row, (time, value) in enumerate(zip(times, values, strict=True)):
        lines += ["#! FIELDS time w"] if row in restarts else []
        lines.append(f" {time:f} {value:.9g}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_are_found_by_time(tmp_path: Path) -> None:
    """COLVAR every 0.2 ps, frames every 1 ps from the second on, in single precision as an .xtc has them."""
    times = np.arange(501) * 0.2
    path = colvar(tmp_path / "COLVAR", times, times)
    frames = np.arange(1.0, 101.0).astype(np.float32).astype(float)
    found = taken(Weights(source=path, column="w"), 100, times=frames)
    np.testing.assert_allclose(found, frames / frames.sum())
    # as many rows as frames, but of other times
    short = colvar(tmp_path / "short", times[:100], times[:100])
    text = said(Weights(source=short, column="w"), 100, times=frames)
    assert "has none for 81 of 100 (the first at 20 ps; rows from 0 to 19.8 ps, 0.2 ps apart)" in text


@pytest.mark.parametrize("unit", ["time (ns)", "Time/ns", "time[ns]"])
def test_times_have_a_unit(tmp_path: Path, unit: str) -> None:
    (tmp_path / "w.csv").write_text(f"{unit},w\n0.001,1\n0.002,3\n0.003,9\n")
    found = taken(Weights(source=tmp_path / "w.csv", column="w"), 2, times=np.array([1.0, 2.0]))
    np.testing.assert_allclose(found, [0.25, 0.75])


def test_what_a_restart_wrote_again_counts_in_its_last_version(tmp_path: Path) -> None:
    times = np.array([0, 1, 2, 3, 2, 3, 4.0])
    path = colvar(tmp_path / "COLVAR", times, np.array([1, 1, 9, 9, 1, 1, 1.0]), restarts=(4,))
    weights = Weights(source=path, column="w")
    np.testing.assert_allclose(taken(weights, 5, times=np.arange(5.0)), np.full(5, 0.2))
    # frames that the restart wrote again as well: the kept ones by their place
    kept = np.array([0, 1, 4, 5, 6])
    np.testing.assert_allclose(taken(weights, 7, times=times, kept=kept), np.full(5, 0.2))


def test_runs_that_begin_anew_are_not_told_apart_by_time(tmp_path: Path) -> None:
    times = np.array([0, 1, 2, 0, 1, 2.0])
    weights = Weights(source=colvar(tmp_path / "COLVAR", times, np.arange(6.0)), column="w")
    assert "its times begin again at 0 ps, as those of several runs" in said(weights, 3, times=times[:3])
    np.testing.assert_allclose(
        taken(weights, 6, times=times), np.arange(6) / 15
    )  # the same in both: row by row
    one = Weights(source=colvar(tmp_path / "one", times[:3], np.arange(3.0)), column="w")
    assert "needs frames of different times" in said(one, 6, times=times)


def test_times_help_only_where_frames_have_them(tmp_path: Path) -> None:
    weights = Weights(source=colvar(tmp_path / "COLVAR", np.arange(6.0), np.arange(6.0)), column="w")
    np.testing.assert_allclose(taken(weights, 6), np.arange(6) / 15)
    assert "its times help where the trajectory has time stamps too" in said(weights, 3)
    kept = np.arange(0, 5, 2)
    assert "each of 5 frames, before any of them is left out, has 6" in said(weights, 5, kept=kept)


def test_a_row_that_is_being_written_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = colvar(tmp_path / "COLVAR", np.arange(6.0), np.full(6, 1.25))
    path.write_text(path.read_text()[:-3])  # 1.25 became 1.
    found = taken(Weights(source=path, column="w"), 5, times=np.arange(5.0))
    np.testing.assert_allclose(found, np.full(5, 0.2))
    assert "its last row has no line end" in caplog.text
    assert "needs a weight at the time of every frame, has none for 1 of 6" in said(
        Weights(source=path, column="w"), 6, times=np.arange(6.0)
    )


def test_damaged_files_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "long.npy", np.ones(1000))
    (tmp_path / "long.npy").write_bytes((tmp_path / "long.npy").read_bytes()[:300])
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    np.save(tmp_path / "cube.npy", np.ones((2, 2, 2)))
    np.savez(tmp_path / "none.npz", a=np.ones((2, 2)))
    (tmp_path / "broken.npz").write_bytes(b"PK")
    (tmp_path / "ragged.txt").write_text("1 2\n3\n")
    (tmp_path / "mixed.txt").write_text("1\nx\n")
    (tmp_path / "other.txt").write_text("a b\n1 2\na c\n3 4\n")
    (tmp_path / "twice.txt").write_text("a a\n1 2\n")
    for name, message in {
        "long.npy": "needs a readable .npy file",
        "words.npy": "needs numbers, column 1 has <U1",
        "cube.npy": "needs one number per frame, shape",
        "none.npz": "needs an array with one number per frame, shape (n,); has a (2, 2)",
        "broken.npz": "needs a readable .npz archive",
        "ragged.txt": "line 2: a text row needs 2 numbers, got 1 words",
        "mixed.txt": "line 2: needs the same columns throughout (numbers), got x",
        "other.txt": "line 3: needs the same columns throughout (a b), got a c",
        "twice.txt": "needs columns of different names, has a a",
        "broken.np": "needs a file, there is none; did you mean 'broken.npz'",
    }.items():
        assert message in said(tmp_path / name, 2)


def test_any_numbers_of_frames_may_colour_them(tmp_path: Path) -> None:
    path = colvar(tmp_path / "COLVAR", np.arange(6.0), np.array([1, -2, np.nan, 4, 5, 6]))
    found = frame_column(path, "w", kept=np.arange(2), times_ps=np.array([1.0, 3.0]))
    np.testing.assert_array_equal(found, [-2.0, 4.0])
    with pytest.raises(SamplingError, match="say which with FILE:COLUMN"):
        frame_column(path, None, kept=np.arange(2), times_ps=np.array([1.0, 3.0]))


def test_the_bias_of_a_multithermal_run(shared_data: Path) -> None:
    """5001 rows of a COLVAR of PLUMED with the time stamps of its trajectory."""
    path = shared_data / "ala2_vacuum_amber99sbildn" / "multithermal-deeptica" / "COLVAR"
    found = taken(Weights(source=path, bias=("opes.bias",)), 501, times=np.arange(501) * 10.0)
    bias = read_user_table(path).column("opes.bias")[::10]
    expected = np.exp((bias - bias.max()) / KT_300)
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-12)


def test_the_column_of_times_is_no_weight(tmp_path: Path) -> None:
    (tmp_path / "COLVAR").write_text("#! FIELDS time w\n 0 1\n 1 2\n")
    for column in ("time", "1"):
        assert "is 'time'" in said(Weights(source=tmp_path / "COLVAR", column=column), 2)


@pytest.mark.parametrize(("shift", "warned"), [(0.0, False), (0.02, False), (6.28, False), (1.0, True)])
def test_a_file_of_other_frames_is_told_by_the_observables_in_it(
    shift: float, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Times alone fit the COLVAR of any run of that length."""
    phi = np.random.default_rng(0).uniform(-0.5, 0.5, 50)
    rows = "".join(f" {k} {value + shift:.6f} 1.0\n" for k, value in enumerate(phi))
    (tmp_path / "COLVAR").write_text(f"#! FIELDS time phi w\n{rows}")
    frame_weights(
        Weights(source=tmp_path / "COLVAR", column="w"),
        kept=np.arange(50),
        times_ps=np.arange(50.0),
        temperature_k=300.0,
        observables={"phi": phi, "psi": phi},
    )
    assert ("values of phi (by 1) differ" in caplog.text) == warned
