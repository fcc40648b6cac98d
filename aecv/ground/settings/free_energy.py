"""[free_energy]: what a bin of a free energy needs to be known."""

from pydantic import Field

from aecv.ground.settings.section import Section


class FreeEnergySettings(Section):
    """[free_energy]: bins with less are unknown: inf in fes files, blank in pictures."""

    least_visits: float = Field(
        3.0,
        ge=1,
        le=1e9,
        description="effective visits of a bin, (sum w)^2/sum w^2 over stays of walkers, of F from weighted "
        "frames",
    )
    least_samples: int = Field(
        50,
        ge=1,
        le=1_000_000_000,
        description="time steps in a bin, of F integrated from mean forces (ABF, CZAR)",
    )
