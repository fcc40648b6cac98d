"""Whatever stands in the files of a run: what it has to be, or an error in words that names the file.

Contents are valid ones with a few edits, any other JSON, and what breaks parsers: numbers of 5000 digits,
brackets nested 100 000 deep, NUL, half a letter, arrays whose header promises 10^15 numbers.
"""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aecv.ground.files import StoredArrays, read_arrays, read_json
from aecv.ground.sealed import read_sealed, write_sealed
from aecv.molecules.spec import load_system
from aecv.results.formats.user_tables import read_user_table
from aecv.workflow.free_energies.basins import StoredStarts
from aecv.workflow.free_energies.coverage import StoredCoverage
from aecv.workflow.free_energies.exact import read_exact_delta_f
from aecv.workflow.free_energies.production import Production
from aecv.workflow.run_folder.ended import Ended, ended_by, read_end
from aecv.workflow.run_folder.manifest import manifest_of, read_manifest
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.sampled import Sampled
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.stage_records import damages, read_stage
from aecv.workflow.run_folder.timing import Timing
from aecv.workflow.story.history import read_training
from aecv.workflow.story.status import status
from tests.test_fuzz import EFFORT, damaged, edited, problem_of, reads_or_says
from tests.workflow import hand

RESULT: dict[str, Any] = {
    "folder": "production_02", "cv_iteration": 2, "ns": 1.5, "steps_per_s": 2e4, "n_frames": 10,
    "n_effective": 7.5, "delta_f_kj_mol": "inf", "delta_f_interval": [-1.0, "inf"],
    "delta_f_alone_kj_mol": None, "delta_f_alone_interval": None, "passages": 3, "problems": ["none"],
    "cv": "phi, psi", "cv_files": ["cv.pt"], "cv_note": "",
}  # fmt: skip


def _fields(form: Any) -> dict[str, Any]:
    return {name: RESULT[name] for name in form.__dataclass_fields__ if name in RESULT}


RECORD = hand.record(2, 0.9, 0.8).as_dict() | {
    "observables": {"phi": {"linear": 0.5, "nonlinear": None}}, "n_frames": 10, "n_inverted": 0,
    "n_turned": 0, "delta_f_interval": [1.0, "inf"],
}  # fmt: skip
STAGE = {"inputs": {"cv": "a", "ns": 1.0}, "outputs": {"x.dat": "0" * 64}, "sizes": {"x.dat": 3}, "run": ""}
TRAINING = {"train_nm2": [[1.0, None], [2.0]], "validation_nm2": [[1.0], [2.0]], "restart": 1}
COVERAGE = {"passages": [[0, 1], [2, 0]], "r_hat": {"phi": 1.1, "psi": None}, "growth": {}, "burn_in": {}}

JSON: dict[str, tuple[Callable[[Path], Any], Any]] = {
    "record.json": (lambda path: IterationRecord.load(path.parent), RECORD),
    "old/record.json": (lambda path: IterationRecord.load(path.parent, any_format=True), RECORD),
    "production.json": (lambda path: Production.load(path.parent), _fields(Production)),
    "old/production.json": (lambda path: Production.load(path.parent, any_format=True), _fields(Production)),
    "sampled.json": (lambda path: Sampled.load(path.parent), _fields(Sampled)),
    "starts.json": (
        lambda path: StoredStarts.load(path.parent),
        {"n_starts": 2, "observables": {"phi": [1.0, None]}},
    ),
    "coverage.json": (lambda path: StoredCoverage.load(path.parent), COVERAGE),
    "iteration_01/training.json": (lambda path: read_training(path.parent.parent, 1), TRAINING),
    "timing.json": (lambda path: Timing.load(path.parent), {"wall_s": 1.0, "n_repeated": 0}),
    "exact.json": (lambda path: read_exact_delta_f(path.parent), {"delta_f_kj_mol": 1.0}),
    "ended.json": (lambda path: read_end(path.parent), vars(ended_by(KeyboardInterrupt()))),
    "sampling.done": (read_stage, STAGE),
    "sampling.begun": (read_sealed, {"ns": 1.0}),
    "run.json": (lambda path: read_manifest(path.parent), manifest_of(load_system("ala2"), "CPU", None)),
    "any.json": (read_json, [1, {"a": None}]),
}
"""Per file of a run its reader, and a valid content."""

PARSER_BREAKERS = [
    "9" * 5000, "-" + "9" * 5000, '{"n_frames": ' + "9" * 5000 + "}", "[" * 100_000, '{"a":' * 100_000,
    '"\x00"', '"\\u0000"', '"\\ud800"', "\x00" * 20, "NaN", "[1e999]", "", "null", "[]", "{}", '""',
    "\ufeff{}",
]  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just(10**400),
    st.just(2**63),
)
VALUES = st.recursive(
    LEAVES,
    lambda item: st.one_of(
        st.lists(item, max_size=3), st.dictionaries(st.text(max_size=5), item, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def contents(draw: st.DrawFn, valid: Any) -> str:
    """A JSON file that is or was meant to be like a valid one."""
    kind = draw(st.sampled_from(("edited", "fields", "any", "breaker")))
    if kind == "breaker":
        return draw(st.sampled_from(PARSER_BREAKERS))
    if kind == "any":
        return json.dumps(draw(VALUES))
    if kind == "fields" and isinstance(valid, dict):
        # other values, lacking and additional fields: what an editor or another version leaves
        changed = {key: value for key, value in valid.items() if draw(st.integers(0, 5))}
        for key in draw(st.lists(st.sampled_from([*valid, "more", "seal"]), max_size=3)):
            changed[key] = draw(VALUES)
        return json.dumps(changed)
    return draw(edited(json.dumps(valid)))


@pytest.mark.parametrize("name", JSON)
def test_what_is_whole_is_read(name: str, tmp_path: Path) -> None:
    read, valid = JSON[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(valid))
    assert read(path) is not None


@EFFORT
@given(data=st.data())
def test_json_of_a_run(data: st.DataObject, tmp_path: Path) -> None:
    name = data.draw(st.sampled_from(sorted(JSON)))
    read, valid = JSON[name]
    for other in JSON:  # of an example before: a STAGE.done beside a file says what that has to be
        (tmp_path / other).unlink(missing_ok=True)
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    reads_or_says(read, path, data.draw(contents(valid)))


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("content", PARSER_BREAKERS, ids=lambda text: repr(text[:12]))
def test_what_breaks_parsers(name: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    reads_or_says(JSON[name][0], path, content)


@EFFORT
@given(data=st.data())
def test_a_look_at_a_run_with_one_damaged_file(data: st.DataObject, tmp_path: Path) -> None:
    """Whatever one of the files of its first stage holds: a status, or an error that names that file."""
    folder = tmp_path / "iteration_00"
    folder.mkdir(exist_ok=True)
    write_sealed(tmp_path / "run.json", manifest_of(load_system("ala2"), "CPU", None))
    write_sealed(folder / "starts.done", STAGE)
    path = data.draw(st.sampled_from((tmp_path / "run.json", folder / "starts.done")))
    valid = json.loads(path.read_text())
    path.write_bytes(data.draw(contents(valid)).encode("utf-8", "surrogatepass"))
    said = problem_of(lambda: status(tmp_path))
    assert said is None or path.name in said
    told = list(damages(tmp_path))
    assert told
    assert all("starts.done" in words or "x.dat: is missing" in words for words in told)


SAMPLES = hand.samples_of_walkers(
    [[0, 1, 0], [1, 1, 0]], xi=[[0, 1, 2], [3, 4, 5]], phi=[[0, 1, 2], [3, 4, 5]]
)
BIAS: dict[str, Any] = {
    "lower": [0.0], "upper": [1.0], "kappa": [1.0], "mass": [1.0], "n_bins": [4], "friction_per_ps": 1.0,
    "kt": 2.5, "timestep_ps": 0.004, "ceiling_kj_mol": 10.0, "full_samples": 100,
    "increments": np.ones((2, 4, 6)), "prior": np.zeros((4, 6)), "history_shares": [0.5, 1.0],
    "history_samples": np.ones((2, 4, 6)), "potentials": np.zeros((0, 4)), "stage_edges": [],
}  # fmt: skip


def _stored_samples(path: Path) -> None:
    found = Samples.load(path)
    assert len(found.xi) == len(found.walker) == found.n_frames


def archive_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            with archive.open(f"{name}.npy", "w") as member:  # without a time: the same bytes every time
                member.write(content)
    return file.getvalue()


def member_of(array: Any, *, shape: str = "") -> bytes:
    """An array as .npy, perhaps with another shape in its header."""
    file = io.BytesIO()
    np.save(file, np.asarray(array))
    content = file.getvalue()
    if not shape:
        return content
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + ", }"
    padded = header.ljust(117) + "\n"
    return content[:8] + len(padded).to_bytes(2, "little") + padded.encode() + b"\0" * 16


SHAPES = ("(10**15,)", "(1000000000000000,)", "(999999999999, 999999999999, 3)", "(-1,)", "(2.5,)", "(True,)",
          "()", "(0,)", "(2,)", "((((", "[2]", "(" + "9" * 60 + ",)", "('a',)")  # fmt: skip
ARRAYS = st.sampled_from(
    [np.zeros(0), np.zeros(3), np.zeros((6, 2, 3)), np.full(6, np.nan), np.arange(6), np.zeros((6, 1)),
     np.array("text"), np.array(["a"] * 6), np.array([True] * 6), np.full(6, 2**40), np.zeros(6, complex),
    ]
)  # fmt: skip


@st.composite
def archives(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """An .npz that is or was meant to be like a valid one."""
    members = {name: member_of(array) for name, array in valid.items()}
    kind = draw(st.sampled_from(("damaged", "members", "headers", "text")))
    if kind == "damaged":
        return draw(damaged(archive_of(members)))
    if kind == "text":
        return draw(st.sampled_from((b"", b"[]", b"{}", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x00" * 64)))
    for name in draw(st.lists(st.sampled_from([*valid, "more"]), min_size=1, max_size=3)):
        if kind == "headers":
            members[name] = member_of(np.zeros(2), shape=draw(st.sampled_from(SHAPES)))
        elif draw(st.booleans()):
            members[name] = member_of(draw(ARRAYS))
        else:
            members.pop(name, None)
    return archive_of(members)


@EFFORT
@given(data=st.data())
def test_arrays_of_a_run(data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    SAMPLES.save(path)
    with np.load(path) as stored:
        samples = dict(stored)
    read, valid = data.draw(
        st.sampled_from(((_stored_samples, samples), (Bias.load, BIAS), (read_arrays, samples)))
    )
    reads_or_says(read, path, data.draw(archives(valid)))


@EFFORT
@given(data=st.data())
def test_weights_of_a_user(data: st.DataObject, tmp_path: Path) -> None:
    content = data.draw(
        st.one_of(
            archives({"weights": np.ones(6), "time": np.arange(6.0)}),
            damaged(member_of(np.ones(6))),
            st.builds(lambda shape: member_of(np.zeros(2), shape=shape), st.sampled_from(SHAPES)),
            st.builds(member_of, ARRAYS),
        )
    )
    name = data.draw(st.sampled_from(("weights.npy", "weights.npz", "weights.dat")))
    reads_or_says(read_user_table, tmp_path / name, content)


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_a_huge_shape_costs_no_memory(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "huge.npz"
    path.write_bytes(archive_of({"a": member_of(np.zeros(2), shape=shape)}))
    assert "huge.npz" in (problem_of(lambda: StoredArrays(path)) or "")


def test_an_end_that_is_noted_is_read(tmp_path: Path) -> None:
    (tmp_path / "ended.json").write_text(json.dumps({"message": "m", "advice": "a", "when": "now"}))
    assert read_end(tmp_path) == Ended(message="m", advice="a", when="now")
