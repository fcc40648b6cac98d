"""[delta_f]: a region of an observable, and which values lie in it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator

from aecv.ground.section import Section

if TYPE_CHECKING:
    from aecv.ground.settings import Settings


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


def check_region(settings: "Settings") -> None:
    """ValueError for a region that the period of its observable does not allow."""
    region = settings.delta_f
    if region is None:
        return
    fault = region_fault(region, settings.observables[region.observable].period)
    if fault:
        raise ValueError(f"delta_f: {fault}")


def in_region(observables: Mapping[str, ArrayLike], settings: "Settings") -> NDArray[np.bool_] | None:
    """Which values of its observable lie in the region of [delta_f], shape (n,); None without a region.

    lower < v < upper; with a period P, where the region leaves -P/2 .. P/2, 0 < (v - lower) mod P < upper -
    lower.

    Args:
        observables: name -> values [unit of its kind], shape (n,); in -P/2 .. P/2 where there is a period.
        settings: of the region, and of its observable's kind.
    """
    region = settings.delta_f
    if region is None:
        return None
    values = np.asarray(observables[region.observable])
    period = settings.observables[region.observable].period
    if period is None or _is_plain(region, period):
        return np.asarray((values > region.lower) & (values < region.upper))
    beyond = np.mod(values - region.lower, period)
    return np.asarray((beyond > 0) & (beyond < region.upper - region.lower))


def ends_of_region(settings: "Settings") -> tuple[float, float] | None:
    """Where the values of the observable enter and leave the region, within its period; None without one."""
    region = settings.delta_f
    if region is None:
        return None
    period = settings.observables[region.observable].period
    if period is None or _is_plain(region, period):
        return region.lower, region.upper
    lower, upper = np.mod(np.array([region.lower, region.upper]) + period / 2, period) - period / 2
    return float(lower), float(upper)


def _is_plain(region: DeltaFSettings, period: float) -> bool:
    """Whether no end needs to be wrapped: numbers without rounding by a modulus."""
    return region.lower >= -period / 2 and region.upper <= period / 2
