"""Free energies of a run along whatever its frames tell, with error bars: after the run, without dynamics."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SettingsError, suggestion
from aecv.ground.settings import DeltaFSettings, region_fault
from aecv.ground.shown import Shown, dataframe
from aecv.models.cvs.cv import CV
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.numerics.statistics.intervals import Interval
from aecv.results.formats.fes import write_fes
from aecv.results.story.content import Landscape, Quantity
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.basins import KnownStarts
from aecv.workflow.free_energies.estimates import Estimates, estimate
from aecv.workflow.free_energies.production import pooled_iterations
from aecv.workflow.learning.learning_stage import weighted_pool
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.reader import RunReader
from aecv.workflow.run_folder.sampled import STARTS, cv_name
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.run_folder.store import ALONG, Place
from aecv.workflow.weights.pool import BiasedIteration, Pool, mbar_pool
from aecv.workflow.weights.reweighted import ReweightedFrames, all_frames

N_BINS = (90, 60)
"""Bins per axis of a profile and of a map."""
N_REPLICATES = 200


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FreeEnergy(Shown):
    """F along one or two coordinates [kJ/mol].

    Attributes:
        system: its name.
        names: of the coordinates.
        axes: bin centres per coordinate, each of shape (n_c,).
        periodic: per coordinate.
        profile: minimum 0, with intervals and standard errors per bin, shape (n_0,) or (n_0, n_1); NaN where
            unknown, an infinite error where F is known and its error is not.
        delta_f: F(inside) - F(rest) of the region, with its 95 % interval [kJ/mol]; None without a region.
        place: the iteration, production or other folder whose weights count.
        alone: whether the iterations pooled with it are left out.
        n_frames: that entered.
        n_unknown: bins that frames with a weight reached, too few for F to be known.
        least_visits: effective visits that a bin needed.
        missing: a record without which a better place does not count as finished; "" where there is none.
    """

    system: str
    names: tuple[str, ...]
    axes: tuple[FloatArray, ...]
    periodic: tuple[bool, ...]
    profile: Interval
    delta_f: Interval | None
    place: Place
    alone: bool
    n_frames: int
    n_unknown: int
    least_visits: float
    missing: str = ""

    @property
    def n_known(self) -> int:
        """Bins whose F is known."""
        return int(np.isfinite(self.profile.estimate).sum())

    @property
    def n_without_error(self) -> int:
        """Bins whose F is known and its error is not: too few walkers or blocks of time reached them."""
        return int(np.isinf(self.profile.standard_error).sum())

    def write(self, path: Path | str) -> None:
        """Write a file in PLUMED's format, errors in its last column."""
        found = self.profile
        write_fes(
            Path(path), self.axes, found.estimate, self.names, self.periodic, error=found.standard_error
        )

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame, a row per bin: its centre, F, its standard error and 95 % interval [kJ/mol].

        Raises:
            MissingPackageError: without pandas.
        """
        places = np.meshgrid(*self.axes, indexing="ij")
        found = self.profile
        numbers = {
            "free_energy": found.estimate,
            "standard_error": found.standard_error,
            "lower": found.lower,
            "upper": found.upper,
        }
        columns = {**dict(zip(self.names, places, strict=True)), **numbers}
        return dataframe({name: np.ravel(values) for name, values in columns.items()})

    def plot(self) -> Any:
        """A matplotlib Figure: F with its 95 % band, or over a plane beside its error."""
        from aecv.results.plots import plane_with_error, profile_with_error

        found = self.profile
        shown = Landscape(
            coordinates=tuple(
                Quantity(name=name, label=name, unit="", periodic=angle)
                for name, angle in zip(self.names, self.periodic, strict=True)
            ),
            axes=self.axes,
            values=found.estimate,
            error=found.standard_error,
            interval=(found.lower, found.upper),
        )
        return profile_with_error([shown]) if len(self.axes) == 1 else plane_with_error(shown)

    def __repr__(self) -> str:
        bins = " x ".join(str(len(axis)) for axis in self.axes)
        known = float(np.mean(np.isfinite(self.profile.estimate)))
        delta = "" if self.delta_f is None else f", dF {self.delta_f}"
        return (
            f"FreeEnergy along {', '.join(self.names)} ({bins} bins, {known:.0%} known) from {self.n_frames} "
            f"frames of {self.place}{delta}"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Weighed:
    """Frames of a place with their weights and replicates."""

    items: list[BiasedIteration]
    pool: Pool
    estimates: Estimates


def free_energy(
    run: Path | str,
    along: Sequence[str] | str | Path | CV,
    *,
    place: Place | None = None,
    alone: bool = False,
    bins: int | None = None,
    ranges: Sequence[tuple[float, float]] = (),
    region: tuple[str, float, float] | None = None,
    replicates: int = N_REPLICATES,
    least_visits: float | None = None,
    system: str | Path | None = None,
) -> FreeEnergy:
    """F along observables, components of the biased CV, or another CV, from the frames of a finished run.

    F(s) = -kT ln sum_n w_n delta(s - s_n) from the Boltzmann weights of MBAR; errors by bootstrap over
    walkers and blocks of time, MBAR solved anew in every replicate.

    Args:
        run: its folder.
        along: names of one or two observables, or of components of the biased CV (xi_1, xi_2), in a list or
            with commas between them, or a CV (or its file or folder) of one or two components whose atoms the
            run's autoencoder saw.
        place: an iteration's number, "production_NN" or "along"; None for where the best estimate is.
        alone: from the frames of that place only, instead of together with the iterations pooled with it.
        bins: per axis; 90 along one coordinate, 60 along two.
        ranges: lower and upper end per coordinate that is not periodic; empty for those of the frames.
        region: observable, lower and upper end of another region than that of [delta_f].
        replicates: of the bootstrap.
        least_visits: effective visits under which a bin is unknown; None for free_energy.least_visits of the
            run, 0 for every bin with a weight.
        system: name or folder, where the run's own name does not find it.

    Raises:
        AecvError: for a run, a place, a coordinate or a range that is not there; the message tells which.

    Example:
        >>> import aecv
        >>> found = aecv.free_energy("runs/ala2", "phi", bins=36, replicates=20)
        >>> found.profile.estimate.shape
        (36,)
        >>> found.write("fes_phi.dat")
        >>> found.plot().savefig("fes_phi.png")
    """
    along = coordinate(str(along)) if isinstance(along, str | Path) else along
    found = RunReader(Path(run))
    built = found.system(system)
    if region is not None:
        built = _with_region(built, region)
    where = found.last_place if place is None else place
    weighed = _weigh(found, where, built, replicates)
    resampled = weighed.estimates.alone if alone else weighed.estimates.pooled
    if least_visits is not None:
        resampled = replace(resampled, least_visits=least_visits)
    names, values, periodic = _coordinates(along, weighed, built, alone=alone)
    edges = _edges(names, values, periodic, bins or N_BINS[len(names) - 1], ranges, built.observables)
    profile = resampled.profile(values, edges)
    return FreeEnergy(
        system=built.spec.name,
        names=names,
        axes=tuple(0.5 * (edge[1:] + edge[:-1]) for edge in edges),
        periodic=periodic,
        profile=profile,
        delta_f=resampled.delta_f(),
        place=where,
        alone=alone or where == ALONG,
        n_frames=len(values),
        n_unknown=int((resampled.has_weight(values, edges) & np.isnan(profile.estimate)).sum()),
        least_visits=resampled.least_visits,
        missing="" if place is not None else next(iter(found.missing), found.unfinished),
    )


def coordinate(text: str) -> tuple[str, ...] | CV:
    """What `free_energy` takes, from a user's words: names with commas between them, or the file of a CV.

    Raises:
        CVError: when it is a file or folder without a CV.
    """
    path = Path(text).expanduser()
    if path.exists() or path.suffix in (".pt", ".json", ".npz") or len(path.parts) > 1:
        return load_cv(path)
    return tuple(name.strip() for name in text.split(",") if name.strip())


def place_of(text: str | None) -> Place | None:
    """A place from a user's words: 6, iteration_06, production_09, along; None for the best estimate.

    Raises:
        SettingsError: for anything else.
    """
    if text is None or text == ALONG or re.fullmatch(r"production_\d+", text):
        return text
    number = text.removeprefix("iteration_")
    if not number.isdigit():
        raise SettingsError(f"--place: needs an iteration's number, production_NN or {ALONG}, got '{text}'")
    return int(number)


def _with_region(system: MolecularSystem, region: tuple[str, float, float]) -> MolecularSystem:
    name, lower, upper = region
    known = system.observables.names
    if name not in known:
        raise SettingsError(
            f"--region: needs an observable of the system ({', '.join(known) or 'it has none'}), got '{name}'"
            f"{suggestion(name, known)}"
        )
    if not -math.inf < lower < upper < math.inf:
        raise SettingsError(f"--region: needs a lower end below the upper one, got {lower:g} and {upper:g}")
    section = DeltaFSettings(observable=name, lower=lower, upper=upper)
    fault = region_fault(section, system.spec.settings.observables[name].period)
    if fault:
        raise SettingsError(f"--region: {fault}")
    settings = system.spec.settings.model_copy(update={"delta_f": section})
    return replace(system, spec=replace(system.spec, settings=settings))


def _weigh(run: RunReader, place: Place, system: MolecularSystem, replicates: int) -> _Weighed:
    """The frames of a place with their replicates, as the run itself weighed them."""
    frames: ReweightedFrames | None = None
    if isinstance(place, int):
        if place == 0 or place not in run.iterations:
            raise SettingsError(
                f"{run.path}: iteration {place} has no free energy; those that have: "
                f"{', '.join(str(n) for n in run.iterations if n) or 'none yet'}"
            )
        previous = [run.cv(k) for k in range(place)]
        samples = Samples.load(run.iteration_dir(place) / "samples.npz")
        pool, items = weighted_pool(run, place, previous, samples, system)
    else:
        items = _items(run, place, system)
        pool = mbar_pool(items, system.spec.settings.pool)
        frames = all_frames(pool, items)
    starts = KnownStarts.load(run, system, STARTS if place == ALONG else 0)
    estimates = estimate(
        pool, items, starts.inside, system, place=place, n_replicates=replicates, frames=frames
    )
    return _Weighed(items=items, pool=pool, estimates=estimates)


def _items(run: RunReader, place: str, system: MolecularSystem) -> list[BiasedIteration]:
    """A production with the iterations pooled with it, or a run along a given CV."""
    folder = run.iteration_dir(place)
    if not run.is_done(place, "analysis"):
        raise SettingsError(f"{folder}: needs a finished production, there is none; continue with --resume")
    if place == ALONG:
        cv = _given_cv(folder)
        return [BiasedIteration.stored(folder, 1, cv)]
    last = int(place.rpartition("_")[2])
    cvs = [run.cv(k) for k in range(last + 1)]
    own = BiasedIteration.stored(folder, last + 1, cvs[last])
    return [*pooled_iterations(run, last, cvs, system), own]


def _given_cv(folder: Path) -> CV:
    """The CV of `aecv sample`, which a Python function does not leave behind."""
    if not checked(folder / "cv.json").is_file():
        name = cv_name(folder)
        raise SettingsError(
            f"{folder}: its CV, {name}, is a Python function or another program's model, of which the run "
            "keeps no description; use its fes_*.dat"
        )
    return load_cv(folder)


def _coordinates(
    along: Sequence[str] | CV, weighed: _Weighed, system: MolecularSystem, *, alone: bool
) -> tuple[tuple[str, ...], FloatArray, tuple[bool, ...]]:
    """Names, values of shape (n, d), and which have a period."""
    frames, last = weighed.estimates.frames, weighed.items[-1]
    own = weighed.pool.last_frames
    if isinstance(along, CV):
        if along.n_components > 2:
            raise SettingsError(f"fes: needs one or two components, {along.source} has {along.n_components}")
        values = _along_cv(along, weighed, alone=alone)
        names = tuple(f"xi_{c + 1}" for c in range(values.shape[1]))
        return names, values, tuple(bool(flag) for flag in along.periodic)
    xi = last.bias.grid.wrap(last.samples.xi[own] if alone else frames.xi)
    columns = {f"xi_{c + 1}": xi[:, c] for c in range(xi.shape[1])}
    periodic = {f"xi_{c + 1}": bool(flag) for c, flag in enumerate(last.bias.grid.periodic)}
    for name in system.observables.names:
        columns[name] = last.samples.observables[name][own] if alone else frames.observables[name]
        periodic[name] = name in system.observables.periodic_names
    names = tuple(along)
    for name in names:
        if name not in columns:
            raise SettingsError(
                f"fes: needs a coordinate that the run knows ({', '.join(columns)}), got '{name}'"
                f"{suggestion(name, columns)}"
            )
    if not 1 <= len(names) <= 2 or len(set(names)) != len(names):
        raise SettingsError(f"fes: needs one or two different coordinates, got {', '.join(names) or 'none'}")
    return names, np.stack([columns[name] for name in names], axis=1), tuple(periodic[n] for n in names)


def _along_cv(cv: CV, weighed: _Weighed, *, alone: bool) -> FloatArray:
    """A CV on the frames, whose files hold the atoms of the CV that was biased."""
    frames, last = weighed.estimates.frames, weighed.items[-1]
    held = last.cv.atom_indices
    if alone:
        return cv.of_some(last.samples.cv_positions[weighed.pool.last_frames], held)
    result = np.empty((len(frames.weights), cv.n_components))
    for item in weighed.items:
        mine = frames.iteration == item.index
        result[mine] = cv.of_some(item.samples.cv_positions[frames.frame[mine]], held)
    return result


def _edges(
    names: Sequence[str],
    values: FloatArray,
    periodic: Sequence[bool],
    bins: int,
    ranges: Sequence[tuple[float, float]],
    observables: ObservableSet,
) -> list[FloatArray]:
    """Even bins; a dihedral has its period, the others their range or that of the frames."""
    open_ends = [index for index, flag in enumerate(periodic) if not flag]
    if ranges and len(ranges) != len(open_ends):
        what = ", ".join(names[index] for index in open_ends) or "no coordinate, all are periodic"
        raise SettingsError(f"--range: needs one for each of {what}; got {len(ranges)}")
    given = dict(zip(open_ends, ranges, strict=False))
    edges = []
    for index, flag in enumerate(periodic):
        column = values[:, index]
        if index not in given and names[index] in observables.names:
            edges.append(observables.edges(names[index], column, bins))
            continue
        low, high = given.get(index, (column.min(), np.nextafter(column.max(), np.inf)))
        if flag:
            low, high = -np.pi, np.pi
        if not -math.inf < low < high < math.inf:
            raise SettingsError(
                f"--range {names[index]}: needs low below high, got {low:g} and {high:g}; a coordinate that "
                "does not vary has no free energy"
            )
        edges.append(np.linspace(low, high, bins + 1))
    if ranges:
        _hold_some_frame(names, values, edges)
    return edges


def _hold_some_frame(names: Sequence[str], values: FloatArray, edges: Sequence[FloatArray]) -> None:
    """SettingsError for ranges without a frame: the file and its picture would be empty."""
    ends = np.array([(edge[0], edge[-1]) for edge in edges])
    if ((values >= ends[:, 0]) & (values <= ends[:, 1])).all(axis=1).any():
        return
    pairs = zip(names, values.T, strict=True)
    reach = ", ".join(f"{name} from {column.min():.4g} to {column.max():.4g}" for name, column in pairs)
    asked = " and ".join(f"{low:g} to {high:g}" for low, high in ends)
    raise SettingsError(f"--range: needs some of the frames, none is in {asked}; they have {reach}")
