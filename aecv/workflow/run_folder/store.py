"""The run directory: what belongs to it, which stages are finished, and whether they may be reused.

    run.json                    settings, system hash, seed, versions; those that may change follow the run
    iteration_03/STAGE.done     what a finished stage was made from and the hashes of what it wrote

A finished stage is reused only when both still agree; nothing is reused because a file happens to exist. What
can be made again from the rest is made again, anything else that is damaged ends the run with its name.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

import filelock

from aecv.ground.errors import StoreError
from aecv.ground.files import PARTIAL, cannot_write, sha256, write_json
from aecv.ground.printable import LineFormatter
from aecv.ground.sealed import read_sealed, write_sealed
from aecv.ground.settings import Settings
from aecv.molecules.spec import SystemSpec
from aecv.workflow.run_folder.in_use import is_in_use
from aecv.workflow.run_folder.manifest import (
    check_manifest,
    fixed,
    manifest_of,
    manifest_to_resume,
    read_manifest,
)
from aecv.workflow.run_folder.records import IterationRecord, converged_at
from aecv.workflow.run_folder.stage_records import read_stage, state_of, told

logger = logging.getLogger(__name__)

ALONG = "along"
"""Folder of a run along a CV that was given."""

Place = int | str
"""The number of an iteration, or the name of a folder beside them."""


class Places(Protocol):
    """What holds places: a run that is worked on, or one that is only read."""

    def iteration_dir(self, place: Place) -> Path:
        """Folder of one iteration or of another place by its name."""
        ...


def name_of(place: Place) -> str:
    """The folder's name: iteration_03 for 3."""
    return f"iteration_{place:02d}" if isinstance(place, int) else place


class RunDirectory:
    """A run's folder, held by one process at a time.

    Use `RunDirectory.create` or `RunDirectory.resume`, and close it (or use it in a `with` block).
    """

    def __init__(self, path: Path, lock: filelock.FileLock) -> None:
        self.path = path
        self._lock = lock
        try:
            self._log = logging.FileHandler(path / "run.log", encoding="utf-8")
        except OSError as error:
            raise cannot_write(path / "run.log", error) from error
        self._log.setFormatter(LineFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        root = logging.getLogger("aecv")
        root.addHandler(self._log)
        if root.level == logging.NOTSET:  # the log of a run is part of it, whoever calls
            root.setLevel(logging.INFO)

    @classmethod
    def create(
        cls, path: Path, spec: SystemSpec, *, platform: str, engine_versions: Mapping[str, str] | None = None
    ) -> "RunDirectory":
        """Begin a run in a folder that does not exist or is empty.

        Args:
            path: the folder.
            spec: the system with all settings.
            platform: name of OpenMM's platform.
            engine_versions: of packages that this run's engine alone needs; see `choice.require_engine`.

        Raises:
            StoreError: when the folder holds anything, cannot be made, or is in use.
        """
        _check_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        lock = _acquire(path)
        try:
            write_sealed(path / "run.json", manifest_of(spec, platform, engine_versions))
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(
        cls, path: Path, spec: SystemSpec, *, platform: str, engine_versions: Mapping[str, str] | None = None
    ) -> "RunDirectory":
        """Take up a run where it stopped; for the arguments see `create`.

        Raises:
            StoreError: when there is none, it is in use, or a setting, the system, the platform or a
                version differs; the message names the field and both values.
        """
        _check_begun(path)
        lock = _acquire(path)
        try:
            expected = manifest_of(spec, platform, engine_versions)
            check_manifest(path, manifest_to_resume(path, expected), expected, spec.settings)
            for leftover in path.rglob(PARTIAL):
                if leftover.is_file():  # a folder is of another command
                    leftover.unlink(missing_ok=True)
            return cls(path, lock)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> "RunDirectory":
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        if error is not None:
            words = str(error) or type(error).__name__
            self.note([logging.LogRecord(__name__, logging.ERROR, __file__, 0, "%s", (words,), None)])
        self.close()

    def close(self) -> None:
        """End the log and let other processes have the run."""
        logging.getLogger("aecv").removeHandler(self._log)
        self._log.close()
        self._lock.release()

    def note(self, records: Iterable[logging.LogRecord]) -> None:
        """Write to run.log what was said before it was open; other handlers have had it already."""
        for record in records:
            self._log.handle(record)

    def accept(self, settings: Settings) -> None:
        """Note the settings that the run goes on with; only those that a resume may change can differ."""
        manifest = read_manifest(self.path).model_dump() | {"settings": settings.model_dump(mode="json")}
        write_sealed(self.path / "run.json", manifest)

    def iteration_dir(self, place: Place) -> Path:
        """Folder of one iteration or of the production, made when it is missing."""
        folder = self.path / name_of(place)
        folder.mkdir(exist_ok=True)
        return folder

    def is_done(
        self,
        place: Place,
        stage: str,
        inputs: Mapping[str, Any],
        *,
        derived: Collection[str] = (),
        remake: Callable[[], object] | None = None,
    ) -> bool:
        """Whether a stage is finished and may be reused.

        Args:
            place: the iteration, or the production's name.
            inputs: what it depends on besides the run's settings: names and hashes or numbers.
            derived: patterns of files that can be made again from what the others and earlier stages hold.
            remake: makes them again where only these are damaged; without it the stage is not done then.

        Raises:
            StoreError: when it was made from other inputs, or one of its other files has changed since.
        """
        folder = self.iteration_dir(place)
        record_path = folder / f"{stage}.done"
        if not record_path.exists():
            return False
        record = read_stage(record_path)
        _compare_inputs(record_path, stage, record.inputs, inputs)
        states = {name: state_of(folder / name, record, name) for name in record.outputs}
        damaged = {name: told(state, stage) for name, state in states.items() if state}
        for name, words in damaged.items():
            if not any(fnmatch(name, pattern) for pattern in derived):
                raise StoreError(f"{folder / name}: {words}; {_advice(folder, stage)}")
        for name, words in damaged.items():
            logger.warning("%s/%s: %s; it is made again", folder.name, name, words)
            (folder / name).unlink(missing_ok=True)
        if damaged and remake is None:
            record_path.unlink()
        elif damaged and remake is not None:
            remake()
            self.mark_done(place, stage, inputs, tuple(record.outputs))
        return not damaged or remake is not None

    def has_finished(self, place: Place, stage: str) -> bool:
        """Whether a stage was finished at some time; `is_done` says whether it may be reused."""
        return (self.path / name_of(place) / f"{stage}.done").exists()

    def begin(self, place: Place, stage: str, inputs: Mapping[str, Any]) -> None:
        """Note what a long stage is being made from, or check that it goes on from the same.

        Raises:
            StoreError: when it was begun from other inputs.
        """
        path = self.iteration_dir(place) / f"{stage}.begun"
        if path.exists():
            _compare_inputs(path, stage, read_sealed(path), inputs)
        else:
            write_sealed(path, inputs)

    def mark_done(self, place: Place, stage: str, inputs: Mapping[str, Any], outputs: Sequence[str]) -> None:
        """Record a finished stage with sizes and hashes of its files."""
        folder = self.iteration_dir(place)
        record = {
            "inputs": dict(inputs),
            "outputs": {name: sha256(folder / name) for name in outputs},
            "sizes": {name: (folder / name).stat().st_size for name in outputs},
            "run": fixed(read_manifest(self.path)),
        }
        write_sealed(folder / f"{stage}.done", record)
        (folder / f"{stage}.begun").unlink(missing_ok=True)

    def inputs_of(self, place: Place, stage: str) -> dict[str, Any]:
        """What a finished stage was made from, as it recorded it."""
        return dict(read_stage(self.iteration_dir(place) / f"{stage}.done").inputs)

    def output_hash(self, place: Place, stage: str, name: str) -> str:
        """Hash of a file as a finished stage recorded it."""
        path = self.iteration_dir(place) / f"{stage}.done"
        outputs = read_stage(path).outputs
        if name not in outputs:
            raise StoreError(f"{path}: needs the hash of {name}; delete it to have the stage done again")
        return outputs[name]


def _compare_inputs(path: Path, stage: str, recorded: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    for key in sorted(inputs.keys() | recorded.keys()):
        came, needed = inputs.get(key), recorded.get(key)
        if came != needed:
            raise StoreError(
                f"{path}: {stage} was made from {key} = {needed}, now it is {came}; "
                f"{_advice(path.parent, stage)}"
            )


def _advice(folder: Path, stage: str) -> str:
    if stage == "analysis":
        return f"go back to what it was, or delete {folder.name}/analysis.done to analyse it again"
    if folder.name.startswith("iteration_"):
        return f"delete {folder.name} and all that came later to compute them again"
    return f"go back to what it was, or delete {folder.name} to compute it again"


def write_summary(
    run: RunDirectory,
    records: Sequence[IterationRecord],
    settings: Settings,
    *,
    verdict: Mapping[str, Any],
    production: Mapping[str, Any] | None = None,
) -> None:
    """Write summary.json: one record per iteration, where the CV converged, the verdict, the production."""
    write_json(
        run.path / "summary.json",
        {
            "system": settings.system.name,
            "convergence": settings.convergence.model_dump(mode="json"),
            "converged_at": converged_at(records, settings.convergence),
            "verdict": dict(verdict),
            "production": None if production is None else dict(production),
            "iterations": [record.as_dict() for record in records],
        },
    )


def check_folder(path: Path, *, resume: bool) -> None:
    """Look at a run's folder before anything is spent on the run; nothing is written.

    Raises:
        StoreError: as `RunDirectory.create`, or with `resume` as `RunDirectory.resume`, but for what it takes
            the lock or the system to see.
    """
    (_check_begun if resume else _check_new)(path)
    if is_in_use(path):
        raise _in_use(path)


def _check_new(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path}: needs a folder for the run, found a file; choose another --out")
    if (path / "run.json").exists():
        raise StoreError(f"{path}: holds a run already; continue it with --resume or choose another --out")
    if path.is_dir() and any(item.name != ".lock" and not item.match(PARTIAL) for item in path.iterdir()):
        raise StoreError(f"{path}: is not empty and holds no run; choose another --out")


def _check_begun(path: Path) -> None:
    if not (path / "run.json").is_file() and not any(path.glob("*/starts.done")):
        raise StoreError(f"{path}: holds no run to resume (no run.json); leave out --resume to begin one")


def _in_use(path: Path) -> StoreError:
    return StoreError(f"{path}: is in use by another process; wait for it or choose another --out")


def _acquire(path: Path) -> filelock.FileLock:
    lock = filelock.FileLock(path / ".lock")
    try:
        lock.acquire(timeout=1)  # a look at the run holds it for a moment
    except filelock.Timeout as error:
        raise _in_use(path) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    return lock
