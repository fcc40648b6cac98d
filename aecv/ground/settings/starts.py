"""[starts]: where iteration 0 and the walkers begin."""

from typing import Literal

from pydantic import Field

from aecv.ground.settings.section import Section


class StartSettings(Section):
    """[starts]: the structures that iteration 0 and the walkers start from."""

    mode: Literal["auto", "one", "given"] = Field(
        "auto", description="auto: conformers of a hot run; one: the structure; given: system.starts"
    )
    hot_temperature_k: float = Field(1000.0, gt=0, le=1e5)
    hot_ps: float = Field(1000.0, gt=0, description="length of the hot run")
    hot_share: float = Field(
        0.3,
        ge=0,
        lt=1,
        description="weight of the hot run's frames in the first training: they connect the basins",
    )
    candidates: int = Field(100, ge=2, le=100_000, description="snapshots of the hot run that are minimised")
    max_starts: int = Field(4, ge=1, le=100_000)
    min_rmsd_nm: float = Field(0.05, gt=0, le=1000, description="between distinct conformers, heavy atoms")
