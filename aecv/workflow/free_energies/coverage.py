"""What the walkers of an iteration covered: basins, mixing, and whether the visited range still grows.

A CV that never saw a basin repeats itself perfectly. What can be known of coverage is checked here, against
what is known of the molecule: the starting structures are its basins.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SamplingError, StoreError
from aecv.ground.forms import Count, Number, read_form
from aecv.numerics.statistics.correlation import burn_in
from aecv.numerics.statistics.diagnostics import BasinVisits, basin_visits, r_hat, range_growth
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.estimates import inside_region
from aecv.workflow.run_folder.samples import Bias, Samples
from aecv.workflow.run_folder.stage_records import checked

MIN_ENTRIES = 2
"""Entries into a basin from elsewhere, by any walkers, below which its population hangs on chance."""
LARGEST_R_HAT = 1.2
"""Above 1.1 chains are badly mixed (Vehtari et al. 2021); walkers of a short iteration get a little more:
they differ by the few passages that they make."""
LARGEST_GROWTH = 0.05
"""Share of the visited range that may be found in the last third of an iteration."""
_MOST_FRAMES = 25_000
"""Frames per walker that mixing is measured on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """What an iteration covered.

    Attributes:
        visits: of the basins, over all of the iteration; problems count those among frames with a weight.
        r_hat: per component of the CV and observable, between walkers, over the frames that have a
            weight, the larger one of cosine and sine of an angle; NaN where it cannot be told.
        growth: per component and observable, share of its visited range found in the last third.
        burn_in: per component of the CV, share of the frames that count which Chodera's rule would drop from
            their start, of an angle as for R-hat; much more than 0.1 says that pool.discard or
            eabf.adaptive_share is too small.
        problems: sentences about what was not covered; empty where nothing speaks against it.
    """

    visits: BasinVisits
    r_hat: dict[str, float]
    growth: dict[str, float]
    burn_in: dict[str, float]
    problems: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "passages": self.visits.transitions,
            "visited_by": self.visits.visited_by,
            "entered_by": self.visits.entered_by,
            "round_trips": self.visits.round_trips,
            "r_hat": self.r_hat,
            "growth": self.growth,
            "burn_in": self.burn_in,
            "problems": list(self.problems),
        }


@dataclass(frozen=True, kw_only=True)
class StoredCoverage:
    """What is read of coverage.json; see `Coverage`."""

    passages: tuple[tuple[Count, ...], ...]
    r_hat: dict[str, Number] = field(default_factory=dict)
    growth: dict[str, Number] = field(default_factory=dict)
    burn_in: dict[str, Number] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> "StoredCoverage":
        """Read coverage.json of a place; StoreError when it is missing, damaged or of another form."""
        path = folder / "coverage.json"
        found = read_form(checked(path), cls)
        if any(len(row) != len(found.passages) for row in found.passages):
            raise StoreError(f"{path}: needs as many columns of passages as rows")
        return found


def assess(samples: Samples, bias: Bias | None, n_starts: int, system: MolecularSystem) -> Coverage:
    """Coverage of one iteration.

    Args:
        bias: of the iteration; None for an unbiased one, from which nothing is asked.
        n_starts: starting structures, the basins that are known.
    """
    visits = basin_visits(samples.basin, samples.walker, n_starts)
    series = _series(samples, system)
    settled = samples.progress > _begin(bias, system)
    mixing = {
        name: _worst(_r_hat, values, samples, settled, periodic=periodic) for name, values, periodic in series
    }
    growth = {name: _growth(values, samples, periodic) for name, values, periodic in series}
    counted = basin_visits(samples.basin[settled], samples.walker[settled], n_starts)
    problems = () if bias is None else tuple(_problems(counted, mixing, growth, n_starts))
    problems = (*problems, *_one_sided(samples, settled, system, is_biased=bias is not None))
    problems = (*problems, *_torn(samples, is_biased=bias is not None))
    return Coverage(
        visits=visits,
        r_hat=mixing,
        growth=growth,
        burn_in={
            name: _worst(_burn_in, values, samples, settled, periodic=periodic)
            for name, values, periodic in series[: samples.xi.shape[1]]
        },
        problems=problems,
    )


def _begin(bias: Bias | None, system: MolecularSystem) -> float:
    """Share of the time from which on frames count."""
    return 0.0 if bias is None else bias.begin(system.spec.settings.pool.discard)


def _series(samples: Samples, system: MolecularSystem) -> list[tuple[str, FloatArray, bool]]:
    """Name, values and whether it is an angle [rad], of each component of the CV and of each observable."""
    components = [
        (f"xi_{c + 1}", values * (2.0 * np.pi / period if period else 1.0), period > 0)
        for c, (values, period) in enumerate(zip(samples.xi.T, samples.component_periods, strict=True))
    ]
    periodic = system.observables.periodic_names
    return components + [(name, values, name in periodic) for name, values in samples.observables.items()]


def _rows(values: FloatArray, samples: Samples, settled: NDArray[np.bool_]) -> FloatArray:
    """A series of the frames that count, one row per walker, at most _MOST_FRAMES each."""
    rows = [values[settled & (samples.walker == walker)] for walker in np.unique(samples.walker)]
    n = min(len(row) for row in rows)
    return np.array([row[len(row) - n :][:: max(1, n // _MOST_FRAMES)] for row in rows])


def _worst(
    measure: Callable[[FloatArray], float],
    values: FloatArray,
    samples: Samples,
    settled: NDArray[np.bool_],
    *,
    periodic: bool,
) -> float:
    """A measure of mixing of a series over the frames that count; NaN where it cannot be told.

    Of an angle it is the larger one of its cosine and sine: a walker at the seam, where the angle itself
    jumps between -pi and pi, is at rest.
    """
    parts = (np.cos(values), np.sin(values)) if periodic else (values,)
    found = [measure(_rows(part, samples, settled)) for part in parts]
    return max((value for value in found if not np.isnan(value)), default=float("nan"))


def _r_hat(rows: FloatArray) -> float:
    """R-hat between walkers; NaN for one walker or too few frames."""
    return r_hat(rows) if rows.shape[0] > 1 and rows.shape[1] >= 4 else float("nan")


def _burn_in(rows: FloatArray) -> float:
    """What Chodera's rule would drop; NaN for too few frames."""
    return burn_in(rows) if rows.shape[1] >= 20 else float("nan")


def _growth(values: FloatArray, samples: Samples, periodic: bool) -> float:
    """Share of the visited bins of a coordinate that were found in the last third; NaN for too few frames."""
    try:
        return float(range_growth(values, samples.progress, periodic=periodic)[-1])
    except SamplingError:
        return float("nan")


def _one_sided(
    samples: Samples, settled: NDArray[np.bool_], system: MolecularSystem, *, is_biased: bool
) -> Iterable[str]:
    """Delta F between a region and the rest is infinite where one of them was not visited."""
    inside = inside_region(samples.observables, system)
    if is_biased and inside is not None and len(np.unique(inside[settled])) == 1:
        yield f"the region of [delta_f] was never {'left' if inside[settled].any() else 'visited'}"


def _torn(samples: Samples, *, is_biased: bool) -> Iterable[str]:
    """A bias that tears at a molecule takes walkers to where they never come back from; where there was none,
    as in a user's frames, no setting of it helps."""
    if samples.n_inverted or samples.n_turned:
        advice = (
            "lower eabf.ceiling_kj_mol if that is not wanted"
            if is_biased
            else "no bias did that: compare the structure with the frames"
        )
        yield (
            f"of {samples.n_frames} frames {samples.n_inverted} have another chirality, {samples.n_turned} "
            f"another cis-trans state than the structure ({advice})"
        )


def _problems(
    visits: BasinVisits, mixing: dict[str, float], growth: dict[str, float], n_starts: int
) -> Iterable[str]:
    if n_starts == 1:
        yield "all walkers began in one structure, so that other basins may be unknown (starts.mode)"
    entries = visits.transitions.sum(axis=0)
    few = [f"{basin} ({entries[basin]} times)" for basin in range(n_starts) if entries[basin] < MIN_ENTRIES]
    if n_starts > 1 and few:
        yield f"hardly entered from elsewhere: the basin of start {', '.join(few)}"
    apart = [f"{name} {value:.2f}" for name, value in mixing.items() if value > LARGEST_R_HAT]
    if apart:
        yield f"walkers disagree (R-hat, wanted <= {LARGEST_R_HAT:g}): {', '.join(apart)}"
    growing = [f"{name} {value:.0%}" for name, value in growth.items() if value > LARGEST_GROWTH]
    if growing:
        yield (
            f"the visited range was still growing in the last third (wanted <= {LARGEST_GROWTH:.0%} of it): "
            f"{', '.join(growing)}"
        )
