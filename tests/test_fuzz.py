"""Whatever stands in a file or on the command line: a result or an error in words, no traceback, no hang.

Texts are made in two ways: at random, and from valid ones by a few edits, which get further.
"""

import os
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aecv.ground.errors import AecvError
from aecv.ground.files import read_arrays, read_json
from aecv.ground.grid import Grid
from aecv.ground.layers import load_toml, override, parse_override, to_toml, validate
from aecv.ground.settings import Settings
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.inputs.features import read_features
from aecv.molecules.spec import load_system
from aecv.numerics.free_energy.expression import parse_expression
from aecv.numerics.kernels.encoder import Encoder
from aecv.results.formats.colvar import read_colvar, write_colvar
from aecv.results.formats.fes import read_fes, write_fes
from aecv.results.formats.grids import read_multicolumn, write_pmf
from aecv.results.formats.trajectory import pick_frames, write_dcd
from aecv.results.formats.user_tables import read_user_table

EFFORT = settings(
    max_examples=int(os.environ.get("AECV_FUZZ", "150")),
    deadline=5000,  # [ms]: a hang
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,  # the same texts every time
)
PIECES = [
    "",
    "\n",
    "=",
    "[",
    "]",
    "{",
    "}",
    '"',
    "'",
    ".",
    ",",
    "-",
    "#",
    " ",
    "~",
    "../",
    "#! FIELDS",
    "#! SET",
]
PIECES += [
    "nan",
    "inf",
    "1e400",
    "1e-320",
    "-1",
    "0",
    "0x",
    "9" * 30,
    "true",
    "\x00",
    "\ud7ff",
    "é",
    "__import__",
]
VALID = to_toml(load_system("ala2").settings)


@st.composite
def edited(draw: st.DrawFn, text: str, pieces: Sequence[str] = PIECES) -> str:
    """A text with up to four places cut out, doubled or replaced."""
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 12)))
        piece = draw(st.one_of(st.sampled_from(pieces), st.just(2 * text[begin:end]), st.text(max_size=6)))
        text = text[:begin] + piece + text[end:]
    return text


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes cut short, or with up to four of them changed."""
    if draw(st.booleans()):
        return content[: draw(st.integers(0, max(0, len(content) - 1)))]
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
    return bytes(changed)


def reads_or_says(read: Callable[[Path], Any], path: Path, content: str | bytes) -> None:
    """A reader gives a result, or an error of aecv that names the file."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    path.write_bytes(data)
    said = problem_of(lambda: read(path))
    assert said is None or path.name in said


def problem_of(work: Callable[[], Any]) -> str | None:
    """What an error of aecv says; None where there is none. Every other error goes on."""
    try:
        work()
    except AecvError as error:
        return str(error)
    return None


def settings_of(path: Path) -> Settings:
    return validate(load_toml(path), source=str(path))


@EFFORT
@given(text=st.one_of(edited(VALID), st.text(max_size=200)))
def test_a_system_toml(text: str, tmp_path: Path) -> None:
    reads_or_says(settings_of, tmp_path / "system.toml", text)


KEYS = [f"{section}.{key}" for section, model in Settings.model_fields.items()
        for key in getattr(model.annotation, "model_fields", {})]  # fmt: skip
ANYTHING = st.one_of(
    st.text(max_size=30), st.floats().map(str), st.integers().map(str), st.booleans().map(str),
    st.lists(st.integers(), max_size=4).map(str), st.sampled_from(PIECES), st.just("{a = 1}"),
)  # fmt: skip


@EFFORT
@given(
    text=st.one_of(
        st.builds("{}={}".format, st.sampled_from(KEYS), ANYTHING),
        st.builds("{}={}".format, st.text(string.ascii_lowercase + "._", max_size=20), ANYTHING),
        st.text(max_size=40),
    )
)
def test_an_override(text: str) -> None:
    """--set of any text; what passes is what its bounds allow, and a run can be made of it again."""

    def take() -> None:
        path, value = parse_override(text)
        fields = override(path, value) | {"system": {"name": "x"}, "cv": {"atoms": "all"}}
        found = validate(fields, source="--set")
        assert validate(found.model_dump(mode="json"), source="again") == found

    assert problem_of(take) != ""


@EFFORT
@given(data=st.data())
def test_a_colvar_file(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "colvar.dat"
    write_colvar(path, {"time": np.arange(4.0), "phi": np.linspace(-1, 1, 4)}, periodic=("phi",))
    reads_or_says(read_colvar, path, data.draw(edited(path.read_text())))


@EFFORT
@given(data=st.data(), text=st.sampled_from([
    "# a note\ntime w\n0 0.5\n1 0.25\n",
    "#! FIELDS time w\n#! SET min_w 0\n 0 0.5\n 1 0.25\n#! FIELDS time w\n 2 0.5\n",
    "time,w\n0,0.5\n1,0.25\n",
    '@ s0 legend "w"\n@ s1 legend "v"\n 0 0.5 1\n 1 0.25 2\n',
]))  # fmt: skip
def test_numbers_per_frame_of_a_user(data: st.DataObject, text: str, tmp_path: Path) -> None:
    reads_or_says(read_user_table, tmp_path / "w.txt", data.draw(edited(text)))


@EFFORT
@given(data=st.data(), suffix=st.sampled_from([".npy", ".npz"]))
def test_arrays_of_a_user(data: st.DataObject, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{suffix}"
    np.save(path, np.arange(5.0)) if suffix == ".npy" else np.savez(path, w=np.arange(5.0))
    reads_or_says(read_user_table, path, data.draw(damaged(path.read_bytes())))


@EFFORT
@given(data=st.data())
def test_a_fes_file(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "fes.dat"
    axes = [np.linspace(0, 1, 3), np.linspace(-1, 1, 4)]
    write_fes(path, axes, np.arange(12.0), ["a", "b"], [False, True], error=np.ones(12))
    reads_or_says(read_fes, path, data.draw(edited(path.read_text())))


@EFFORT
@given(data=st.data())
def test_a_grid_of_colvars(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "abf.pmf"
    write_pmf(path, Grid(lower=(0.0, 0.0), upper=(1.0, 2.0), n_bins=(3, 4)), np.arange(12.0))
    reads_or_says(read_multicolumn, path, data.draw(edited(path.read_text())))


@EFFORT
@given(data=st.data())
def test_a_trajectory(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "frames.dcd"
    write_dcd(path, [np.ones((3, 5, 3))])
    reads_or_says(lambda p: pick_frames(p, range(3), range(5)), path, data.draw(damaged(path.read_bytes())))


@EFFORT
@given(data=st.data())
def test_arrays_and_json(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, a=np.arange(6.0), b=np.array(["x", "y"]))
    reads_or_says(read_arrays, path, data.draw(damaged(path.read_bytes())))
    reads_or_says(read_json, tmp_path / "x.json", data.draw(edited('{"a": [1, null, "b"]}')))


@EFFORT
@given(text=st.one_of(edited("x^2 + 3*sin(y) - exp(-x); k = 2"), st.text(max_size=60)))
def test_an_expression(text: str) -> None:
    """The potential of a particle is read by a grammar of its own: nothing of Python is reached by it."""

    def take() -> None:
        expression = parse_expression(text, place="particle.potential")
        with np.errstate(all="ignore"):
            assert np.shape(expression(x=np.array([0.5]), y=np.array([1.5]))) in ((1,), ())

    said = problem_of(take)
    assert said is None or "particle.potential" in said


@pytest.fixture(scope="module")
def cv_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    encoder = Encoder(
        reference=rng.standard_normal((5, 3)),
        weights=(rng.standard_normal((8, 15)), rng.standard_normal((2, 8))),
        biases=(rng.standard_normal(8), rng.standard_normal(2)),
    )
    folder = tmp_path_factory.mktemp("cv")
    cv_range = np.array([[-1.0, 1.0], [-2.0, 2.0]])
    export_cv(encoder, folder, atom_indices=np.arange(5), cv_range=cv_range, system="ala2", system_hash="abc")
    return folder


@pytest.mark.parametrize("name", ["cv.json", "cv.npz", "cv.pt"])
@EFFORT
@given(data=st.data())
def test_a_cv(name: str, data: st.DataObject, cv_folder: Path, tmp_path: Path) -> None:
    """A damaged CV is refused by its hashes; one that loads is the CV that was exported."""
    for item in ("cv.json", "cv.npz", "cv.pt"):
        (tmp_path / item).write_bytes((cv_folder / item).read_bytes())
    (tmp_path / name).write_bytes(data.draw(damaged((cv_folder / name).read_bytes())))
    probe = np.random.default_rng(2).standard_normal((3, 5, 3))

    def take() -> None:
        found, whole = load_cv(tmp_path / name), load_cv(cv_folder)
        np.testing.assert_array_equal(found.atom_indices, whole.atom_indices)
        np.testing.assert_allclose(found(probe), whole(probe), atol=1e-12)

    said = problem_of(take)
    assert said is None or "cv." in said


@EFFORT
@given(text=st.one_of(edited('[[features]]\nkind = "distance"\natoms = [1, 2]\n'), st.text(max_size=80)))
def test_features_of_another_program(text: str, tmp_path: Path) -> None:
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("XXX", topology.add_chain())
    for index in range(4):
        topology.add_atom(f"C{index}", mdtraj.element.carbon, residue)
    reads_or_says(lambda path: read_features(path, topology), tmp_path / "features.toml", text)
