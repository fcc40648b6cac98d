"""JSON held against a form by a schema library: one reader of records, manifests and descriptions."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from aecv.ground.errors import StoreError
from aecv.ground.files import read_json

T = TypeVar("T")

_MOST_FAULTS, _MOST_LETTERS = 3, 60


def _nan_of_null(value: Any) -> Any:
    return float("nan") if value is None else value


Number = Annotated[float, BeforeValidator(_nan_of_null)]
"""A number as JSON has it: null stands for NaN, "inf" and "-inf" for infinity."""
Count = Annotated[int, Field(ge=0, lt=2**63)]
"""How many there are of something, or its index."""


def read_form(path: Path, form: type[T]) -> T:
    """The content of a JSON file as what it has to be.

    Args:
        path: the file.
        form: a pydantic model, a dataclass, or a type such as dict[str, float].

    Raises:
        StoreError: when the file is missing, no JSON, or of another form; the message names the fields.
    """
    return in_form(read_json(path), form, source=str(path))


def in_form(content: Any, form: type[T], *, source: str) -> T:
    """Plain values as what they have to be; see `read_form`."""
    try:
        adapter: TypeAdapter[T] = _adapter(form)  # type: ignore[arg-type]
        return adapter.validate_python(content)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        told = [_told(item, form) for item in faults[:_MOST_FAULTS]]
        more = f" and {len(faults) - _MOST_FAULTS} more" if len(faults) > _MOST_FAULTS else ""
        raise StoreError(f"{source}: {'; '.join(told)}{more}") from error
    except (OverflowError, RecursionError) as error:
        raise StoreError(f"{source}: holds numbers or brackets that nothing can take ({error})") from error


@lru_cache(maxsize=64)
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def _told(item: Any, form: Any) -> str:
    """A fault: the field, what it needs, what came."""
    field = ".".join(map(str, item["loc"]))
    if item["type"] == "missing":
        return f"lacks '{field}'"
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"has an unknown field '{field[:_MOST_LETTERS]}'"
    came = repr(item["input"])
    came = came if len(came) <= _MOST_LETTERS else f"{came[:_MOST_LETTERS]}..."
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] in ("dict_type", "model_type", "dataclass_type"):
        names = getattr(form, "model_fields", None) or getattr(form, "__dataclass_fields__", ())
        message = "needs " + (
            f"the fields {', '.join(names)}" if names and not field else "fields with names"
        )
    return f"{field + ': ' if field else ''}{message[:1].lower()}{message[1:]}, got {came}"
