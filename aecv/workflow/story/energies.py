"""Free energies of the places of a run - iterations, the production - as the report shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.files import StoredArrays
from aecv.ground.grid import Grid
from aecv.ground.settings import Settings
from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy.landscape import marginal
from aecv.numerics.statistics.intervals import aligned
from aecv.results.formats.colvar import read_colvar
from aecv.results.formats.fes import FesFile, read_fes
from aecv.results.story.content import MOST_PLANES, FreeEnergies, InTime, Landscape, Quantity
from aecv.workflow.free_energies.exact import read_exact_delta_f
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.stage_records import checked

MOST_NUMBERS = 300_000
"""In the maps of a page, some 2 MB of text: further places are left out."""
_SYMBOLS = {"phi": "φ", "psi": "ψ", "omega": "ω", "theta": "θ", "chi": "χ"}
_COMPONENTS = "₁₂₃"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder of a run with free energies, and what people call it."""

    folder: Path
    name: str


def quantity(name: str, settings: Settings) -> Quantity:
    """An observable as figures write it."""
    found = settings.observables.get(name)
    return Quantity(
        name=name,
        label=_SYMBOLS.get(name, name),
        unit=found.known.unit if found else "",
        periodic=found is not None and found.known.is_periodic,
    )


def component(index: int, *, periodic: bool = False) -> Quantity:
    """A component of the CV, from 0, as figures write it."""
    return Quantity(name=f"xi_{index + 1}", label=f"ξ{_COMPONENTS[index]}", unit="", periodic=periodic)


def grid_of(found: FesFile) -> Grid:
    """The bins whose centres a file has."""
    steps = [(axis[-1] - axis[0]) / (len(axis) - 1) for axis in found.axes]
    return Grid(
        lower=tuple(float(axis[0] - 0.5 * step) for axis, step in zip(found.axes, steps, strict=True)),
        upper=tuple(float(axis[-1] + 0.5 * step) for axis, step in zip(found.axes, steps, strict=True)),
        n_bins=tuple(len(axis) for axis in found.axes),
        periodic=found.periodic,
    )


def read_energies(source: Source, settings: Settings) -> FreeEnergies:
    """Everything that a place has; files that are not there leave their figures out.

    Raises:
        StoreError: for a file that is damaged.
    """
    folder, kt = source.folder, thermal_energy(settings.dynamics.temperature_k)
    names = [name for name in settings.observables if (folder / f"fes_{name}.dat").is_file()]
    along_cv: tuple[Landscape, ...] = ()
    if (folder / "fes_xi.dat").is_file():
        along_cv = _along_cv(folder, settings, kt)
    pairs = [pair for pair in combinations(names, 2) if (folder / f"fes_{'_'.join(pair)}.dat").is_file()]
    return FreeEnergies(
        name=source.name,
        folder=folder.name,
        along_cv=along_cv,
        profiles=tuple(_read(folder, name, settings, kt) for name in names),
        planes=tuple(_read(folder, "_".join(pair), settings, kt) for pair in pairs),
        in_time=_in_time(folder),
    )


def chosen_sources(n_sources: int, numbers_each: int) -> list[int]:
    """Indices of the places whose maps fit on the page: the last one, the first one, and others evenly."""
    room = max(2, MOST_NUMBERS // max(1, numbers_each))
    if n_sources <= room:
        return list(range(n_sources))
    return sorted({round(k) for k in np.linspace(0, n_sources - 1, room)})


def numbers_in(place: FreeEnergies) -> int:
    """How many numbers the page needs for the figures of a place."""
    figures = (*place.along_cv, *place.profiles, *place.planes[:MOST_PLANES])
    return sum(
        item.values.size
        * (1 + sum(part is not None for part in (item.error, item.n_frames)) + len(item.means))
        for item in figures
    )


def _along_cv(folder: Path, settings: Settings, kt: float) -> tuple[Landscape, ...]:
    """F along the CV with the means of the observables; of three components in its three planes."""
    found = read_fes(checked(folder / "fes_xi.dat"))
    grid = grid_of(found)
    samples, weights = Samples.stored(folder / "samples.npz"), StoredArrays(checked(folder / "weights.npz"))
    xi, w = grid.wrap(samples.xi), np.asarray(weights["last_weights"], dtype=float)
    observed = {name: np.asarray(values) for name, values in samples.observables.items()}
    if grid.n_dims < 3:
        return (_with_means(_read(folder, "xi", settings, kt), grid, xi, w, observed, settings),)
    planes = []
    for kept in combinations(range(3), 2):
        flat = Grid(
            lower=tuple(grid.lower[k] for k in kept),
            upper=tuple(grid.upper[k] for k in kept),
            n_bins=tuple(grid.n_bins[k] for k in kept),
            periodic=tuple(grid.periodic[k] for k in kept),
        )
        gone = next(k for k in range(3) if k not in kept)
        plane = Landscape(
            coordinates=tuple(component(k) for k in kept),
            axes=tuple(found.axes[k] for k in kept),
            values=marginal(found.values, (gone,), kt=kt),
        )
        planes.append(_with_means(plane, flat, xi[:, kept], w, observed, settings))
    return tuple(planes)


def _with_means(
    landscape: Landscape,
    grid: Grid,
    xi: FloatArray,
    weights: FloatArray,
    observed: Mapping[str, FloatArray],
    settings: Settings,
) -> Landscape:
    """Frames per bin, and weighted means of the observables over them; of angles the mean direction.

    Only frames with a weight count: those that the free energy of the place alone rests on.
    """
    bins = grid.index(xi)
    used = (bins >= 0) & (weights > 0.0)
    bins, w = bins[used], weights[used]
    total = np.bincount(bins, w, grid.size)
    means = []
    for name, values in observed.items():
        kept = values[used]
        with np.errstate(invalid="ignore", divide="ignore"):
            if name in settings.observables and settings.observables[name].known.is_periodic:
                sine, cosine = (np.bincount(bins, w * part(kept), grid.size) for part in (np.sin, np.cos))
                mean = np.where(total > 0.0, np.arctan2(sine, cosine), np.nan)
            else:
                mean = np.bincount(bins, w * kept, grid.size) / total
        means.append((quantity(name, settings), mean.reshape(grid.shape)))
    counts = np.bincount(bins, minlength=grid.size).reshape(grid.shape).astype(np.int64)
    return replace(landscape, n_frames=counts, means=tuple(means))


def _read(folder: Path, stem: str, settings: Settings, kt: float) -> Landscape:
    """A fes file, with the exact free energy, and along a CV of one component CZAR's, at its zero."""
    found = read_fes(checked(folder / f"fes_{stem}.dat"))
    is_cv = stem == "xi"

    def beside(name: str) -> FloatArray | None:
        path = folder / name
        return aligned(read_fes(checked(path)).values, found.values, kt=kt) if path.is_file() else None

    return Landscape(
        coordinates=tuple(
            component(k, periodic=found.periodic[k]) if is_cv else quantity(name, settings)
            for k, name in enumerate(found.names)
        ),
        axes=found.axes,
        values=found.values,
        error=found.error,
        exact=beside(f"fes_{stem}.exact.dat"),
        czar=beside("fes_xi_czar.dat") if is_cv and len(found.axes) == 1 else None,
    )


def _in_time(folder: Path) -> InTime | None:
    if not (folder / "convergence.dat").is_file():
        return None
    table = read_colvar(checked(folder / "convergence.dat"))
    n_walkers = len(np.unique(Samples.stored(folder / "samples.npz").walker))
    return InTime(
        time_ns=table["time"] * n_walkers / 1000.0,
        delta_f=table.get("delta_f"),
        lower=table.get("delta_f_lower"),
        upper=table.get("delta_f_upper"),
        xi_change=table.get("xi_change"),
        exact=read_exact_delta_f(folder),
    )
