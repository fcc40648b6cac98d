"""Correlation in time: how many frames count as one, how long a block has to be, where equilibrium begins.

pymbar.timeseries has the same of one series; here all walkers count together, around their common mean.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.fft import irfft, next_fast_len, rfft

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import GridError, SamplingError

_MIN_LAGS = 4
"""So many lags enter the statistical inefficiency even if a noisy correlation turns negative before."""

BLOCK_LENGTH = 5.0
"""Length of a block in statistical inefficiencies. On a telegraph process, 4 walkers with 2 to 40 crossings
each, intervals of 95 % held the truth in 93 to 98 % of the runs with 5, in 91 to 96 % with 2; longer blocks
leave fewer units and only widen the intervals."""

MAX_BLOCKS = 20
"""Blocks per walker beyond which Student's factor hardly shrinks any more."""

_NEARLY_BEST = 0.95
"""The earliest start with this share of the largest effective sample size is as good as the best one, which
moves far to the right by chance: of stationary series of 40 g that drops 2 % on average, this 0.6 %."""


def statistical_inefficiency(series: ArrayLike) -> float:
    """How many successive frames count as one independent frame.

    g = 1 + 2 sum_(t = 1 ...) (1 - t/T) C(t), up to the first C(t) <= 0, with C the autocorrelation around the
    mean of *all* walkers: walkers that stay at different values are correlated throughout, while each one
    alone would look fast.

    Args:
        series: an observable, one row per walker, shape (n_walkers, n_frames).

    Returns:
        g >= 1 [frames]; inf if the observable never changes, since nothing then tells its time scale.

    Raises:
        GridError: for another shape.
        SamplingError: for values that are not finite.

    Source: Chodera et al., J. Chem. Theory Comput. 3, 26 (2007), doi:10.1021/ct0502864.
    """
    return _inefficiency(_checked(series))


def n_blocks(
    series: ArrayLike, *, length: float = BLOCK_LENGTH, at_most: int = MAX_BLOCKS, at_least: int = 1
) -> int:
    """Blocks of time per walker that are long enough to be nearly independent, T / (length g).

    Args:
        series: the slowest observable that matters, such as being in the rare basin, shape
            (n_walkers, n_frames).
        length: wanted length of a block in statistical inefficiencies.
        at_most, at_least: bounds of the answer. One walker alone is one unit if its frames do not allow
            more, and one unit has no error bar.

    Raises:
        GridError, SamplingError: as `statistical_inefficiency`.
    """
    values = _checked(series)
    return max(at_least, min(at_most, int(values.shape[1] / (length * _inefficiency(values)))))


def burn_in(series: ArrayLike, *, n_candidates: int = 41) -> float:
    """Share of the start to drop: the earliest t0 <= T/2 that leaves nearly the most effective samples.

    N_eff(t0) = n_walkers (T - t0) / g(t0), with g over the frames from t0 on and around the mean of all
    walkers, so that walkers that relax from different sides are seen too, though their mean is still.

    Args:
        series: an observable, one row per walker, shape (n_walkers, n_frames), n_frames >= 20.
        n_candidates: values of t0 that are tried, evenly from 0 to T/2.

    Returns:
        in [0, 0.5]; 0 for an observable that never changes.

    Raises:
        GridError: for another shape, or fewer than 20 frames.
        SamplingError: for values that are not finite.

    Source: Chodera, J. Chem. Theory Comput. 12, 1799 (2016), doi:10.1021/acs.jctc.5b00784.
    """
    values = _checked(series)
    n = values.shape[1]
    if n < 20:
        raise GridError(f"burn_in: needs >= 20 frames per walker, got {n}; write frames more often")
    starts = np.linspace(0.0, 0.5 * n, n_candidates).astype(np.int64)
    effective = np.array([(n - start) / _inefficiency(values[:, start:]) for start in starts])
    # An observable that is constant from some time on has 0 there, and is no equilibrium either.
    return float(starts[np.argmax(effective >= _NEARLY_BEST * effective.max())] / n)


def _checked(series: ArrayLike) -> FloatArray:
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] < 2:
        raise GridError(
            f"time series: needs shape (n_walkers, n_frames) with >= 1 walker and >= 2 frames, got "
            f"{values.shape}"
        )
    if not np.isfinite(values).all():
        raise SamplingError("time series: needs finite values; check the frames for NaN")
    return values


def _inefficiency(values: FloatArray) -> float:
    """`statistical_inefficiency` of checked values: autocorrelation by FFT, padded against wrapping."""
    n_walkers, n = values.shape
    deviations = values - values.mean()
    if np.ptp(values) == 0.0:
        return np.inf
    size = next_fast_len(2 * n - 1, real=True)
    spectrum = np.square(np.abs(rfft(deviations, size, axis=1))).sum(axis=0)
    sums = irfft(spectrum, size)[:n]
    lags = np.arange(n)
    correlation = sums / (n_walkers * (n - lags)) / (sums[0] / (n_walkers * n))
    negative = np.flatnonzero(correlation[_MIN_LAGS:] <= 0.0)
    end = _MIN_LAGS + int(negative[0]) if len(negative) else n
    return max(1.0, 1.0 + 2.0 * float(((1.0 - lags / n) * correlation)[1:end].sum()))
