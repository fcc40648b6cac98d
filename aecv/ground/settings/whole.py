"""Every setting of a run: names, units, defaults and bounds. After validation everything is frozen."""

from typing import Self

from pydantic import model_validator

from aecv.ground.settings.checks import check
from aecv.ground.settings.sections import Sections


class Settings(Sections):
    """Everything that determines a run."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check(self)
        return self
