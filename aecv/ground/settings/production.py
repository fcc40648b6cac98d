"""[production]: the longer run along the final CV."""

from pydantic import Field

from aecv.ground.settings.section import Section


class ProductionSettings(Section):
    """[production]: the longer run along the final CV."""

    ns: float | None = Field(
        None, ge=0, description="simulated time over all walkers; left out: twice sampling.ns; 0: none"
    )
    frozen_stages: int = Field(
        4,
        ge=0,
        le=50,
        description="stages of frozen bias, after eabf.adaptive_share; 0: it adapts throughout",
    )
    replicates: int = Field(200, ge=20, le=10_000, description="of the bootstrap behind its error bars")
