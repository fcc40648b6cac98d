"""[pool]: the frames that train the next CV, and their weights."""

from typing import Literal

from pydantic import Field

from aecv.ground.settings.section import Section


class PoolSettings(Section):
    """[pool]: which frames train the next CV, and how they are weighted."""

    mode: Literal["mbar", "none"] = Field(
        "mbar", description="mbar: biased iterations together; none: the last one alone, as in FEBILAE"
    )
    exploration: int = Field(
        1,
        ge=0,
        le=10_000,
        description="first biased iterations that leave the pool once there are later ones",
    )
    discard: float = Field(0.2, ge=0, lt=1, description="first share of an iteration's time that is left out")
    blocks: int = Field(
        4, ge=1, le=50, description="parts of an iteration, each weighted by its bias at the time"
    )
    max_frames: int = Field(200_000, ge=100, le=1_000_000_000, description="the pool is thinned to this many")
    power: float = Field(
        0.25,
        gt=0,
        le=1,
        description="training weights are w^power (mode mbar); scores and free energies keep w",
    )
