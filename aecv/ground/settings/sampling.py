"""[sampling]: engine, walkers, and the length of an iteration."""

from typing import Literal

from pydantic import Field

from aecv.ground.settings.section import Section


class SamplingSettings(Section):
    """[sampling]: the engine, and the length of every iteration, over all walkers together."""

    engine: Literal["native", "plumed", "torchforce"] = Field(
        "native",
        description="what runs the biased dynamics; plumed and torchforce need packages of their own",
    )
    ns: float = Field(10.0, gt=0, description="simulated time of every iteration, over all walkers together")
    frame_ps: float = Field(0.1, gt=0, description="time between frames; a multiple of the time step")
    walkers: int = Field(4, ge=1, le=1024, description="walkers that share one bias")
    segment_ps: float = Field(
        50.0,
        gt=0,
        description="between saves, and between walkers sharing samples; keep it below a minute's work",
    )
    equilibration_ps: float = Field(20.0, ge=0, description="of every walker, once")
    frames: Literal["solute", "all"] = Field(
        "solute", description="what is stored: all atoms, or none of the water and ions after the solute"
    )
