"""Free energies of an iteration, as numbers and as files in the formats of PLUMED and Colvars."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aecv.numerics.free_energy.integration import czar_gradient, integrate_gradient
from aecv.numerics.free_energy.support import supported
from aecv.numerics.statistics.intervals import Interval
from aecv.results.formats.colvar import write_colvar
from aecv.results.formats.fes import write_fes
from aecv.results.formats.grids import write_count, write_gradient, write_pmf
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.free_energies.estimates import Estimates, inside_region
from aecv.workflow.free_energies.exact import write_exact
from aecv.workflow.free_energies.time_course import write_convergence
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.weights.pool import BiasedIteration, Pool

N_BINS_1D, N_BINS_2D = 90, 60
DERIVED = ("colvar.dat", "abf.*", "fes_*.dat", "convergence.dat", "exact.json")
"""What `analyse` writes, by patterns; of frames and weights it can be made again."""


def written(folder: Path) -> tuple[str, ...]:
    """Names of the files that `analyse` has written into a folder."""
    return tuple(sorted(path.name for pattern in DERIVED for path in folder.glob(pattern)))


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Numbers of an iteration; `IterationRecord` says what they mean."""

    delta_f_kj_mol: float | None = None
    delta_f_interval: tuple[float, float] | None = None
    delta_f_iteration_kj_mol: float | None = None
    delta_f_iteration_interval: tuple[float, float] | None = None
    passages: int | None = None
    inside_share: float | None = None
    visited_bins: int | None = None
    n_islands: int | None = None


def analyse(
    folder: Path,
    pool: Pool,
    samples: Samples,
    biased: BiasedIteration | None,
    estimates: Estimates | None,
    system: MolecularSystem,
) -> Analysis:
    """Write colvar.dat, the ABF grids, the fes files and convergence.dat of an iteration.

    Args:
        folder: of the iteration.
        pool: weighted frames.
        samples: the frames of this iteration.
        biased: its bias; None for the unbiased iteration, whose populations are those of its starts and give
            no free energy.
        estimates: the weights with their replicates; None likewise.
    """
    _write_colvar(folder / "colvar.dat", pool, samples, system)
    if biased is None or estimates is None:
        return Analysis(**_region(samples, None, system))
    _write_observable_fes(folder, estimates, system)
    _write_xi_fes(folder / "fes_xi.dat", estimates, biased)
    write_convergence(folder / "convergence.dat", samples, pool, biased.bias, estimates, system)
    visited_bins, n_islands = _write_grids(folder, biased, system.spec.settings.free_energy.least_samples)
    write_exact(folder, system, biased.cv, biased.bias.extended)
    pooled, alone = estimates.pooled.delta_f(), estimates.alone.delta_f()
    return Analysis(
        **_region(samples, estimates, system),
        delta_f_kj_mol=None if pooled is None else float(pooled.estimate),
        delta_f_interval=_ends(pooled),
        delta_f_iteration_kj_mol=None if alone is None else float(alone.estimate),
        delta_f_iteration_interval=_ends(alone),
        visited_bins=visited_bins,
        n_islands=n_islands,
    )


def _ends(found: Interval | None) -> tuple[float, float] | None:
    return None if found is None else (float(found.lower), float(found.upper))


def _write_colvar(path: Path, pool: Pool, samples: Samples, system: MolecularSystem) -> None:
    columns: dict[str, ArrayLike] = {"time": samples.time_ps, **samples.observables}
    for c in range(samples.xi.shape[1]):
        columns[f"xi_{c + 1}"] = samples.xi[:, c]
    for c in range(samples.lam.shape[1]):
        columns[f"lam_{c + 1}"] = samples.lam[:, c]
    columns["weight"] = pool.last_weights
    columns["walker"] = samples.walker
    angles = [
        name
        for c, period in enumerate(samples.component_periods)
        for name in (f"xi_{c + 1}", f"lam_{c + 1}")
        if np.isclose(period, 2.0 * np.pi) and np.abs(columns[name]).max() < np.pi + 1e-6
    ]
    write_colvar(path, columns, periodic=(*system.observables.periodic_names, *angles))


def _write_grids(folder: Path, biased: BiasedIteration, least: int) -> tuple[int, int]:
    """Grids of ABF and CZAR, and the free energies integrated from them; returns visited bins and islands.

    Args:
        least: samples that a bin needs for its free energy to be known.
    """
    bias = biased.bias
    grid, total, kt = bias.grid, bias.total, bias.extended.kt
    names = [f"xi_{c + 1}" for c in range(grid.n_dims)]
    axes = [grid.centers(dim) for dim in range(grid.n_dims)]
    extended = total.free_energy()
    czar = czar_gradient(total.n_xi, total.sum_xi, grid, kt=kt)
    unbiased = supported(integrate_gradient(czar, total.n_xi, grid), total.n_xi, least)
    of_lambda = supported(extended, total.n_lam, least)
    write_count(folder / "abf.count", grid, total.n_lam)
    write_gradient(folder / "abf.grad", grid, total.mean_force)
    write_pmf(folder / "abf.pmf", grid, of_lambda)
    write_count(folder / "abf.zcount", grid, total.n_xi)
    write_gradient(folder / "abf.czar.grad", grid, czar)
    write_pmf(folder / "abf.czar.pmf", grid, unbiased)
    write_fes(folder / "fes_xi_abf.dat", axes, of_lambda, names, grid.periodic)
    write_fes(folder / "fes_xi_czar.dat", axes, unbiased, names, grid.periodic)
    return int((total.n_lam > 0).sum()), extended.n_islands


def _write_observable_fes(folder: Path, estimates: Estimates, system: MolecularSystem) -> None:
    """F along each observable and pairs of them, from the weights of the frames, with standard errors."""
    observables = estimates.frames.observables
    alone = [(name,) for name in observables]
    for n_bins, groups in ((N_BINS_1D, alone), (N_BINS_2D, system.observables.pairs)):
        for names in groups:
            values = np.stack([observables[name] for name in names], axis=1)
            periodic = [name in system.observables.periodic_names for name in names]
            edges = [system.observables.edges(name, observables[name], n_bins) for name in names]
            found = estimates.pooled.profile(values, edges)
            axes = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
            path = folder / f"fes_{'_'.join(names)}.dat"
            write_fes(path, axes, found.estimate, names, periodic, error=found.standard_error)


def _write_xi_fes(path: Path, estimates: Estimates, biased: BiasedIteration) -> None:
    """F along the CV that was biased, from the weights of the frames, with standard errors."""
    grid = biased.bias.grid
    xi = grid.wrap(estimates.frames.xi)
    found = estimates.pooled.profile(xi, [grid.edges(dim) for dim in range(grid.n_dims)])
    write_fes(
        path,
        [grid.centers(dim) for dim in range(grid.n_dims)],
        found.estimate,
        [f"xi_{c + 1}" for c in range(grid.n_dims)],
        grid.periodic,
        error=found.standard_error,
    )


def _region(samples: Samples, estimates: Estimates | None, system: MolecularSystem) -> dict[str, Any]:
    inside = inside_region(samples.observables, system)
    if inside is None:
        return {}
    if estimates is None or estimates.alone.passages is None:
        return {"inside_share": float(inside.mean())}
    return {"passages": sum(estimates.alone.passages), "inside_share": float(inside.mean())}
