"""Where settings meet the outside: TOML files, --set, and what a person is told about them.

Layers are laid over each other (system.toml, --config, --set) and validated once. Unknown keys are errors
with a suggestion.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from aecv.ground.errors import SettingsError, suggestion
from aecv.ground.settings import ObservableSettings, Settings


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SettingsError: when it is missing or malformed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: needs a readable TOML file, got: {error}") from error


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`training.restarts=8` -> (("training", "restarts"), 8).

    The value is read as TOML; what is no TOML value is taken as a string.

    Raises:
        SettingsError: without '=' or without a dotted key.
    """
    key, separator, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not separator or len(path) < 2 or not all(path):
        raise SettingsError(f"--set {text!r}: needs SECTION.KEY=VALUE, for example training.restarts=8")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value.strip()


def merge(base: Mapping[str, Any], *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings laid over each other; later ones win, `base` stays as it is."""
    merged = dict(base)
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            merged[key] = (
                merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
            )
    return merged


def override(path: Sequence[str], value: Any) -> dict[str, Any]:
    """A nested mapping that holds one value."""
    nested: Any = value
    for part in reversed(path):
        nested = {part: nested}
    return dict(nested)


def validate(fields: Mapping[str, Any], *, source: str) -> Settings:
    """Settings from plain fields.

    Raises:
        SettingsError: one line per problem: source, key, what is needed, what came, and for an unknown
            key the nearest known one.
    """
    try:
        return Settings.model_validate(dict(fields))
    except ValidationError as error:
        lines = [_describe(item) for item in error.errors()]
        raise SettingsError(f"{source}: " + "; ".join(lines)) from error


def to_toml(settings: Settings) -> str:
    """Settings as TOML that `validate` accepts again, with what each key means as a comment."""
    return "\n".join(_section_lines(settings, "")).strip() + "\n"


def _section_lines(section: BaseModel, path: str) -> Iterator[str]:
    """Lines of one section and those below it."""
    below: list[tuple[str, BaseModel]] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            below.append((name, value))
        elif isinstance(value, Mapping):
            below += [(f"{name}.{key}", item) for key, item in value.items()]
        elif value is not None:
            line = tomli_w.dumps({name: section.model_dump(mode="json")[name]}, indent=2).rstrip()
            if field.description and "\n" in line:
                yield f"# {field.description}"
            yield f"{line}  # {field.description}" if field.description and "\n" not in line else line
        elif field.description:
            yield f"# {name} =  # {field.description}"
    for name, item in below:
        dotted = f"{path}.{name}" if path else name
        yield f"\n[{dotted}]"
        yield from _section_lines(item, dotted)


def differences(old: Settings, new: Settings) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key, old value and new value of each setting that differs."""
    before, after = _flatten(old.model_dump(mode="json")), _flatten(new.model_dump(mode="json"))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _describe(item: Mapping[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location) or "settings"
    if item["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return (
            f"unknown key '{key}'{suggestion(location[-1], known)} (known here: {', '.join(sorted(known))})"
        )
    if item["type"] == "missing":
        return f"missing key '{key}'"
    came = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
    return f"{key}: {item['msg'].removeprefix('Value error, ')}{came}"


def _known_keys(location: Sequence[str]) -> list[str]:
    section: Any = Settings
    for part in location:
        if section is Settings and part == "observables":
            return list(ObservableSettings.model_fields) if len(location) > 1 else []
        annotation = section.model_fields[part].annotation
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        section = next(item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel))
    return list(section.model_fields)
