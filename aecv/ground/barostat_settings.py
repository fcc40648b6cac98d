"""[barostat]: constant pressure of a periodic system, and what it needs of the other sections."""

from typing import TYPE_CHECKING

from pydantic import Field

from aecv.ground.section import Section

if TYPE_CHECKING:
    from aecv.ground.settings import Settings

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


def check_barostat(settings: "Settings") -> None:
    """A pressure has a box, and time to change it.

    Raises:
        ValueError: with what does not fit.
    """
    barostat, system = settings.barostat, settings.system
    if barostat.pressure_bar is None:
        if barostat.always:
            raise ValueError("barostat.always needs barostat.pressure_bar, for example 1.0")
        return
    if settings.particle is not None:
        raise ValueError("barostat.pressure_bar is for molecules in a periodic box; take it out")
    if not (system.is_periodic or system.format == "openmm"):
        raise ValueError(
            f"barostat.pressure_bar needs a periodic box: system.nonbonded PME or CutoffPeriodic, got "
            f"'{system.nonbonded}'"
        )
    if barostat.always and settings.sampling.engine == "plumed":
        raise ValueError(
            "barostat.always is not for sampling.engine 'plumed', whose DRR would take a sample at every "
            "trial of the barostat; set barostat.always = false, or take another engine"
        )
    least = MOVES * barostat.interval_steps * settings.dynamics.timestep_ps
    for key, length in (
        ("barostat.equilibration_ps", barostat.equilibration_ps),
        ("sampling.segment_ps", settings.sampling.segment_ps),
    ):
        if 0 < length < least * (1 - 1e-9):
            raise ValueError(
                f"{key} {length:g} needs to hold {MOVES} moves of the barostat, one every "
                f"barostat.interval_steps {barostat.interval_steps}: {least:g} ps or more"
            )
