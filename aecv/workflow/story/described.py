"""Settings of a run with their meaning, what they differ from, and the command that repeats the run."""

import json
import shlex
from typing import Any

from pydantic.fields import FieldInfo

from aecv.ground.errors import AecvError
from aecv.ground.layers import differences, sections
from aecv.ground.settings import Settings
from aecv.molecules.spec import load_system, shipped_systems
from aecv.results.story.content import SettingRow
from aecv.workflow.run_folder.manifest import Manifest

_OF_SYSTEM = ("system", "particle", "cv", "observables", "delta_f")
"""Sections that describe a system: what stands in them is no deviation from anything."""

Group = tuple[str, tuple[SettingRow, ...]]


def setting_groups(settings: Settings) -> tuple[Group, ...]:
    """Every section with its settings, in the order of --print-config."""
    return tuple(
        (path, tuple(_row(*one, is_system=path.split(".")[0] in _OF_SYSTEM) for one in own))
        for path, _, own in sections(settings)
        if path and own
    )


def _row(name: str, value: Any, field: FieldInfo, *, is_system: bool) -> SettingRow:
    default = field.get_default(call_default_factory=False)
    is_default = not field.is_required() and value == default
    return SettingRow(
        key=name,
        value=_text(value),
        default="" if field.is_required() else _text(default),
        meaning=field.description or "",
        origin="default" if is_default else "given" if is_system or field.is_required() else "changed",
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def repeating(manifest: Manifest, settings: Settings, cv: str | None, *, given_frames: bool = False) -> str:
    """The command that runs the same again, into another folder.

    Args:
        manifest: run.json.
        settings: of the run.
        cv: what was sampled along; None for a run of the loop.
        given_frames: whether it began with a user's frames, whose files the run does not name.
    """
    words = ["aecv", "iterate"] if cv is None else ["aecv", "sample"]
    overrides = _overrides(manifest, settings)
    if overrides is None:
        words += ["--system", "FOLDER_OF_THE_SYSTEM", "--config", "settings.toml"]
    else:
        words += ["--system", settings.system.name]
        words += [part for text in overrides for part in ("--set", text)]
    if given_frames:
        words += ["--frames", "THE_TRAJECTORY"]
    if cv is not None:
        words += ["--cv", cv]
    return shlex.join([*words, "--out", "NEW_FOLDER"])


def _overrides(manifest: Manifest, settings: Settings) -> list[str] | None:
    """What --set has to say for the shipped system; None where it is another one or cannot be said so."""
    name = settings.system.name
    if name not in shipped_systems():
        return None
    try:
        spec = load_system(name)
    except AecvError:
        return None
    changed = list(differences(spec.settings, settings))
    if spec.hash != manifest.system_hash or any(new is None for _, _, new in changed):
        return None
    return [f"{key}={json.dumps(new)}" for key, _, new in changed]
