"""Files that other programs read: round trips, the exact layout, and messages for damaged ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from aecv.ground.errors import GridError, StoreError
from aecv.ground.grid import Grid
from aecv.results.formats.colvar import read_colvar, write_colvar
from aecv.results.formats.fes import read_fes, write_fes
from aecv.results.formats.grids import read_multicolumn, write_count, write_gradient, write_pmf
from aecv.results.formats.trajectory import count_frames, pick_frames, write_dcd, write_pdb

GRID = Grid(lower=(-1.5, 0.0), upper=(1.5, 1.0), n_bins=(3, 2))


# COLVAR


def test_colvar_round_trip(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    columns = {
        "time": np.arange(50) * 0.1,
        "phi": rng.uniform(-3, 3, 50),
        "weight": rng.exponential(1e-9, 50),
    }
    write_colvar(tmp_path / "colvar.dat", columns, periodic=["phi"])
    back = read_colvar(tmp_path / "colvar.dat")
    assert list(back) == list(columns)
    for name, values in columns.items():
        np.testing.assert_allclose(back[name], values, rtol=1e-9)


def test_colvar_text(tmp_path: Path) -> None:
    write_colvar(tmp_path / "c", {"time": [0.0, 0.1], "phi": [1.5, np.nan]}, periodic=["phi"])
    text = (tmp_path / "c").read_text(encoding="utf-8")
    assert text == "#! FIELDS time phi\n#! SET min_phi -pi\n#! SET max_phi pi\n 0 1.5\n 0.1 nan\n"


def test_colvar_of_a_restarted_plumed_run(tmp_path: Path) -> None:
    header = "#! FIELDS time phi\n#! SET min_phi -pi\n"
    (tmp_path / "c").write_text(header + " 0 1\n" + header + "# note\n 1 2\n", encoding="utf-8")
    assert read_colvar(tmp_path / "c")["phi"].tolist() == [1.0, 2.0]


def test_colvar_of_plumed(shared_data: Path) -> None:
    columns = read_colvar(shared_data / "ala2_vacuum_amber99sbildn" / "unbiased-sA" / "COLVAR")
    assert next(iter(columns)) == "time"
    assert len({len(values) for values in columns.values()}) == 1
    assert np.all(np.diff(columns["time"]) > 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty one"),
        (" 0 1\n", "needs a line '#! FIELDS time"),
        ("#! FIELDS time phi\n 0 1\n 1\n", r"line 3: a COLVAR row needs 2 numbers, got 1 words"),
        ("#! FIELDS time phi\n 0 1\n 1 x\n", r"line 3: .*got 'x'"),
        ("#! FIELDS time phi\n 0 1\n#! FIELDS time psi\n", r"line 3: needs the same fields"),
        ("#! FIELDS time time\n 0 1\n", "different names"),
    ],
)
def test_malformed_colvar(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        read_colvar(tmp_path / "c")


@pytest.mark.parametrize("reader", [read_colvar, read_fes, read_multicolumn, count_frames])
def test_missing_or_binary_file(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(500))
    for name in ("absent", "noise"):
        with pytest.raises(StoreError, match=f"{name}: needs a"):
            reader(tmp_path / name)


@pytest.mark.parametrize("columns", [{}, {"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}, {"a b": [1.0]}])
def test_unwritable_columns(tmp_path: Path, columns: dict[str, list[float]]) -> None:
    with pytest.raises(StoreError, match="COLVAR"):
        write_colvar(tmp_path / "c", columns)
    assert list(tmp_path.iterdir()) == []


# fes


def test_fes_text_has_plumeds_layout(tmp_path: Path) -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 0.0]])
    axes = [GRID.centers(0), GRID.centers(1)]
    write_fes(tmp_path / "f", axes, values, ["xi_1", "phi"], [False, True])
    lines = (tmp_path / "f").read_text(encoding="utf-8").splitlines()
    assert lines[:9] == [
        "#! FIELDS xi_1 phi file.free",
        "#! SET min_xi_1 -1", "#! SET max_xi_1 1", "#! SET nbins_xi_1 3", "#! SET periodic_xi_1 false",
        "#! SET min_phi 0.25", "#! SET max_phi 1.25", "#! SET nbins_phi 2", "#! SET periodic_phi true",
    ]  # fmt: skip
    assert [line.split()[-1] if line else "" for line in lines[9:]] == ["1", "3", "5", "", "2", "inf", "0"]


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_fes_round_trip(tmp_path: Path, n_dims: int) -> None:
    rng = np.random.default_rng(n_dims)
    shape = (5, 4, 3)[:n_dims]
    axes = [np.linspace(-1, 1 + k, n) for k, n in enumerate(shape)]
    values, derivative = rng.normal(size=shape), rng.normal(size=(*shape, n_dims))
    values.flat[1] = np.nan
    names = ["a", "b", "c"][:n_dims]
    write_fes(tmp_path / "f", axes, values.ravel(), names, [False] * n_dims, derivative.reshape(-1, n_dims))
    back = read_fes(tmp_path / "f")
    assert back.names == tuple(names)
    assert back.derivative is not None
    np.testing.assert_allclose(back.values, values, rtol=1e-9)
    np.testing.assert_allclose(back.derivative, derivative, rtol=1e-9)
    for axis, expected in zip(back.axes, axes, strict=True):
        np.testing.assert_allclose(axis, expected, atol=1e-9)


@pytest.mark.parametrize("n_dims", [1, 2])
@pytest.mark.parametrize("with_derivative", [False, True])
def test_fes_error_round_trip(tmp_path: Path, n_dims: int, with_derivative: bool) -> None:
    rng = np.random.default_rng(n_dims)
    shape, names = (5, 4)[:n_dims], ["a", "b"][:n_dims]
    values, error = rng.normal(size=shape), rng.exponential(size=shape)
    derivative = rng.normal(size=(*shape, n_dims)) if with_derivative else None
    error.flat[2], error.flat[3] = np.nan, np.inf  # both mean: unknown
    axes = [np.linspace(0, 1, n) for n in shape]
    write_fes(tmp_path / "f", axes, values, names, [False] * n_dims, derivative, error=error.ravel())
    fields = (tmp_path / "f").read_text(encoding="utf-8").splitlines()[0].split()[2:]
    slopes = [f"der_{name}" for name in names] if with_derivative else []
    # The error is last: programs that count columns find the derivatives right after the free energy.
    assert fields == [*names, "file.free", *slopes, "uncertainty"]
    back = read_fes(tmp_path / "f")
    assert back.error is not None
    np.testing.assert_allclose(back.values, values, rtol=1e-9)
    np.testing.assert_allclose(back.error, np.where(np.isinf(error), np.nan, error), rtol=1e-9)
    assert (back.derivative is not None) == with_derivative
    if derivative is not None and back.derivative is not None:
        np.testing.assert_allclose(back.derivative, derivative, rtol=1e-9)


def test_fes_without_error_has_none(tmp_path: Path) -> None:
    write_fes(tmp_path / "f", [GRID.centers(0)], np.zeros(3), ["a"], [False], np.ones(3))
    back = read_fes(tmp_path / "f")
    assert back.error is None
    assert back.derivative is not None


def test_fes_of_plumeds_block_averages(tmp_path: Path) -> None:
    # The layout of FES_from_Reweighting.py --blocks: more SET lines, and no derivatives.
    rows = " 0.25  1.5 0.1\n 0.75  0 0.2\n"
    header = "#! FIELDS d file.free uncertainty\n#! SET sample_size 100\n#! SET blocks_num 3\n"
    header += "#! SET min_d 0.25\n#! SET max_d 0.75\n#! SET nbins_d 2\n#! SET periodic_d false\n"
    (tmp_path / "f").write_text(header + rows, encoding="utf-8")
    back = read_fes(tmp_path / "f")
    assert back.derivative is None
    assert back.error is not None
    assert back.error.tolist() == [0.1, 0.2]


def test_fes_with_a_missing_row(tmp_path: Path) -> None:
    write_fes(tmp_path / "f", [GRID.centers(0), GRID.centers(1)], np.zeros(6), ["a", "b"], [False, False])
    text = (tmp_path / "f").read_text(encoding="utf-8").rstrip().rsplit("\n", 1)[0]
    (tmp_path / "f").write_text(text + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match="cut off after row 5 of 6, line 15: its header promises 3 x 2"):
        read_fes(tmp_path / "f")


def test_fes_refuses_uneven_axes_and_wrong_sizes(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="evenly spaced"):
        write_fes(tmp_path / "f", [[0.0, 1.0, 3.0]], np.zeros(3), ["a"], [False])
    with pytest.raises(StoreError, match="6 values"):
        write_fes(tmp_path / "f", [[0.0, 1.0, 2.0], [0.0, 1.0]], np.zeros(5), ["a", "b"], [False, False])
    for wrong, message in (
        ({"error": np.zeros(4)}, r"error needs shape \(3,\) .*got shape \(4,\)"),
        ({"derivative": np.zeros(4)}, r"derivative needs shape \(3, 1\)"),
    ):
        with pytest.raises(StoreError, match=message):
            write_fes(tmp_path / "f", [[0.0, 1.0, 2.0]], np.zeros(3), ["a"], [False], **wrong)
    assert list(tmp_path.iterdir()) == []


# Colvars grids


def test_multicolumn_text_has_colvars_layout(tmp_path: Path) -> None:
    write_count(tmp_path / "g", replace(GRID, periodic=(False, True)), np.arange(6))
    lines = (tmp_path / "g").read_text(encoding="utf-8").splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["#", "2"], ["#", "-1.5", "1", "3", "0"], ["#", "0", "0.5", "2", "1"]
    ]  # fmt: skip
    rows = [[float(word) for word in line.split()] for line in lines[3:]]
    assert rows[:4] == [[], [-1.0, 0.25, 0.0], [-1.0, 0.75, 1.0], []]  # an empty line, then last one fastest
    assert len(rows) == 9


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_gradient_round_trip(tmp_path: Path, n_dims: int) -> None:
    grid = Grid(lower=(-1.0, 0.1, 2.0)[:n_dims], upper=(1.0, 0.7, 3.0)[:n_dims], n_bins=(4, 3, 5)[:n_dims])
    gradient = np.random.default_rng(1).normal(size=(grid.size, n_dims))
    gradient[2] = np.nan
    write_gradient(tmp_path / "g", grid, gradient)
    back, values, periodic = read_multicolumn(tmp_path / "g")
    assert back.n_bins == grid.n_bins
    np.testing.assert_allclose([back.lower, back.upper], [grid.lower, grid.upper], rtol=1e-14)
    np.testing.assert_allclose(values, np.nan_to_num(gradient), rtol=1e-13)
    assert periodic == (False,) * n_dims


def test_pmf_keeps_unvisited_bins(tmp_path: Path) -> None:
    values = np.array([0.0, np.nan, 2.0, 3.0, np.nan, 5.0])
    write_pmf(tmp_path / "p", GRID, values)
    np.testing.assert_array_equal(read_multicolumn(tmp_path / "p")[1][:, 0], values)
    assert "inf" in (tmp_path / "p").read_text(encoding="utf-8")


def test_damaged_grids(tmp_path: Path) -> None:
    with pytest.raises(GridError, match=r"need shape \(6, n\), got \(5, 1\)"):
        write_count(tmp_path / "g", GRID, np.arange(5))
    write_count(tmp_path / "g", GRID, np.arange(6))
    text = (tmp_path / "g").read_text(encoding="utf-8")
    (tmp_path / "g").write_text(text.rstrip().rsplit("\n", 1)[0] + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match="cut off after row 5 of 6, line 11: its header promises 3 x 2 bins"):
        read_multicolumn(tmp_path / "g")
    (tmp_path / "g").write_text(text + text.splitlines()[-1] + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"line \d+: needs 6 rows, as its header promises 3 x 2 bins; has 7"):
        read_multicolumn(tmp_path / "g")
    (tmp_path / "g").write_text(text.replace("# 2", "# 3"), encoding="utf-8")
    with pytest.raises(StoreError, match="needs the Colvars header"):
        read_multicolumn(tmp_path / "g")


def _written(path: Path, kind: str) -> Callable[[Path], object]:
    """A small file of a kind, and its reader."""
    if kind == "colvar":
        write_colvar(path, {"time": np.arange(4) * 0.25, "phi": np.array([1.25, -2.5, 3.125, 0.75])})
        return read_colvar
    if kind == "grid":
        write_pmf(path, GRID, np.arange(6) + 0.125)
        return read_multicolumn
    dims = int(kind.removeprefix("fes"))
    axes = [np.linspace(0.0, 1.0, 4), np.linspace(-1.0, 1.0, 3)][:dims]
    values = np.arange(4 * 3 ** (dims - 1)) + 0.125
    write_fes(path, axes, values, ["a", "b"][:dims], [False] * dims, error=values)
    return read_fes


@pytest.mark.parametrize("kind", ["colvar", "grid", "fes1", "fes2"])
def test_a_file_that_is_cut_anywhere_is_refused(tmp_path: Path, kind: str) -> None:
    """A half of a profile still parses, and so does a row whose last number lost its digits."""
    reader = _written(tmp_path / "whole", kind)
    content = (tmp_path / "whole").read_bytes()
    for length in range(len(content)):
        # a COLVAR's header tells no number of rows: of those that are whole nobody can say
        if kind == "colvar" and content[:length].endswith(b"\n"):
            continue
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(StoreError, match=r"/cut(: |, line \d+: )"):
            reader(tmp_path / "cut")


def test_where_a_profile_was_cut_is_said(tmp_path: Path) -> None:
    write_fes(tmp_path / "f", [np.linspace(0, 1, 90)], np.zeros(90), ["a"], [False])
    lines = (tmp_path / "f").read_text().splitlines(keepends=True)
    (tmp_path / "f").write_text("".join(lines[:50]))
    with pytest.raises(
        StoreError, match="cut off after row 45 of 90, line 50: its header promises 90 points"
    ):
        read_fes(tmp_path / "f")
    (tmp_path / "f").write_text("".join(lines)[:-4])
    with pytest.raises(StoreError, match="cut off in line 95, which has no line end"):
        read_fes(tmp_path / "f")


@pytest.mark.parametrize(("n_points", "is_whole"), [(5, True), (4, False), (3, False)])
def test_old_sum_hills_count_intervals(tmp_path: Path, n_points: int, is_whole: bool) -> None:
    """nbins 4 and 5 points from min to max: one less is a file that was cut."""
    header = "#! FIELDS d file.free der_d\n#! SET min_d 0\n#! SET max_d 1\n#! SET nbins_d 4\n"
    rows = "".join(f" {0.25 * k:.9f} {k} 0\n" for k in range(n_points))
    (tmp_path / "f").write_text(header + "#! SET periodic_d false\n" + rows)
    if is_whole:
        assert read_fes(tmp_path / "f").values.tolist() == [0, 1, 2, 3, 4]
        return
    with pytest.raises(StoreError, match=f"cut off after row {n_points} of 5"):
        read_fes(tmp_path / "f")


# trajectories


def _topology(n_atoms: int) -> mdtraj.Topology:
    topology = mdtraj.Topology()
    residue = topology.add_residue("UNK", topology.add_chain())
    for index in range(n_atoms):
        topology.add_atom(f"C{index}", mdtraj.element.carbon, residue)
    return topology


def test_dcd_is_read_by_mdtraj(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).normal(size=(7, 5, 3))
    assert write_dcd(tmp_path / "t.dcd", [frames[:3], frames[3:3], frames[3:]], frame_ps=0.1) == 7
    trajectory = mdtraj.load(str(tmp_path / "t.dcd"), top=_topology(5))
    np.testing.assert_allclose(trajectory.xyz, frames, atol=1e-6)  # float32
    assert trajectory.unitcell_lengths is None
    np.testing.assert_allclose(
        pick_frames(tmp_path / "t.dcd", range(len(frames)), range(frames.shape[1])), frames, atol=1e-6
    )


def test_some_frames_of_a_dcd(tmp_path: Path) -> None:
    frames = np.random.default_rng(5).normal(size=(7, 5, 3)).astype(np.float32)
    write_dcd(tmp_path / "t.dcd", [frames])
    picked = pick_frames(tmp_path / "t.dcd", [6, 0, 6], [4, 1])
    np.testing.assert_allclose(picked, frames[[6, 0, 6]][:, [4, 1]], atol=1e-6)
    assert pick_frames(tmp_path / "t.dcd", [], [0, 1]).shape == (0, 2, 3)
    with pytest.raises(StoreError, match="has frames 0 to 6, asked for 7"):
        pick_frames(tmp_path / "t.dcd", [7], [0])
    with pytest.raises(StoreError, match="has atoms 0 to 4, asked for 5"):
        pick_frames(tmp_path / "t.dcd", [0], [5])


def test_dcd_of_mdtraj_is_read(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).normal(size=(6, 4, 3)).astype(np.float32)
    for cell in (None, np.full((6, 3), 2.0)):
        angles = None if cell is None else np.full((6, 3), 90.0)
        trajectory = mdtraj.Trajectory(frames, _topology(4), unitcell_lengths=cell, unitcell_angles=angles)
        trajectory.save_dcd(str(tmp_path / "t.dcd"))
        np.testing.assert_allclose(
            pick_frames(tmp_path / "t.dcd", range(len(frames)), range(frames.shape[1])), frames, atol=1e-6
        )


def test_same_frames_give_the_same_bytes_however_chunked(tmp_path: Path) -> None:
    frames = np.random.default_rng(2).normal(size=(9, 3, 3)).astype(np.float32)
    write_dcd(tmp_path / "a.dcd", [frames])
    write_dcd(tmp_path / "b.dcd", (frames[k : k + 2] for k in range(0, 9, 2)))
    assert (tmp_path / "a.dcd").read_bytes() == (tmp_path / "b.dcd").read_bytes()


def test_truncated_dcd(tmp_path: Path) -> None:
    write_dcd(tmp_path / "t.dcd", [np.zeros((4, 3, 3))])
    assert count_frames(tmp_path / "t.dcd") == 4
    content = (tmp_path / "t.dcd").read_bytes()
    for length in (10, 100, len(content) - 1):
        (tmp_path / "t.dcd").write_bytes(content[:length])
        with pytest.raises(StoreError, match=r"t\.dcd"):
            count_frames(tmp_path / "t.dcd")


def test_dcd_refuses_bad_frames_and_leaves_no_file(tmp_path: Path) -> None:
    good = np.zeros((2, 3, 3))
    for chunks, message in (
        ([good, np.zeros((2, 4, 3))], r"shape \(n, 3, 3\), got \(2, 4, 3\) after 2 frames"),
        ([good, np.full((1, 3, 3), np.nan)], "finite positions, got NaN or inf after 2"),
        ([], "at least one chunk"),
    ):
        with pytest.raises(StoreError, match=message):
            write_dcd(tmp_path / "t.dcd", chunks)
    assert list(tmp_path.iterdir()) == []


def test_pdb_beside_the_frames(tmp_path: Path) -> None:
    positions = np.random.default_rng(4).normal(size=(5, 3))
    for name in ("a.pdb", "b.pdb"):
        write_pdb(tmp_path / name, _topology(5), positions)
    np.testing.assert_allclose(mdtraj.load(str(tmp_path / "a.pdb")).xyz[0], positions, atol=1e-4)
    assert (tmp_path / "a.pdb").read_bytes() == (tmp_path / "b.pdb").read_bytes()
