"""run.json: what a run was begun with, and whether it may go on with what is given now."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aecv.ground.errors import StoreError
from aecv.ground.forms import in_form
from aecv.ground.layers import differences, flat, validate
from aecv.ground.sealed import fingerprint, read_sealed, write_sealed
from aecv.ground.settings import RENAMED, Settings
from aecv.ground.versions import versions
from aecv.molecules.spec import SystemSpec
from aecv.workflow.run_folder.stage_records import read_stage, stages_of

logger = logging.getLogger(__name__)

FORMAT = 4
FREE = ("run.iterations", "convergence.", "production.", "training.min_effective_frames")
"""Settings that a resumed run may change: they decide where it ends, not what an iteration holds. The s_min
that a finished iteration bootstrapped stays as it is; see `records.required_score`."""

_MOST_DIFFERENCES = 5
"""Of those that a refused resume tells."""
_INSTEAD = "Go back to what it was, or begin a new run with another --out"
_RESTORE = (
    "restore it from a copy, or go on (--resume) with the very settings, system and versions that the run "
    "was begun with: where a stage is finished, it is then written anew"
)


class Manifest(BaseModel):
    """run.json.

    Attributes:
        format: of the run's folder.
        system, system_hash: name, and hash of the files, of the molecular system.
        platform: of OpenMM.
        seed: root of all random numbers.
        settings: all of them, as plain values.
        versions: of Python and the packages that results depend on.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int | None = None
    system: str = ""
    system_hash: str = ""
    platform: str = ""
    seed: int | None = None
    settings: dict[str, Any]
    versions: dict[str, str] = {}


def read_manifest(run: Path, *, any_format: bool = False) -> Manifest:
    """The manifest of a run.

    Args:
        run: its folder.
        any_format: whether that of an earlier version will do.

    Raises:
        StoreError: when run.json is missing, damaged or of another format, with what to do.
    """
    path = run / "run.json"
    try:
        fields = read_sealed(path)
    except StoreError as error:
        raise StoreError(f"{error}; it needs the settings of a run: {_RESTORE}") from error
    number = fields.get("format")
    if number != FORMAT and not (any_format and "settings" in fields):
        raise StoreError(
            f"{path}: needs format {FORMAT}, got {number}; use the aecv that wrote it"
            + ("" if number else "; it needs the settings of a run")
        )
    return in_form(fields, Manifest, source=str(path))


def manifest_of(spec: SystemSpec, platform: str, engine_versions: Mapping[str, str] | None) -> dict[str, Any]:
    """What run.json has to say of a run that is begun now; for the arguments see `RunDirectory.create`."""
    return {
        "format": FORMAT,
        "system": spec.name,
        "system_hash": spec.hash,
        "platform": platform,
        "seed": spec.settings.run.seed,
        "settings": spec.settings.model_dump(mode="json"),
        "versions": versions() | dict(engine_versions or {}),
    }


def fixed(manifest: Manifest) -> str:
    """Hash of what a manifest says that may not change in a resumed run."""
    # under their first names, so that finished stages of old runs keep theirs
    first = {f"{section}.{new}": f"{section}.{old}" for (section, old), new in RENAMED.items()}
    named = {first.get(key, key): value for key, value in flat(manifest.settings).items()}
    settings = {key: value for key, value in named.items() if not key.startswith(FREE)}
    parts = (manifest.system, manifest.system_hash, manifest.platform, manifest.versions, settings)
    return fingerprint(parts)


def manifest_to_resume(path: Path, expected: Mapping[str, Any]) -> Manifest:
    """run.json; one that is damaged is written anew where the finished stages say that it was this one.

    Raises:
        StoreError: when it is damaged, and the stages were made with something else than `expected`.
    """
    try:
        return read_manifest(path)
    except StoreError as error:
        given = Manifest.model_validate(expected)
        if {read_stage(done).run for folder in path.glob("*/") for done in stages_of(folder)} != {
            fixed(given)
        }:
            raise
        logger.warning("%s; written anew, since the finished stages were made with the same settings", error)
        write_sealed(path / "run.json", expected)
        return given


def check_manifest(path: Path, manifest: Manifest, expected: Mapping[str, Any], settings: Settings) -> None:
    """Refuse to go on with anything else than what a run was begun with.

    Raises:
        StoreError: naming what differs, with both values.
    """
    if manifest.system != expected["system"]:
        raise StoreError(
            f"{path}: cannot be resumed: system was {manifest.system}, now {expected['system']}. {_INSTEAD}"
        )
    problems = [
        f"{key} was {was}, now {expected[key]}"
        for key, was in (("system_hash", manifest.system_hash), ("platform", manifest.platform))
        if was != expected[key]
    ]
    old = validate(manifest.settings, source=f"{path}/run.json")
    problems += [
        f"setting {key} was {before}, now {after}"
        for key, before, after in differences(old, settings)
        if not key.startswith(FREE)
    ]
    problems += [
        f"version of {name} was {manifest.versions.get(name)}, now {version}"
        for name, version in expected["versions"].items()
        if manifest.versions.get(name) != version
    ]
    if problems:
        left_out = len(problems) - _MOST_DIFFERENCES
        more = f" and {left_out} more" if left_out > 0 else ""
        told = "; ".join(problems[:_MOST_DIFFERENCES])
        raise StoreError(f"{path}: cannot be resumed: {told}{more}. {_INSTEAD}")
