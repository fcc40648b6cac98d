"""[barostat]: constant pressure of a periodic system, and what it needs of the other sections."""

from pydantic import Field

from aecv.ground.settings.section import Section

MOVES = 10
"""Fewest moves of the volume between saves: with none the pressure would do nothing."""


class BarostatSettings(Section):
    """[barostat]: constant pressure of a periodic system, by Monte Carlo moves of its volume."""

    pressure_bar: float | None = Field(
        None, ge=0, le=1e5, description="left out: the volume of the structure's box"
    )
    equilibration_ps: float = Field(
        100.0,
        ge=0,
        description="of every walker at this pressure; then all take the mean volume; 0: the structure's box",
    )
    interval_steps: int = Field(25, ge=1, le=1_000_000_000, description="between moves")
    always: bool = Field(
        False, description="constant pressure throughout, each walker with a volume of its own"
    )

    def round_ps(self, segment_ps: float, timestep_ps: float, n_rounds: int) -> float:
        """Length of the pieces of the equilibration: a share of it, with moves enough, at most a segment."""
        least = MOVES * self.interval_steps * timestep_ps
        return min(max(self.equilibration_ps / n_rounds, least), segment_ps)
