"""[convergence]: when a CV counts as a regression of the last one."""

from typing import Any, Literal

from pydantic import Field, field_validator

from aecv.ground.settings.section import Section


class ConvergenceSettings(Section):
    """[convergence]: when the new CV counts as a regression of the old one."""

    s_min: float | Literal["bootstrap"] = Field(
        "bootstrap",
        description="score from which on the CV counts as the same; bootstrap: what CVs of resampled frames "
        "reach among each other, in every iteration anew",
    )
    replicas: int = Field(8, ge=2, le=64, description="resampled data sets of the bootstrap")
    replica_restarts: int = Field(1, ge=1, le=64, description="restarts on each of them")
    quantile: float = Field(0.1, ge=0, le=1, description="of the scores between the replicas' CVs")
    floor: float = Field(
        0.95, ge=0, lt=1, description="a lower score is never convergence, and needs no bootstrap"
    )
    consecutive: int = Field(2, ge=1, le=10_000, description="iterations in a row that need it")
    coverage: bool = Field(
        True, description="an iteration whose walkers did not cover what is known does not count"
    )
    stop: bool = Field(False, description="end the run there")

    @field_validator("s_min", mode="plain")
    @classmethod
    def _number_or_word(cls, value: Any) -> Any:
        # one sentence instead of a complaint per type of the union
        if value == "bootstrap":
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise ValueError('needs "bootstrap" or a number between 0 and 1')
        return float(value)
