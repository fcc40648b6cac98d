"""Models of others are tried where they can do no harm; the arrays of a CV are all held to their hashes."""

import io
import json
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aecv.ground.errors import CVError
from aecv.models.cvs import apart
from aecv.models.cvs.apart import find_form_apart, n_components_apart
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.cvs.probing import find_form
from aecv.models.cvs.torchscript import read_module
from aecv.numerics.kernels.encoder import Encoder

FRAMES = torch.tensor(np.random.default_rng(1).normal(size=(7, 5, 3)))


class Pair(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] - x[:, 3]).square().sum(dim=-1, keepdim=True).sqrt()


class Writer(Pair):
    """Makes a file, or writes over one."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)

    def forward(self, x: Tensor) -> Tensor:
        written = torch.from_file(self.path, shared=True, size=4).fill_(1.0)
        return (x[:, 0] - x[:, 3]).square().sum(dim=-1, keepdim=True).sqrt() + 0.0 * written.sum()


class Saver(Writer):
    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.path)
        return (x[:, 0] - x[:, 3]).square().sum(dim=-1, keepdim=True).sqrt()


class WriterAtLoad(Pair):
    """Writes as soon as it is loaded."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = str(path)
        self.seen = torch.zeros(4)

    @torch.jit.export
    def __getstate__(self) -> tuple[str, Tensor, bool]:
        return self.path, self.seen, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, Tensor, bool]) -> None:
        self.path = state[0]
        self.training = state[2]
        self.seen = torch.from_file(self.path, shared=True, size=4).fill_(1.0)


class Endless(Pair):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() < 1e300):
            x = x * 1.0
        return x


class Hungry(Pair):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(1 << 40).sum() * x[:, 0, 0]


class Talking(Pair):
    def forward(self, x: Tensor) -> Tensor:
        print('{"layout": "(F, 3n)", "dtype": "float16", "note": ""}')
        return (x[:, 0] - x[:, 3]).square().sum(dim=-1, keepdim=True).sqrt()


def exported(module: torch.nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


def test_the_answer_is_that_of_this_process(tmp_path: Path) -> None:
    path = exported(Talking(), tmp_path / "talking.pt")
    answer = find_form_apart(path, FRAMES)
    assert answer == find_form(path, FRAMES)
    assert answer[0].layout == "(F, n, 3)"
    with pytest.raises(CVError) as here:
        find_form(path, FRAMES, layout="(F, 3n)")
    with pytest.raises(CVError) as there:
        find_form_apart(path, FRAMES, layout="(F, 3n)")
    assert str(there.value) == str(here.value)


@pytest.fixture(params=[False, True], ids=["new", "over"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file that is there already, or not."""
    if request.param:
        (tmp_path / "target").write_bytes(bytes(16))
    return tmp_path / "target"


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def harmful(kind: Callable[[Path], torch.nn.Module], target: Path) -> Path:
    """The file of a model that writes, which has not yet."""
    before = content(target)
    path = exported(kind(target), target.with_name("writer.pt"))
    target.unlink(missing_ok=True)
    if before is not None:
        target.write_bytes(before)
    return path


@pytest.mark.parametrize("kind", [Writer, Saver, WriterAtLoad])
def test_a_program_that_uses_files_is_not_loaded(
    target: Path, kind: Callable[[Path], torch.nn.Module]
) -> None:
    path, before = harmful(kind, target), content(target)
    for attempt in (
        lambda: find_form(path, FRAMES),
        lambda: find_form_apart(path, FRAMES),
        lambda: load_cv(path, atom_indices=range(5)),
        lambda: read_module(path),
    ):
        with pytest.raises(CVError, match=r"writer\.pt: uses '(save|from_file)' of TorchScript"):
            attempt()
    with pytest.raises(CVError, match="does not name its atoms"):  # what it is is found by looking at it
        load_cv(path)
    assert content(target) == before
    module = torch.jit.load(str(path))  # the proof that it would have
    module(FRAMES)
    assert content(target) != before


@pytest.mark.parametrize("kind", [Writer, Saver, WriterAtLoad])
def test_the_process_that_tries_models_writes_nothing(
    target: Path, kind: Callable[[Path], torch.nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what the look at its code does not know: that is left out here, in the process as well."""
    path, before = harmful(kind, target), content(target)
    blind = "import aecv.models.cvs.torchscript as t, runpy; t.looked_at = lambda _, content: content; "
    blind += "runpy.run_module('aecv.models.cvs.apart', run_name='__main__')"
    run = apart.subprocess.run
    monkeypatch.setattr(apart, "looked_at", Path.read_bytes)
    monkeypatch.setattr(
        apart.subprocess, "run", lambda command, **options: run([*command[:2], "-c", blind], **options)
    )
    if kind is Saver:  # TorchScript does not look whether it could
        find_form_apart(path, FRAMES)
    else:
        with pytest.raises(CVError, match=r"writer\.pt: opens files, which no CV needs to do"):
            find_form_apart(path, FRAMES)
    assert content(target) == before


def two_faced(shown: bytes, hidden: bytes) -> bytes:
    """An archive whose members are `shown` for Python, and `hidden` for torch.

    The record at the end says where its table of members begins, counted from the beginning (torch), and how
    long it is, counted from the end (Python, which takes what lies before for something else).
    """
    bodies, tables = [], []
    for content in (hidden, shown):
        plain = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(plain, "w") as copy:
            for item in source.infolist():
                copy.writestr(zipfile.ZipInfo(item.filename), source.read(item))
        n, size, begin = struct.unpack("<HLL", plain.getvalue()[-12:-2])
        bodies.append(plain.getvalue()[:begin])
        tables.append(bytearray(plain.getvalue()[begin : begin + size]))
    longest = max(map(len, tables))
    for table in tables:  # of the same length, by a comment on the last member
        comment = longest - len(table)
        struct.pack_into("<H", table, table.rindex(b"PK\1\2") + 32, comment)
        table += b" " * comment
    begin = max(map(len, bodies))  # of the same length too: Python looks for members behind the first table
    bodies = [body.ljust(begin, b"\0") for body in bodies]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, longest, begin, 0)
    return bodies[0] + tables[0] + bodies[1] + tables[1] + end


def test_torch_reads_the_program_that_was_looked_at(tmp_path: Path) -> None:
    path, target = tmp_path / "model.pt", tmp_path / "target"
    hidden, shown = exported(Writer(target), tmp_path / "w.pt"), exported(Pair(), tmp_path / "p.pt")
    path.write_bytes(two_faced(shown.read_bytes(), hidden.read_bytes()))
    with zipfile.ZipFile(path) as archive:
        codes = [archive.read(item) for item in archive.infolist() if item.filename.endswith(".py")]
    assert codes
    assert not any(b"from_file" in code for code in codes)
    read_module(path)[0](FRAMES)
    find_form_apart(path, FRAMES)
    assert not target.exists()
    torch.jit.load(str(path))(FRAMES)  # the proof that it was two-faced
    assert target.exists()


def test_a_model_that_says_it_is_ours_runs_nothing_when_it_is_loaded(folder: Path, tmp_path: Path) -> None:
    """What is ours is read in this process, which a description alone does not earn."""

    class AtLoad(WriterAtLoad):
        @torch.jit.export
        def __setstate__(self, state: tuple[str, Tensor, bool]) -> None:
            self.path = state[0]
            self.training = state[2]
            self.seen = torch.zeros(4)

    path = tmp_path / "cv.pt"
    inside = {"cv.json": (folder / "cv.json").read_text()}
    torch.jit.save(torch.jit.script(AtLoad(tmp_path).eval()), str(path), _extra_files=inside)
    with pytest.raises(CVError, match=r"cv\.pt: runs code when it is loaded, which no CV of aecv does"):
        load_cv(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compression": zipfile.ZIP_LZMA}, "an archive that torch did not pack"),
        ({"name": "model/more.py", "size": 300 << 20}, "an archive that unpacks to more than 256 MB"),
        ({"name": "model/version"}, "an archive with two members of the same name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_torch_does_not_write(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = exported(Pair(), tmp_path / "model.pt")
    compression = change.get("compression", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path, "a", compression=compression) as archive:
        archive.writestr(change.get("name", "model/more"), bytes(change.get("size", 1)))
    for attempt in (lambda: read_module(path), lambda: load_cv(path, atom_indices=range(5))):
        with pytest.raises(CVError, match=rf"model\.pt: needs a complete TorchScript file .*{message}"):
            attempt()


def test_models_without_an_end_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported(Endless(), tmp_path / "endless.pt")
    monkeypatch.setattr(apart, "PATIENCE_S", 8)
    began = time.monotonic()
    with pytest.raises(CVError, match=r"endless\.pt: gives no answer in 8 s"):
        find_form_apart(path, FRAMES)
    assert time.monotonic() - began < 30


def test_models_that_take_all_memory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CVError, match=r"hungry\.pt: (needs to return|ends the process)"):
        find_form_apart(exported(Hungry(), tmp_path / "hungry.pt"), FRAMES)


def test_its_environment_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    seen = {}
    run = apart.subprocess.run

    def spy(*args: object, **options: object) -> object:
        seen.update(options)
        return run(*args, **options)

    monkeypatch.setattr(apart.subprocess, "run", spy)
    assert n_components_apart(exported(Pair(), tmp_path / "pair.pt"), 5) == 1
    assert "SECRET_TOKEN" not in seen["env"]
    assert "HOME" not in seen["env"]
    assert seen["cwd"] != str(Path.cwd())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    encoder = Encoder(
        reference=rng.standard_normal((5, 3)),
        weights=(rng.standard_normal((2, 15)), rng.standard_normal((2, 2))),
        biases=(rng.standard_normal(2), rng.standard_normal(2)),
    )
    cv_range = np.array([[-1.0, 1.0], [-2.0, 2.0]])
    export_cv(
        encoder, tmp_path / "cv", atom_indices=np.arange(5), cv_range=cv_range, system="x", system_hash="y"
    )
    (tmp_path / "cv" / "cv.pt").unlink()
    return tmp_path / "cv"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": {}}, "array 'atom_indices' is missing or not what it was"),
        ({"sha256": []}, "the description: sha256: .*got \\[\\]"),
        ({"sha256": None}, "the description: sha256: .*got None"),
        ({"sha256": {"reference": 3}}, r"the description: sha256\.reference: .*got 3"),
        ({"layers": [15, 2]}, "more arrays than its layers: 'biases_1'"),
        ({"layers": [15, 2, 2, 2]}, "array 'biases_2' is missing"),
        ({"layers": "ab"}, "the description: layers: "),
        ({"layers": [1]}, "the description: layers: "),
        ({"layers": [1] * 101}, "the description: layers: "),
        ({"atom_indices": {"a": 1}}, "the description: atom_indices: "),
        ({"atom_indices": [-1, 0, 1, 2, 3]}, r"the description: atom_indices\.0: "),
        ({"range": [[1]]}, r"the description: lacks .range\.0\.1"),
        ({"system": 3}, "the description: system: "),
        ({"system": ["x"]}, "the description: system: "),
    ],
)
def test_no_description_switches_a_check_off(folder: Path, change: dict[str, object], message: str) -> None:
    """An empty list of hashes, or one layer less, gave another CV without a word."""
    said = json.loads((folder / "cv.json").read_text())
    with np.load(folder / "cv.npz") as archive:
        arrays = dict(archive)
    (folder / "cv.json").write_text(json.dumps(said | change))
    if change == {"sha256": {}}:
        arrays["weights_0"] = -arrays["weights_0"]
    np.savez(folder / "cv.npz", **arrays)
    with pytest.raises(CVError, match=message):
        load_cv(folder)


def test_an_array_without_a_hash_is_refused(folder: Path) -> None:
    said = json.loads((folder / "cv.json").read_text())
    del said["sha256"]["weights_1"]
    (folder / "cv.json").write_text(json.dumps(said))
    with pytest.raises(CVError, match="array 'weights_1' is missing or not what it was"):
        load_cv(folder)
