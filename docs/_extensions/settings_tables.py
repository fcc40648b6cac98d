"""Tables of all settings, made from their definition at every build: `<!-- SETTINGS -->` stands for them."""

from collections.abc import Iterator
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx

from aecv.ground.settings import Settings

PLACE = "<!-- SETTINGS -->"
_UNITS = {
    "_ps": "ps",
    "_ns": "ns",
    "_nm": "nm",
    "_da": "Da",
    "_k": "K",
    "_per_ps": "1/ps",
    "_kj_mol": "kJ/mol",
    "_kj_mol_nm2": "kJ/mol/nm²",
}
_BOUNDS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def tables() -> str:
    """A heading, a sentence and a table for each section of system.toml, as Markdown."""
    return "\n".join(line for name, section in _sections() for line in _section(name, section))


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        models = [item for item in _members(field.annotation) if isinstance(item, type)]
        section = next(item for item in models if issubclass(item, BaseModel))
        yield (f"{name}.NAME" if get_origin(field.annotation) is dict else name), section


def _section(name: str, section: type[BaseModel]) -> Iterator[str]:
    sentence = (section.__doc__ or "").partition(": ")[2]
    yield f"## `[{name}]`\n\n{sentence[:1].upper()}{sentence[1:]}\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|"
    for key, field in section.model_fields.items():
        yield f"| `{key}` | {_value(key, field)} | {_default(field)} | {_cell(field.description or '')} |"
    yield ""


def _value(key: str, field: FieldInfo) -> str:
    """Kind, bounds and unit."""
    bounds = [
        f"{sign} {getattr(item, name):g}"
        for item in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(item, name)
    ]
    known = [unit for suffix, unit in _UNITS.items() if f"_{key}".endswith(suffix)]
    unit = f" [{max(known, key=len)}]" if known else ""
    return _cell(" ".join([_kind(field.annotation), ", ".join(bounds)]).strip() + unit)


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f'"{item}"' for item in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_kind(item) for item in arguments if item is not type(None))
    if origin is tuple:
        inner = [item for item in arguments if item is not Ellipsis]
        if Ellipsis in arguments:
            return f"list of {_kind(inner[0])}"
        return f"[{', '.join(_kind(item) for item in inner)}]"
    if hasattr(annotation, "__metadata__"):
        return _kind(annotation.__origin__)
    return {str: "text", int: "integer", float: "number", bool: "true or false"}[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(repr, value))}]`"
    text = (
        str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
    )
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("^", "\\^")


def _members(annotation: Any) -> Iterator[Any]:
    yield annotation
    for item in get_args(annotation):
        yield from _members(item)


def _replace(app: Sphinx, document: str, source: list[str]) -> None:
    source[0] = source[0].replace(PLACE, tables())


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
