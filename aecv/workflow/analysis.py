"""Free energies of an iteration, as numbers and as files in the formats of PLUMED and Colvars."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.units import thermal_energy
from aecv.numerics.free_energy import czar_gradient, delta_f, histogram_free_energy, integrate_gradient
from aecv.results.colvar import write_colvar
from aecv.results.fes import write_fes
from aecv.results.grids import write_count, write_gradient, write_pmf
from aecv.sampling.system import MolecularSystem
from aecv.workflow.exact import write_exact
from aecv.workflow.pool import BiasedIteration, Pool
from aecv.workflow.samples import Samples

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

N_BINS_1D, N_BINS_2D = 90, 60


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Numbers of an iteration; `IterationRecord` says what they mean."""

    delta_f_kj_mol: float | None = None
    delta_f_iteration_kj_mol: float | None = None
    crossings: int | None = None
    inside_share: float | None = None
    visited_bins: int | None = None
    n_islands: int | None = None


def analyse(
    folder: Path, pool: Pool, samples: Samples, biased: BiasedIteration | None, system: MolecularSystem
) -> Analysis:
    """Write colvar.dat, the ABF grids and the fes files of an iteration.

    Args:
        folder: of the iteration.
        pool: weighted frames.
        samples: the frames of this iteration.
        biased: its bias; None for the unbiased iteration, whose populations are those of its starts and give
            no free energy.
    """
    _write_colvar(folder / "colvar.dat", pool, samples, system)
    if biased is None:
        return Analysis(**_region(samples, system))
    _write_observable_fes(folder, pool, system)
    visited_bins, n_islands = _write_grids(folder, biased)
    write_exact(folder, system, biased.cv, biased.bias.extended)
    pooled, alone = _delta_f(pool, samples, system)
    return Analysis(
        **_region(samples, system),
        delta_f_kj_mol=pooled,
        delta_f_iteration_kj_mol=alone,
        visited_bins=visited_bins,
        n_islands=n_islands,
    )


def _write_colvar(path: Path, pool: Pool, samples: Samples, system: MolecularSystem) -> None:
    columns: dict[str, ArrayLike] = {"time": samples.time_ps, **samples.observables}
    for c in range(samples.xi.shape[1]):
        columns[f"xi_{c + 1}"] = samples.xi[:, c]
    for c in range(samples.lam.shape[1]):
        columns[f"lam_{c + 1}"] = samples.lam[:, c]
    columns["weight"] = pool.last_weights
    columns["walker"] = samples.walker
    write_colvar(path, columns, periodic=system.observables.periodic_names)


def _write_grids(folder: Path, biased: BiasedIteration) -> tuple[int, int]:
    """Grids of ABF and CZAR, and the free energies integrated from them; returns visited bins and islands."""
    bias = biased.bias
    grid, total, kt = bias.grid, bias.total, bias.extended.kt
    names = [f"xi_{c + 1}" for c in range(grid.n_dims)]
    axes = [grid.centers(dim) for dim in range(grid.n_dims)]
    extended = total.free_energy()
    czar = czar_gradient(total.n_xi, total.sum_xi, grid, kt=kt)
    unbiased = integrate_gradient(czar, total.n_xi, grid)
    write_count(folder / "abf.count", grid, total.n_lam)
    write_gradient(folder / "abf.grad", grid, total.mean_force)
    write_pmf(folder / "abf.pmf", grid, extended.on_main())
    write_count(folder / "abf.zcount", grid, total.n_xi)
    write_gradient(folder / "abf.czar.grad", grid, czar)
    write_pmf(folder / "abf.czar.pmf", grid, unbiased.on_main())
    open_ends = [False] * grid.n_dims
    write_fes(folder / "fes_xi_abf.dat", axes, extended.on_main(), names, open_ends)
    write_fes(folder / "fes_xi_czar.dat", axes, unbiased.on_main(), names, open_ends)
    return int((total.n_lam > 0).sum()), extended.n_islands


def _write_observable_fes(folder: Path, pool: Pool, system: MolecularSystem) -> None:
    """F along each observable and each pair of them, from the weights of the pool."""
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    for n_bins, n_names in ((N_BINS_1D, 1), (N_BINS_2D, 2)):
        for names in combinations(pool.observables, n_names):
            values = np.stack([pool.observables[name] for name in names], axis=1)
            edges = [
                _edges(pool.observables[name], name in system.observables.periodic_names, n_bins)
                for name in names
            ]
            free_energy = histogram_free_energy(
                values[:, 0] if n_names == 1 else values, pool.weights, edges, kt=kt
            )
            axes = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
            periodic = [name in system.observables.periodic_names for name in names]
            write_fes(folder / f"fes_{'_'.join(names)}.dat", axes, free_energy, names, periodic)


def _edges(values: FloatArray, periodic: bool, n_bins: int) -> FloatArray:
    low, high = (-np.pi, np.pi) if periodic else (values.min(), np.nextafter(values.max(), np.inf))
    return np.linspace(low, high, n_bins + 1)


def inside_region(observables: dict[str, FloatArray], system: MolecularSystem) -> BoolArray | None:
    """Which frames lie in the region of [delta_f], shape (n,); None where none is defined."""
    region = system.spec.settings.delta_f
    if region is None:
        return None
    values = observables[region.observable]
    return np.asarray((values > region.lower) & (values < region.upper))


def _region(samples: Samples, system: MolecularSystem) -> dict[str, Any]:
    inside = inside_region(samples.observables, system)
    if inside is None:
        return {}
    changed = (inside[1:] != inside[:-1]) & (samples.walker[1:] == samples.walker[:-1])
    return {"crossings": int(changed.sum()), "inside_share": float(inside.mean())}


def _delta_f(pool: Pool, samples: Samples, system: MolecularSystem) -> tuple[float | None, float | None]:
    """Delta F of the pool, and of this iteration's frames alone."""
    in_pool = inside_region(pool.observables, system)
    in_iteration = inside_region(samples.observables, system)
    if in_pool is None or in_iteration is None:
        return None, None
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    return delta_f(in_pool, pool.weights, kt=kt), delta_f(in_iteration, pool.last_weights, kt=kt)
