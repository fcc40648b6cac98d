"""Exact answers beside the estimates, where the system is a particle on a known potential.

Written per iteration: fes_xi.exact.dat (F along the CV that was biased), fes_x.exact.dat and the like (F along
the observables, on the bins of the estimates), and exact.json (Delta F, and how far the estimates are off).
"""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.files import write_json
from aecv.ground.grid import Grid
from aecv.ground.units import thermal_energy
from aecv.models.cv import CV
from aecv.numerics import quadrature
from aecv.numerics.quadrature import Plane
from aecv.results.fes import read_fes, write_fes
from aecv.sampling.system import MolecularSystem

FloatArray = NDArray[np.float64]

N_POINTS = 800
"""Cells per axis: bins of the profiles are several cells wide, and cells are shared between bins."""
WITHIN_KT = 8.0
"""Estimates are compared up to this free energy [kT]."""
_Z_NODES, _Z_SHARES = (-np.sqrt(3.0), 0.0, np.sqrt(3.0)), (1 / 6, 2 / 3, 1 / 6)
"""Gauss-Hermite quadrature of a standard normal variable, exact up to the fifth power: the spring along z."""


def write_exact(folder: Path, system: MolecularSystem, cv: CV, grid: Grid) -> None:
    """Write the exact free energies of an iteration; nothing where they are not known (a molecule).

    Args:
        folder: of the iteration, with the fes files of the estimates.
        cv: the CV that was biased.
        grid: its grid.
    """
    plane = exact_plane(system)
    if plane is None:
        return
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    errors: dict[str, Any] = {}
    profile = _along_cv(system, plane, cv, grid, kt)
    axes = [grid.centers(dim) for dim in range(grid.n_dims)]
    components = [f"xi_{c + 1}" for c in range(grid.n_dims)]
    write_fes(folder / "fes_xi.exact.dat", axes, profile, components, [False] * grid.n_dims)
    for estimate in ("xi_abf", "xi_czar"):
        errors[estimate] = _error(read_fes(folder / f"fes_{estimate}.dat").values.ravel(), profile, kt)
    coordinates = _coordinates(system)
    for names in [*((name,) for name in coordinates), *combinations(coordinates, 2)]:
        along = tuple(coordinates[name] for name in names)
        if len(set(along)) == len(along):
            errors["_".join(names)] = _write_companion(folder, plane, names, along, kt)
    write_json(
        folder / "exact.json",
        {
            "delta_f_kj_mol": _delta_f(system, plane, kt),
            "within_kt": WITHIN_KT,
            "errors_kj_mol": errors,
        },
    )


def read_exact_profile(folder: Path) -> FloatArray | None:
    """Exact F along the CV that an iteration biased, flat; None where there is none."""
    path = folder / "fes_xi.exact.dat"
    return read_fes(path).values.ravel() if path.is_file() else None


def exact_plane(system: MolecularSystem) -> Plane | None:
    """Boltzmann mass of a particle over x and y; None for a molecule."""
    particle, potential = system.spec.settings.particle, system.spec.potential
    if particle is None or potential is None:
        return None
    x, y = quadrature.cell_centers(particle.domain_nm, N_POINTS)
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    return quadrature.boltzmann_plane(potential(x=x[:, None], y=y[None]), x, y, kt=kt)


def _along_cv(system: MolecularSystem, plane: Plane, cv: CV, grid: Grid, kt: float) -> FloatArray:
    """F along a CV, flat, with z integrated out; by shared cells in one dimension, by counting in two."""
    particle = system.spec.settings.particle
    assert particle is not None
    spread = np.sqrt(kt / particle.z_stiffness_kj_mol_nm2)
    x, y = np.meshgrid(plane.x, plane.y, indexing="ij")
    mass = np.zeros(grid.size)
    for node, share in zip(_Z_NODES, _Z_SHARES, strict=True):
        xi = cv(np.stack([x, y, np.full_like(x, node * spread)], axis=-1).reshape(-1, 1, 3))
        if grid.n_dims == 1:
            mass += share * quadrature.mass_along(xi.reshape(x.shape), plane, grid.edges(0))
        else:
            bins = grid.index(xi)
            mass += share * np.bincount(
                bins[bins >= 0], plane.mass.ravel()[bins >= 0], minlength=grid.size
            )
    return quadrature.free_energy_of_mass(mass, 1.0, kt=kt)


def _coordinates(system: MolecularSystem) -> dict[str, int]:
    """Observables that are x (0) or y (1) of the particle."""
    return {name: axis for name, axis in system.observables.axes.items() if axis < 2}


def _values(plane: Plane, axis: int) -> FloatArray:
    """x (axis 0) or y (axis 1) at every cell, shape (n_x, n_y)."""
    return np.broadcast_to(plane.x[:, None] if axis == 0 else plane.y, plane.mass.shape)


def _write_companion(
    folder: Path, plane: Plane, names: tuple[str, ...], axes: tuple[int, ...], kt: float
) -> dict[str, Any]:
    """The exact F on the bins of an estimate's file, written beside it; returns how far the estimate is off."""
    estimate = read_fes(folder / f"fes_{'_'.join(names)}.dat")
    edges = [_edges_of(centers) for centers in estimate.axes]
    if len(axes) == 1:
        mass = quadrature.mass_along(_values(plane, axes[0]), plane, edges[0])
    elif axes == (0, 1):
        mass = quadrature.mass_in_plane(plane, *edges)
    else:
        mass = quadrature.mass_in_plane(plane, *reversed(edges)).T
    exact = quadrature.free_energy_of_mass(mass, 1.0, kt=kt)
    write_fes(folder / f"fes_{'_'.join(names)}.exact.dat", estimate.axes, exact, names, estimate.periodic)
    return _error(estimate.values, exact, kt)


def _edges_of(centers: FloatArray) -> FloatArray:
    """Edges of even bins from their centres."""
    half = 0.5 * (centers[-1] - centers[0]) / (len(centers) - 1)
    return np.append(centers - half, centers[-1] + half)


def _error(estimate: FloatArray, exact: FloatArray, kt: float) -> dict[str, Any]:
    """Largest and root-mean-square error over the bins with exact F < WITHIN_KT kT, both with mean zero there."""
    wanted = exact < WITHIN_KT * kt
    known = wanted & np.isfinite(estimate)
    difference = (estimate - exact)[known]
    if not difference.size:
        return {"largest": None, "rms": None, "n_bins": 0, "n_unknown": int(wanted.sum())}
    difference = difference - difference.mean()
    return {
        "largest": float(np.abs(difference).max()),
        "rms": float(np.sqrt(np.mean(difference**2))),
        "n_bins": int(known.sum()),
        "n_unknown": int(wanted.sum() - known.sum()),
    }


def _delta_f(system: MolecularSystem, plane: Plane, kt: float) -> float | None:
    """Exact Delta F of the region of [delta_f]; None without one, or where it is not along x or y."""
    region, coordinates = system.spec.settings.delta_f, _coordinates(system)
    if region is None or region.observable not in coordinates:
        return None
    values = _values(plane, coordinates[region.observable])
    return quadrature.region_free_energy(values, plane, region.lower, region.upper, kt=kt)
