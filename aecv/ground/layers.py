"""Where settings meet the outside: TOML files, --set, and what a person is told about them.

Layers are laid over each other (system.toml, --config, --set) and validated once. Unknown keys are errors
with a suggestion.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from aecv.ground.errors import SettingsError, suggestion
from aecv.ground.files import why_no_file
from aecv.ground.settings import RENAMED, ObservableSettings, Settings, renamed
from aecv.ground.toml_text import MOST_CHARACTERS, MOST_PARTS, parse_toml

logger = logging.getLogger(__name__)

Overrides = str | Sequence[str] | Mapping[str, Any]
"""Settings laid over a system's, as texts or as a mapping."""
_UNSEEN = re.compile("[\x80-\x9f\xad]")
"""What a terminal gets as \\x80, which TOML does not know; of other such characters it knows the spelling."""
Layer = tuple[str, Mapping[str, Any]]
"""Where settings come from, for messages, and what was said there."""


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SettingsError: when it is missing or malformed.
    """
    if reason := why_no_file(path):
        raise SettingsError(f"{path}: needs a readable TOML file, {reason}")
    try:
        with open(path, encoding="utf-8") as handle:
            return parse_toml(handle.read(MOST_CHARACTERS + 1))  # of a device there is no end
    except (OSError, ValueError) as error:  # the latter also of bytes that are no text
        raise SettingsError(f"{path}: needs a readable TOML file, got: {error}") from error


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`training.restarts=8` -> (("training", "restarts"), 8).

    The section may be left out where one section alone has the key: `restarts=8`. The value is read as TOML;
    what is no TOML value is taken as a string.

    Raises:
        SettingsError: without '=', or for a key without its section that none or several have.
    """
    key, separator, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not separator or not all(path) or len(path) > MOST_PARTS:
        raise SettingsError(f"--set {text!r}: needs SECTION.KEY=VALUE, for example training.restarts=8")
    if len(path) == 1:
        path = (_section_of(path[0], text), *path)
    try:
        return path, parse_toml(f"value = {value}")["value"]
    except ValueError:
        return path, value.strip()


def override_layers(given: Overrides) -> list[Layer]:
    """Settings of a command line or of Python as layers, in their order.

    Args:
        given: `SECTION.KEY=VALUE` texts, or a mapping of such keys, or of sections to their keys, to values.

    Raises:
        SettingsError: as `parse_override`.
    """
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Mapping):
        return [(f"--set {text}", override(*parse_override(text))) for text in given]
    layers: list[Layer] = []
    for key, value in given.items():
        path = tuple(key.split("."))
        if len(path) == 1 and not isinstance(value, Mapping):
            path = (_section_of(key, f"{key}={value}"), key)
        layers.append((f"overrides {'.'.join(path)}", override(path, _plain_setting(value))))
    return layers


def _plain_setting(value: Any) -> Any:
    """A value of Python as TOML would give it."""
    if isinstance(value, Mapping):
        return nested({key: _plain_setting(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return [_plain_setting(item) for item in value]
    # of numpy: its scalars and arrays
    return value.tolist() if hasattr(value, "tolist") else str(value) if isinstance(value, Path) else value


def _section_of(key: str, text: str) -> str:
    """The one section that has a key."""
    having = {
        name: list(section.model_fields)
        for name in Settings.model_fields
        if name != "observables" and (section := _section(name)) is not None  # these have names of their own
    }
    sections = [name for name, keys in having.items() if key in keys or (name, key) in RENAMED]
    if len(sections) == 1:
        return sections[0]
    if sections:
        choices = " or ".join(f"{name}.{key}" for name in sections)
        raise SettingsError(f"--set {text!r}: {len(sections)} sections have the key '{key}'; write {choices}")
    nearest = suggestion(key, [item for keys in having.values() for item in keys])
    raise SettingsError(
        f"--set {text!r}: needs SECTION.KEY=VALUE, for example training.restarts=8; no section has the key "
        f"'{key}'{nearest}"
    )


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


def under_new_names(layers: Sequence[Layer]) -> list[Layer]:
    """Layers without names that settings had before; a warning tells the new one."""
    for source, fields in layers:
        for (section, old), new in RENAMED.items():
            if _depth(fields, (section, old)) == 2:
                logger.warning("%s: %s.%s is now called %s.%s", source, section, old, section, new)
    return [(source, renamed(fields)) for source, fields in layers]


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by dotted keys as nested ones; later keys win."""
    return merge({}, *(override(key.split("."), value) for key, value in fields.items()))


def changed(settings: Settings, changes: Mapping[str, Any], *, source: str) -> Settings:
    """Settings with other values by dotted keys; SettingsError where they do not fit together."""
    has_forces = settings.particle is not None or settings.system.structure is not None
    fields = merge(settings.model_dump(mode="json"), nested(changes))
    return validate(fields, source=source, has_forces=has_forces)


def validate(
    fields: Mapping[str, Any], *, source: str, layers: Sequence[Layer] = (), has_forces: bool = True
) -> Settings:
    """Settings from plain fields.

    Args:
        source: where they come from, for messages.
        layers: what they were merged from, later ones on top; of these a message names only the one that
            set the key in question.
        has_forces: whether they have to say what gives the forces.

    Raises:
        SettingsError: all problems in a line: key, what is needed, what came, for an unknown key the nearest
            known one, and the source.
    """
    try:
        return Settings.model_validate(dict(fields), context={"has_forces": has_forces})
    except ValidationError as error:
        inner = {item["loc"][:-1] for item in error.errors()}
        # pydantic counts the sound items of a list only
        faults = [item for item in error.errors() if item["type"] != "too_short" or item["loc"] not in inner]
        told = [(_describe(item), _origin(item, layers) or source) for item in faults]
        if len({origin for _, origin in told}) == 1:
            told = [("; ".join(fault for fault, _ in told), told[0][1])]
        raise SettingsError("; ".join(f"{fault} (from {origin})" for fault, origin in told)) from error


def setter(key: Sequence[str], layers: Sequence[Layer]) -> str:
    """Name of the last layer that holds a key, or most of its path; empty where none holds any of it."""
    depths = [_depth(fields, key) for _, fields in layers]
    holding = [name for (name, _), d in zip(layers, depths, strict=True) if 0 < d == max(depths)]
    return holding[-1] if holding else ""


def _depth(fields: Any, key: Sequence[str]) -> int:
    """How many leading parts of a key nested fields hold."""
    for depth, part in enumerate(key):
        if not isinstance(fields, Mapping) or part not in fields:
            return depth
        fields = fields[part]
    return len(key)


def _origin(item: Mapping[str, Any], layers: Sequence[Layer]) -> str:
    """The layers that a problem is of; empty where that is not known.

    What does not fit together, or is missing, is no fault of a single key: then those that set the keys of
    the message are named, or all that hold the section.
    """
    location = [str(part) for part in item["loc"]]
    if item["type"] != "missing" and not isinstance(item["input"], Mapping):
        return setter(location, layers)
    keys = [key.split(".") for key in re.findall(r"\b[a-z_]+(?:\.\w+)+", item["msg"])]
    named = {setter(key, layers) for key in keys if any(_depth(f, key) == len(key) for _, f in layers)}
    if not named and location:
        deepest = max((_depth(fields, location) for _, fields in layers), default=0)
        named = {name for name, fields in layers if deepest and _depth(fields, location) == deepest}
    return " with ".join(name for name, _ in layers if name in named)


def sections(
    section: BaseModel, path: str = ""
) -> Iterator[tuple[str, BaseModel, list[tuple[str, Any, FieldInfo]]]]:
    """Dotted name of a section, the section, and name, value and field of each setting that is its own.

    Then the same of the sections below it, depth first; settings as a whole have an empty name.
    """
    own: list[tuple[str, Any, FieldInfo]] = []
    below: list[tuple[str, BaseModel]] = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            below.append((name, value))
        elif isinstance(value, Mapping):
            below += [(f"{name}.{key}", item) for key, item in value.items()]
        else:
            own.append((name, value, field))
    yield path, section, own
    for name, item in below:
        yield from sections(item, f"{path}.{name}" if path else name)


def to_toml(settings: Settings) -> str:
    """Settings as TOML that `validate` accepts again, with what each key means as a comment."""
    return "\n".join(_lines(settings)).strip() + "\n"


def _lines(settings: Settings) -> Iterator[str]:
    for path, section, own in sections(settings):
        if path:
            yield f"\n[{path}]"
        for name, value, field in own:
            if value is None:
                if field.description:
                    yield f"# {name} =  # {field.description}"
                continue
            line = tomli_w.dumps({name: section.model_dump(mode="json")[name]}, indent=2).rstrip()
            line = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
            if field.description and "\n" in line:
                yield f"# {field.description}"
            yield f"{line}  # {field.description}" if field.description and "\n" not in line else line


def differences(old: Settings, new: Settings) -> Iterator[tuple[str, Any, Any]]:
    """Dotted key, old value and new value of each setting that differs."""
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def flat(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = value
    return found


def _describe(item: Mapping[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    if item["type"] == "extra_forbidden":
        known = _known_keys(location[:-1])
        return (
            f"unknown key '{key}'{suggestion(location[-1], known)} (known here: {', '.join(sorted(known))})"
        )
    if item["type"] == "missing":
        return f"missing key '{key}'"
    came = "" if isinstance(item["input"], Mapping) else f", got {item['input']!r}"
    fault = f"{item['msg'].removeprefix('Value error, ')}{came}"
    return f"{key}: {fault}" if key else fault


def _known_keys(location: Sequence[str]) -> list[str]:
    section: Any = Settings
    for part in location:
        if section is Settings and part == "observables":
            return list(ObservableSettings.model_fields) if len(location) > 1 else []
        section = _section(part, section)
        assert section is not None  # pydantic has found keys below it
    return list(section.model_fields)


def _section(name: str, parent: type[BaseModel] = Settings) -> type[BaseModel] | None:
    """The class of a field that is a section, optional ones included; None for any other field."""
    annotation = parent.model_fields[name].annotation
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)
