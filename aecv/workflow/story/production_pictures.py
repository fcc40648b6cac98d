"""Pictures of the production, drawn from its files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.units import thermal_energy
from aecv.numerics.statistics.intervals import aligned
from aecv.results import plots
from aecv.results.formats.colvar import read_colvar
from aecv.results.formats.fes import FesFile, edges_of, read_fes
from aecv.results.plots import Curve, Estimate, Plane, Profile
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.basins import StoredStarts
from aecv.workflow.free_energies.coverage import StoredCoverage
from aecv.workflow.free_energies.exact import read_exact_delta_f
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.store import Place, RunDirectory

Z = 1.96
"""Standard errors on each side of a 95 % interval; Student's factor for few walkers is in the numbers of
production.json, not in the bands."""


def draw_production(run: RunDirectory, name: str, system: MolecularSystem, *, starts: Place = 0) -> None:
    """Draw profiles, maps, Delta F against time and the walkers' passages into pictures/.

    Args:
        name: the production's folder.
        starts: where the starts were found.
    """
    folder, pictures = run.iteration_dir(name), run.path / "pictures"
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    title = f"{system.spec.name}, {name.replace('_', ' ')}"
    pictures.mkdir(exist_ok=True)
    names = list(system.observables.names)
    profiles = [_profile(folder, name, system.observables.label(name), kt) for name in names]
    along_xi = read_fes(folder / "fes_xi.dat")
    if len(along_xi.axes) == 1:
        profiles.insert(0, _profile(folder, "xi", "xi_1", kt, czar=True))
    elif len(along_xi.axes) == 2:
        plots.save(
            plots.plane_with_error(_plane(along_xi, along_xi.names, None)),
            pictures / "production_xi.png",
            name=title,
        )
    if profiles:
        plots.save(plots.profile_with_error(profiles), pictures / "production_profiles.png", name=title)
    for pair in system.observables.pairs:
        stem = "_".join(pair)
        exact = folder / f"fes_{stem}.exact.dat"
        labels = tuple(system.observables.label(name) for name in pair)
        found = read_fes(folder / f"fes_{stem}.dat")
        plane = _plane(found, labels, read_fes(exact) if exact.is_file() else None)
        plots.save(plots.plane_with_error(plane), pictures / f"production_{stem}.png", name=title)
    _draw_in_time(folder, pictures / "production_delta_f.png", system, title)
    report = StoredStarts.load(run.iteration_dir(starts))
    _draw_walkers(report, folder, pictures / "production_walkers.png", title)


def remove_production_pictures(run: RunDirectory) -> None:
    """Take away pictures of a production that is not the one of the run's last CV."""
    for path in (run.path / "pictures").glob("production_*.png"):
        path.unlink()


def _profile(folder: Path, stem: str, label: str, kt: float, *, czar: bool = False) -> Profile:
    """F along one coordinate with its band, and the exact one and other estimates where there are any."""
    found = read_fes(folder / f"fes_{stem}.dat")
    error = found.error if found.error is not None else np.full(found.values.shape, np.nan)
    curves = []
    exact = folder / f"fes_{stem}.exact.dat"
    if exact.is_file():
        curves.append(Curve(label="exact", values=_moved(read_fes(exact), found, kt), kind="exact"))
    if czar:
        curves.append(
            Curve(label="CZAR", values=_moved(read_fes(folder / "fes_xi_czar.dat"), found, kt), kind="czar")
        )
    return Profile(
        name=label,
        points=found.axes[0],
        values=found.values,
        interval=(found.values - Z * error, found.values + Z * error),
        periodic=found.periodic[0],
        label="reweighted",
        curves=tuple(curves),
    )


def _moved(other: FesFile, reference: FesFile, kt: float) -> FloatArray:
    """Another free energy at the zero of the first one."""
    return aligned(other.values, reference.values, kt=kt)


def _plane(found: FesFile, names: Sequence[str], exact: FesFile | None) -> Plane:
    return Plane(
        names=(names[0], names[1]),
        periodic=(found.periodic[0], found.periodic[1]),
        x_edges=edges_of(found.axes[0]),
        y_edges=edges_of(found.axes[1]),
        values=found.values,
        error=found.error if found.error is not None else np.full(found.values.shape, np.nan),
        reference=None if exact is None else exact.values,
    )


def _draw_in_time(folder: Path, path: Path, system: MolecularSystem, title: str) -> None:
    region = system.spec.settings.delta_f
    table = read_colvar(folder / "convergence.dat")
    if region is None or "delta_f" not in table:
        return
    samples = Samples.load(folder / "samples.npz")
    n_walkers = len(np.unique(samples.walker))
    curve = Estimate(
        label="production",
        time_ns=table["time"] * n_walkers / 1000.0,
        values=table["delta_f"],
        interval=(table["delta_f_lower"], table["delta_f_upper"]),
    )
    label = f"{region.lower:g} < {region.observable} < {region.upper:g} against the rest"
    figure = plots.convergence_in_time([curve], label=label, reference=read_exact_delta_f(folder))
    plots.save(figure, path, name=title)


def _draw_walkers(report: StoredStarts, folder: Path, path: Path, title: str) -> None:
    samples = Samples.load(folder / "samples.npz")
    labels = samples.basin.reshape(len(np.unique(samples.walker)), -1)
    counts = np.array(StoredCoverage.load(folder).passages)
    time_ns = float(samples.time_ps.max()) / 1000.0
    figure = plots.passages(labels, counts, names=list(report.names), time_ns=time_ns)
    plots.save(figure, path, name=title)
