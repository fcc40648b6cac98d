"""The run directory: what belongs to it, which stages are finished, and whether they may be reused.

    run.json                    settings, system hash, seed, versions; those that may change follow the run
    iteration_03/STAGE.done     what a finished stage was made from and the hashes of what it wrote

A finished stage is reused only when both still agree; nothing is reused because a file happens to exist.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import filelock

from aecv.ground.errors import StoreError
from aecv.ground.files import PARTIAL, cannot_write, read_json, sha256, write_json
from aecv.ground.layers import differences, validate
from aecv.ground.plain_text import LineFormatter
from aecv.ground.settings import Settings
from aecv.ground.versions import versions
from aecv.models.spec import SystemSpec
from aecv.workflow.records import IterationRecord, converged_at

logger = logging.getLogger(__name__)

FORMAT = 4
_FREE = ("run.iterations", "convergence.", "production.", "training.min_effective_frames")
"""Settings that a resumed run may change: they decide where it ends, not what an iteration holds. The s_min
that a finished iteration bootstrapped stays as it is; see `records.required_score`."""

_MOST_DIFFERENCES = 5
"""Of those that a refused resume tells."""
_INSTEAD = "Go back to what it was, or begin a new run with another --out"

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
        if path.exists() and not path.is_dir():
            raise StoreError(f"{path}: needs a folder for the run, found a file; choose another --out")
        if (path / "run.json").exists():
            raise StoreError(
                f"{path}: holds a run already; continue it with --resume or choose another --out"
            )
        if path.is_dir() and any(item.name != ".lock" and not item.match(PARTIAL) for item in path.iterdir()):
            raise StoreError(f"{path}: is not empty and holds no run; choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path, error) from error
        lock = _acquire(path)
        try:
            write_json(path / "run.json", _manifest(spec, platform, engine_versions))
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
        if not (path / "run.json").is_file():
            raise StoreError(f"{path}: holds no run to resume (no run.json); leave out --resume to begin one")
        lock = _acquire(path)
        try:
            manifest = read_json(path / "run.json")
            _check_manifest(path, manifest, _manifest(spec, platform, engine_versions), spec.settings)
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
        manifest = read_json(self.path / "run.json")
        manifest["settings"] = settings.model_dump(mode="json")
        write_json(self.path / "run.json", manifest)

    def iteration_dir(self, place: Place) -> Path:
        """Folder of one iteration or of the production, made when it is missing."""
        folder = self.path / name_of(place)
        folder.mkdir(exist_ok=True)
        return folder

    def is_done(self, place: Place, stage: str, inputs: Mapping[str, Any]) -> bool:
        """Whether a stage is finished and may be reused.

        Args:
            place: the iteration, or the production's name.
            inputs: what it depends on besides the run's settings: names and hashes or numbers.

        Raises:
            StoreError: when it was made from other inputs, or one of its files has changed since.
        """
        folder = self.iteration_dir(place)
        record_path = folder / f"{stage}.done"
        if not record_path.exists():
            return False
        record = read_json(record_path)
        _compare_inputs(record_path, stage, record["inputs"], inputs)
        for name, digest in record["outputs"].items():
            path = folder / name
            if not path.is_file() or sha256(path) != digest:
                state = "is missing" if not path.is_file() else "has changed"
                raise StoreError(f"{path}: {state} since {stage} wrote it; {_advice(folder, stage)}")
        return True

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
            _compare_inputs(path, stage, read_json(path), inputs)
        else:
            write_json(path, dict(inputs))

    def mark_done(self, place: Place, stage: str, inputs: Mapping[str, Any], outputs: Sequence[str]) -> None:
        """Record a finished stage with the hashes of its files."""
        folder = self.iteration_dir(place)
        record = {"inputs": dict(inputs), "outputs": {name: sha256(folder / name) for name in outputs}}
        write_json(folder / f"{stage}.done", record)
        (folder / f"{stage}.begun").unlink(missing_ok=True)

    def inputs_of(self, place: Place, stage: str) -> dict[str, Any]:
        """What a finished stage was made from, as it recorded it."""
        return dict(read_json(self.iteration_dir(place) / f"{stage}.done")["inputs"])

    def output_hash(self, place: Place, stage: str, name: str) -> str:
        """Hash of a file as a finished stage recorded it."""
        record = read_json(self.iteration_dir(place) / f"{stage}.done")
        return str(record["outputs"][name])


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


def _manifest(spec: SystemSpec, platform: str, engine_versions: Mapping[str, str] | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "system": spec.name,
        "system_hash": spec.hash,
        "platform": platform,
        "seed": spec.settings.run.seed,
        "settings": spec.settings.model_dump(mode="json"),
        "versions": versions() | dict(engine_versions or {}),
    }


def _check_manifest(path: Path, manifest: Any, expected: Mapping[str, Any], settings: Settings) -> None:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise StoreError(f"{path}/run.json: needs format {FORMAT}, got {found}; use the aecv that wrote it")
    if manifest.get("system") != expected["system"]:
        raise StoreError(
            f"{path}: cannot be resumed: system was {manifest.get('system')}, now {expected['system']}. "
            f"{_INSTEAD}"
        )
    problems = [
        f"{key} was {manifest.get(key)}, now {expected[key]}"
        for key in ("system_hash", "platform")
        if manifest.get(key) != expected[key]
    ]
    old = _old_settings(path, manifest)
    problems += [
        f"setting {key} was {before}, now {after}"
        for key, before, after in differences(old, settings)
        if not key.startswith(_FREE)
    ]
    recorded = manifest.get("versions", {})
    problems += [
        f"version of {name} was {recorded.get(name)}, now {version}"
        for name, version in expected["versions"].items()
        if recorded.get(name) != version
    ]
    if problems:
        left_out = len(problems) - _MOST_DIFFERENCES
        more = f" and {left_out} more" if left_out > 0 else ""
        told = "; ".join(problems[:_MOST_DIFFERENCES])
        raise StoreError(f"{path}: cannot be resumed: {told}{more}. {_INSTEAD}")


def _old_settings(path: Path, manifest: Mapping[str, Any]) -> Settings:
    return validate(manifest.get("settings", {}), source=f"{path}/run.json")


def _acquire(path: Path) -> filelock.FileLock:
    lock = filelock.FileLock(path / ".lock")
    try:
        lock.acquire(timeout=1)  # a look at the run holds it for a moment
    except filelock.Timeout as error:
        raise StoreError(
            f"{path}: is in use by another process; wait for it or choose another --out"
        ) from error
    except OSError as error:
        raise cannot_write(path, error) from error
    return lock
