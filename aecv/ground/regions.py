"""Which values lie in the region of [delta_f], and where it ends: dihedrals wrap."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.settings import DeltaFSettings, Settings


def in_region(observables: Mapping[str, ArrayLike], settings: Settings) -> NDArray[np.bool_] | None:
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


def ends_of_region(settings: Settings) -> tuple[float, float] | None:
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
