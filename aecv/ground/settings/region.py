"""[delta_f]: a region of an observable, and which values lie in it."""

from pydantic import model_validator

from aecv.ground.settings.section import Section


class DeltaFSettings(Section):
    """[delta_f]: F(inside) - F(rest), for lower < observable < upper; dihedrals are taken modulo 2 pi."""

    observable: str
    lower: float
    upper: float

    @model_validator(mode="after")
    def _ordered(self) -> "DeltaFSettings":
        if not self.lower < self.upper:
            raise ValueError(f"needs lower < upper, got {self.lower} and {self.upper}")
        return self


def region_fault(region: DeltaFSettings, period: float | None) -> str:
    """What is wrong with a region of a quantity with this period; "" where nothing is.

    Ends may lie up to one period beyond -period/2 .. period/2, as those of a region across the seam do. Wider
    or farther ones are most likely degrees.
    """
    if period is None:
        return ""
    is_near = region.lower >= -1.5 * period and region.upper <= 1.5 * period
    if is_near and region.upper - region.lower < period:
        return ""
    return (
        f"{region.observable} is in radians, -pi to pi; needs a region narrower than 2 pi within a turn of "
        f"them, got {region.lower:g} to {region.upper:g}; divide degrees by 57.2958"
    )
