"""Every file of a finished run damaged in every way: each command says so, or its result is the right one.

Nothing may end in a traceback or hang, and no command may succeed with another result without a word; a
resumed run ends with the files that it had, or says which one it needs.
"""

import json
import os
import random
import re
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from aecv.molecules.spec import load_system
from aecv.workflow.loop import iterate
from aecv.workflow.sample_along import sample_along
from tests.workflow.conftest import SMALL
from tests.workflow.test_sample_along import SMALL as SMALL_GIVEN

N_CASES = int(os.environ.get("AECV_DAMAGES", "36"))
"""AECV_DAMAGES=100000 pytest -m slow -s tests/workflow/test_damage.py tries all of them, in an hour."""
COMMANDS = ("status", "report", "fes", "export", "resume")
_VOLATILE = (
    "wall_s",
    "steps_per_s",
    "written",
    "record.json",
    "sampled.json",
    "production.json",
    "timing.json",
    "folder",
)
"""What two runs with one seed need not share: times, where they are, and the hashes of files that tell it."""


def _halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    """One bit in the middle; in text of a digit, where one is near, since another letter is easily seen."""
    changed = bytearray(content)
    if not changed:
        return b"x"
    middle = len(changed) // 2
    digits = [k for k in range(middle, min(len(changed), middle + 60)) if 48 <= changed[k] <= 56]
    changed[digits[0] if digits else middle] ^= 1
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "halved": _halved,
    "flipped": _flipped,
    "emptied": lambda _: b"",
    "missing": lambda _: None,
    "[]": lambda _: b"[]",
    "{}": lambda _: b"{}",
}


@dataclass(frozen=True)
class Kind:
    """A kind of run: what it is resumed with, and along what its free energy is asked."""

    command: tuple[str, ...]
    along: str


ITERATED = Kind(
    ("iterate", "--system", "ala2", *(part for item in SMALL for part in ("--set", item)), "--workers", "1"),
    "phi",
)
SAMPLED = Kind(
    (
        "sample", "--system", "ala2", "--cv", "phi,psi", "--ns", "0.02",
        *(part for item in SMALL_GIVEN for part in ("--set", item)), "--workers", "1",
    ),
    "phi",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _sketches() -> Iterator[None]:
    """Pictures are what they are of, not drawn: nine tenths of the time of resuming a finished run."""

    def sketch(figure: Figure, path: Path, **_: Any) -> None:
        # titles and limits tell a picture of other numbers apart
        told = [(axes.get_title(), axes.get_xlabel(), axes.dataLim.bounds) for axes in figure.axes]
        Path(path).write_text(f"picture {told}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", sketch)
        yield


@pytest.fixture(scope="module")
def iterated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("iterated") / "run"
    iterate(load_system("ala2", overrides=SMALL), folder)
    return folder


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled") / "run"
    sample_along(load_system("ala2", overrides=SMALL_GIVEN), ("phi", "psi"), folder, ns=0.02)
    return folder


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Whatever takes longer is a hang."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True)
class Result:
    """What a command came to: an unexpected error, its exit code, what it said, and what it made."""

    error: BaseException | None
    code: int
    said: str
    made: Any


def call(command: str, run: Path, kind: Kind, out: Path) -> Result:
    """A command on a run, in this process."""
    page = out / "page.html"
    name, *arguments = {
        "status": ["status", run, "--json"],
        "report": ["report", run, "--out", page],
        "fes": ["fes", run, "--along", kind.along, "--replicates", 20, "--out", out / "fes.dat"],
        "export": ["export", run, "--form", "ann", "--out", out / "export"],
        "resume": [*kind.command, "--out", run, "--resume"],
    }[command]
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with limited(120):
        found = CliRunner().invoke(import_module(f"aecv.commands.{name}").main, list(map(str, arguments)))
    error = None if isinstance(found.exception, SystemExit) else found.exception
    made: Any = None
    if command == "resume":
        made = tree_of(run)
    elif command == "status":
        made = {} if found.exit_code else json.loads(found.stdout) | {"idle_s": None}
    elif command == "report":
        made = without_times(page.read_text()) if page.is_file() else ""
    elif found.exit_code == 0:
        made = {item.name: item.read_bytes() for item in sorted(out.rglob("*")) if item.is_file()}
    said = found.output + (made if command == "report" else "")
    return Result(error, found.exit_code, said, made)


def without_times(page: str) -> str:
    """A page without the time of its writing, and what depends on where the run is."""
    page = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d \w+", "", page)
    return re.sub(r"/[\w/.-]*/(run|copy)\b", "RUN", page)


def tree_of(run: Path) -> dict[str, Any]:
    """The files of a run as they have to be; a log grows, and times differ."""
    found: dict[str, Any] = {}
    for path in sorted(item for item in run.rglob("*") if item.is_file()):
        name = str(path.relative_to(run))
        if path.name in (".lock", "run.log"):
            continue
        content: Any = path.read_bytes()
        if path.suffix in (".json", ".done"):
            with suppress(ValueError):
                content = timeless(json.loads(content))
        found[name] = without_times(content.decode()) if path.suffix == ".html" else content
    return found


def timeless(value: Any) -> Any:
    """JSON without times, and without seals over them."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k not in _VOLATILE and k != "seal"}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def outcome(file: str, command: str, result: Result, whole: Result, original: dict[str, Any]) -> str:
    """What became of a damage."""
    if isinstance(result.error, TimeoutError):
        return "HANG"
    if result.error is not None:
        return "TRACEBACK"
    if result.code:
        return "refused"
    if command == "resume":
        made = dict(result.made)
        if "report.html" in made and "</html>" in made["report.html"]:
            made["report.html"] = original["report.html"]  # tells times; it was written just now
        return "repaired" if made == original else "SILENT"
    if result.made == whole.made:
        return "unaffected"
    stage = result.made.get("stage") if command == "status" else None
    if stage and file == f"{stage['place']}/{stage['name']}.done":
        return "told"  # as the work that is left
    return "told" if file in result.said or Path(file).name in result.said else "SILENT"


def sweep(run: Path, kind: Kind, tmp: Path, n_cases: int) -> Counter[tuple[str, str]]:
    """Counts of (command, outcome) over damages, a random choice of all; faults are printed."""
    whole = {}
    for command in COMMANDS:
        copy = Path(shutil.copytree(run, tmp / "copy"))
        whole[command] = call(command, copy, kind, tmp / "out")
        assert (whole[command].error, whole[command].code) == (None, 0), (command, whole[command])
        if command == "resume":
            original = whole[command].made
        shutil.rmtree(copy)
    files = sorted(str(item.relative_to(run)) for item in run.rglob("*") if item.is_file())
    cases = [(file, damage) for file in files for damage in DAMAGES]
    random.Random(0).shuffle(cases)
    counts: Counter[tuple[str, str]] = Counter()
    for file, damage in cases[:n_cases]:
        content = (run / file).read_bytes()
        changed = DAMAGES[damage](content)
        if changed == content:
            continue
        for command in COMMANDS:
            copy = Path(shutil.copytree(run, tmp / "copy", copy_function=os.link))
            (copy / file).unlink()
            if changed is not None:
                (copy / file).write_bytes(changed)
            # what is written in place must not reach the original
            for item in ("run.log", ".lock"):
                if item != file:
                    (copy / item).unlink(missing_ok=True)
            result = call(command, copy, kind, tmp / "out")
            shutil.rmtree(copy)
            found = outcome(file, command, result, whole[command], original)
            counts[command, found] += 1
            if found.isupper():
                detail = repr(result.error) if result.error else _difference(result.made, original)
                print(f"{found:10s} {command:7s} {damage:8s} {file}: {detail}", flush=True)
    return counts


def _difference(made: Any, original: dict[str, Any]) -> str:
    if not isinstance(made, dict):
        return ""
    return ", ".join(name for name in sorted({*made, *original}) if made.get(name) != original.get(name))[
        :200
    ]


def table_of(counts: Counter[tuple[str, str]]) -> str:
    outcomes = sorted({found for _, found in counts})
    rows = [f"{'':8s}" + "".join(f"{name:>12s}" for name in outcomes)]
    rows += [f"{c:8s}" + "".join(f"{counts[c, name]:12d}" for name in outcomes) for c in COMMANDS]
    return "\n".join(rows)


def assert_no_fault(counts: Counter[tuple[str, str]]) -> None:
    print("\n" + table_of(counts))
    assert not {key: n for key, n in counts.items() if key[1].isupper()}


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_no_damage_of_a_run_passes_for_a_result(iterated: Path, tmp_path: Path) -> None:
    assert_no_fault(sweep(iterated, ITERATED, tmp_path, N_CASES))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_nor_does_one_of_a_run_along_given_cvs(sampled: Path, tmp_path: Path) -> None:
    assert_no_fault(sweep(sampled, SAMPLED, tmp_path, N_CASES))
