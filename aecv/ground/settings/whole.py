"""Every setting of a run: names, units, defaults and bounds. After validation everything is frozen."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationInfo, model_validator

from aecv.ground.settings.checks import check
from aecv.ground.settings.renamed import renamed
from aecv.ground.settings.sections import Sections


class Settings(Sections):
    """Everything that determines a run."""

    @model_validator(mode="before")
    @classmethod
    def _under_new_names(cls, fields: Any) -> Any:
        return renamed(fields) if isinstance(fields, Mapping) else fields

    @model_validator(mode="after")
    def _consistent(self, info: ValidationInfo) -> Self:
        check(self, has_forces=(info.context or {}).get("has_forces", True))
        return self
