"""Confidence intervals from replicates of an estimate, and the zero that profiles are compared at."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f as fisher
from scipy.stats import norm
from scipy.stats import t as student

from aecv.ground.arrays import BoolArray, FloatArray
from aecv.ground.errors import GridError, SamplingError
from aecv.ground.shown import Shown


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Interval(Shown):
    """An estimate with its confidence interval; all of the same shape, () for a number.

    Attributes:
        estimate: from all frames; NaN where unknown.
        lower, upper: ends of the interval; -inf and inf where the data do not determine it.
        standard_error: one standard error, inf where the data do not determine it.
    """

    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    standard_error: FloatArray

    def __repr__(self) -> str:
        if np.ndim(self.estimate):
            return super().__repr__()
        return f"{float(self.estimate):.3g} ({float(self.lower):.3g} to {float(self.upper):.3g})"

    def contains(self, truth: ArrayLike) -> FloatArray:
        """1 where the interval holds the truth, 0 where not, NaN where estimate or truth is unknown."""
        value = np.asarray(truth, dtype=np.float64)
        held = (self.lower <= value) & (value <= self.upper)
        return np.where(np.isnan(self.estimate) | np.isnan(value), np.nan, held)

    def where(self, known: BoolArray) -> "Interval":
        """The same with NaN where it is not known.

        Args:
            known: shape of the estimate.
        """
        return self._each(lambda part: np.where(known, part, np.nan))

    def reshape(self, shape: tuple[int, ...]) -> "Interval":
        """The same in another shape."""
        return self._each(lambda part: part.reshape(shape))

    def _each(self, change: Callable[[FloatArray], FloatArray]) -> "Interval":
        return Interval(**{item.name: change(getattr(self, item.name)) for item in fields(self)})


def interval(
    estimate: ArrayLike,
    replicates: ArrayLike,
    *,
    n_units: int,
    n_strata: int = 1,
    level: float = 0.95,
    floor: ArrayLike = 0.0,
) -> Interval:
    """Confidence interval estimate +- max(t SE, z floor) from bootstrap replicates.

    SE = std(replicates), drawn so that it is right in every stratum, see `statistics.sampling_units`. t is
    Student's quantile with n - s degrees of freedom for n units in s strata, z the normal one. Percentiles of
    the replicates, widened by t / z, held the truth less often: few units make few distinct replicates.

    A replicate that is not finite has dropped all units that know the answer. Where that happens in more
    than 1 - level of them, about when fewer than three units know, the interval is infinite; so it is without
    degrees of freedom.

    Args:
        estimate: from all frames, any shape; NaN where unknown.
        replicates: the same from resampled frames, shape (n_replicates, *estimate.shape); profiles aligned
            to the estimate by `aligned`.
        n_units: how many units were resampled.
        n_strata: in how many strata.
        level: wanted probability that the interval holds the truth.
        floor: standard error that is known from elsewhere to be too small, such as `crossing_error`; of a
            shape that broadcasts to the estimate's.

    Raises:
        GridError: for shapes that do not match.
        SamplingError: for fewer than 20 replicates, or a level outside (0, 1).
    """
    value, drawn = np.asarray(estimate, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    if drawn.shape[1:] != value.shape or drawn.ndim != value.ndim + 1:
        raise GridError(
            f"interval: replicates need shape (n_replicates, *estimate) with {value.shape} of the estimate, "
            f"got {drawn.shape}"
        )
    if len(drawn) < 20 or not 0.0 < level < 1.0:
        raise SamplingError(
            f"interval: needs >= 20 replicates and a level in (0, 1), got {len(drawn)} and {level}; "
            "draw a few hundred replicates"
        )
    freedom = n_units - n_strata
    error = np.full(value.shape, np.inf)
    if freedom > 0:
        spread = _finite_std(drawn)
        undetermined = np.mean(~np.isfinite(drawn), axis=0) > 1.0 - level
        error = np.where(undetermined | ~np.isfinite(value), np.inf, spread)
    least = np.broadcast_to(np.asarray(floor, dtype=np.float64), value.shape)
    tail = 0.5 * (1.0 + level)
    half = np.maximum(student.ppf(tail, max(freedom, 1)) * error, norm.ppf(tail) * least)
    unknown, known = np.isnan(value), np.isfinite(value) & np.isfinite(half)
    centre, width = np.where(known, value, 0.0), np.where(known, half, np.inf)
    return Interval(
        estimate=value,
        lower=np.where(unknown, np.nan, centre - width),
        upper=np.where(unknown, np.nan, centre + width),
        standard_error=np.where(unknown, np.nan, np.maximum(error, least)),
    )


def crossing_error(n_entered: int, n_left: int, *, kt: float) -> float:
    """Standard error of Delta F of a region that a known number of crossings cannot beat [kJ/mol].

    The population of a region follows from as many stays inside and outside, each with a length of the
    exponential law: the ratio of the mean lengths of n and m stays has the law F(2n, 2m). The error is the
    half width of its 95 % interval over 1.96, max(ln F_0.975, -ln F_0.025) kT / 1.96; for many stays that is
    kT (1/n + 1/m)^(1/2). It holds for any number of walkers and any bias that is fixed.

    Count milestones, not recrossings: see `aecv.numerics.statistics.diagnostics.basin_visits`.

    Args:
        n_entered, n_left: how often walkers came into the region and left it, over all of the frames.
        kt: thermal energy [kJ/mol].

    Returns:
        inf if there was no crossing in one of the directions: the start then decides the population.
    """
    if n_entered == 0 or n_left == 0:
        return float(np.inf)
    ends = np.log(fisher.ppf([0.025, 0.975], 2 * n_entered, 2 * n_left))
    return kt * float(np.abs(ends).max()) / float(norm.ppf(0.975))


def profile_crossing_error(error: float, share_inside: ArrayLike, p_inside: float) -> FloatArray:
    """What an error of Delta F of a region means for a free-energy profile at the zero of `aligned` [kJ/mol].

    |s_i - p| error: if the odds of the region change by a factor exp(d), -F/kT of a bin with the share s_i of
    its weight inside changes by (s_i - p) d to first order. All bins of a rare region have the whole error,
    those of the other side nearly nothing, and bins where both overlap something between.

    Args:
        error: standard error of Delta F, such as `crossing_error` [kJ/mol]; inf is allowed.
        share_inside: share of each bin's weight that lies in the region, any shape; NaN where unknown.
        p_inside: population of the region, in (0, 1).

    Returns:
        shape of share_inside; NaN where unknown.
    """
    distance: FloatArray = np.abs(np.asarray(share_inside, dtype=np.float64) - p_inside)
    # inf times 0 is 0 here: the bin does not depend on Delta F.
    return np.multiply(distance, error, out=np.zeros_like(distance), where=distance != 0.0)


def aligned(profiles: ArrayLike, reference: ArrayLike, *, kt: float) -> FloatArray:
    """Free-energy profiles shifted to the zero of a reference.

    The zero is -kT ln sum_i exp(-F_i / kT) over the bins i that both know, which the populated bins fix. To
    first order that is the mean of F with Boltzmann weights. The lowest bin alone would put its own noise
    into the error of all others.

    Args:
        profiles: shape (..., *reference.shape) [kJ/mol]; NaN or inf where unknown.
        reference: shape (*shape,) [kJ/mol]; NaN or inf where unknown.
        kt: thermal energy [kJ/mol].

    Returns:
        shape of profiles; NaN where unknown, everywhere if a profile shares no bin with the reference.

    Raises:
        GridError: for shapes that do not match.
    """
    values, zero = np.asarray(profiles, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if zero.ndim < 1 or values.shape[values.ndim - zero.ndim :] != zero.shape:
        raise GridError(f"aligned: profiles need shape (..., *{zero.shape}), got {values.shape}")
    flat, base = values.reshape(-1, zero.size), zero.ravel()
    both = np.isfinite(flat) & np.isfinite(base)
    shift = _log_sum(-flat / kt, both) - _log_sum(np.broadcast_to(-base / kt, flat.shape), both)
    result = np.where(np.isfinite(flat), flat, np.nan) + kt * shift[:, None]
    return np.asarray(result.reshape(values.shape))


def _log_sum(exponents: FloatArray, mask: BoolArray) -> FloatArray:
    """ln sum exp over the masked entries of each row; NaN for a row without any."""
    masked = np.where(mask, exponents, -np.inf)
    top = masked.max(axis=1, initial=-np.inf)
    safe = np.where(np.isfinite(top), top, np.nan)
    return np.asarray(safe + np.log(np.exp(masked - safe[:, None]).sum(axis=1)))


def _finite_std(drawn: FloatArray) -> FloatArray:
    """Standard deviation over the first axis of the finite entries; inf for fewer than two."""
    finite = np.isfinite(drawn)
    n = finite.sum(axis=0)
    mean = np.where(finite, drawn, 0.0).sum(axis=0) / np.maximum(n, 1)
    squares = np.square(np.where(finite, drawn - mean, 0.0)).sum(axis=0)
    return np.asarray(np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), np.inf))
