"""Exact answers beside the estimates, where the system is a particle on a known potential.

Written per iteration: fes_xi.exact.dat (F along the CV that was biased), fes_xi_lambda.exact.dat (F of the
extended variable), fes_x.exact.dat and the like (F along the observables), all on the bins of the estimates;
and exact.json (Delta F, and how far the estimates are off).
"""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.files import write_json
from aecv.ground.forms import read_form
from aecv.ground.grid import Grid
from aecv.ground.units import thermal_energy
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.free_energy import quadrature
from aecv.numerics.free_energy.quadrature import Plane
from aecv.numerics.statistics.intervals import aligned
from aecv.results.formats.fes import FesFile, read_fes, write_fes
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.run_folder.stage_records import checked

N_POINTS = 800
"""Cells per axis: bins of the profiles are several cells wide, and cells are shared between bins."""
WITHIN_KT = 8.0
"""Estimates are compared up to this free energy [kT]."""
ESTIMATES = {"xi": "xi_czar", "xi_lambda": "xi_abf"}
"""Exact profiles along the CV, and the estimates that they are to be compared with."""
REFINEMENT, PADDING = 6, 5.0
"""Fine bins per bin of the CV, and sigmas beyond the grid, from which the extended variable is smeared."""
_Z_NODES = np.linspace(-4.5, 4.5, 19)
"""Of a standard normal variable, the spring along z. A trapezoid sum, since a CV may shift by more than a bin
along z: few Gauss-Hermite nodes leave stripes where F is steep."""
_Z_SHARES = np.exp(-0.5 * _Z_NODES**2) / np.exp(-0.5 * _Z_NODES**2).sum()
_LEAST_MASS = 1e-20
"""Cells with less than this share of the heaviest one are left out."""


def write_exact(folder: Path, system: MolecularSystem, cv: CV, extended: ExtendedVariable) -> None:
    """Write the exact free energies of an iteration; nothing where they are not known (a molecule).

    Args:
        folder: of the iteration, with the fes files of the estimates.
        cv: the CV that was biased.
        extended: its grid and coupling.
    """
    plane = exact_plane(system)
    if plane is None:
        return
    kt = extended.kt
    errors: dict[str, Any] = {}
    for name, profile in _along_cv(system, plane, cv, extended).items():
        estimate = read_fes(folder / f"fes_{ESTIMATES[name]}.dat")
        write_fes(folder / f"fes_{name}.exact.dat", estimate.axes, profile, estimate.names, estimate.periodic)
        errors[ESTIMATES[name]] = _error(estimate.values, profile, kt)
        if name == "xi":
            weighted = read_fes(folder / "fes_xi.dat")
            errors["xi"] = _error(weighted.values, profile, kt) | {
                "share_within_1.96_se": _held(weighted, profile, kt)
            }
    coordinates = _coordinates(system)
    for names in [*((name,) for name in coordinates), *combinations(coordinates, 2)]:
        along = tuple(coordinates[name] for name in names)
        if len(set(along)) == len(along):
            errors["_".join(names)] = _write_companion(folder, plane, names, along, kt)
    write_json(
        folder / "exact.json",
        {"delta_f_kj_mol": _delta_f(system, plane, kt), "within_kt": WITHIN_KT, "errors_kj_mol": errors},
    )


def read_exact_profile(folder: Path, name: str = "xi_lambda") -> FloatArray | None:
    """Exact F of an iteration, flat; None where there is none.

    Args:
        folder: of the iteration.
        name: "xi" for the CV that was biased, "xi_lambda" for the extended variable.
    """
    path = folder / f"fes_{name}.exact.dat"
    return read_fes(checked(path)).values.ravel() if path.is_file() else None


def read_exact_delta_f(folder: Path) -> float | None:
    """Exact Delta F of an iteration or a production [kJ/mol]; None where it is not known."""
    path = folder / "exact.json"
    if not path.is_file():
        return None
    value = read_form(checked(path), _StoredExact).delta_f_kj_mol
    return None if value is None else float(value)


@dataclass(frozen=True)
class _StoredExact:
    """What is read of exact.json."""

    delta_f_kj_mol: float | None


def exact_plane(system: MolecularSystem) -> Plane | None:
    """Boltzmann mass of a particle over x and y; None for a molecule."""
    particle, potential = system.spec.settings.particle, system.spec.potential
    if particle is None or potential is None:
        return None
    x, y = quadrature.cell_centers(particle.domain_nm, N_POINTS)
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    return quadrature.boltzmann_plane(potential(x=x[:, None], y=y[None]), x, y, kt=kt)


def _along_cv(
    system: MolecularSystem, plane: Plane, cv: CV, extended: ExtendedVariable
) -> dict[str, FloatArray]:
    """F of the CV, and of lambda, which is the CV smeared by sigma = (kT/kappa)^(1/2), on the bins."""
    grid = extended.grid
    sigma = np.sqrt(extended.kt / np.array(extended.kappa))
    fine, pad = _refined(grid, sigma)
    mass = _mass_of_cv(system, plane, cv, fine)
    inner, factor = mass, fine.widths / grid.widths
    for dim, n_bins in enumerate(grid.n_bins):
        inner = np.take(inner, np.arange(pad[dim], fine.n_bins[dim] - pad[dim]), axis=dim)
        shape = (*inner.shape[:dim], n_bins, round(1.0 / factor[dim]), *inner.shape[dim + 1 :])
        inner = inner.reshape(shape).sum(axis=dim + 1)
    dims = range(grid.n_dims)
    smeared = quadrature.smeared_density(
        mass,
        [fine.centers(dim) for dim in dims],
        [grid.centers(dim) for dim in dims],
        sigma,
        periods=grid.periods.tolist(),
    )
    return {
        "xi": quadrature.free_energy_of_mass(inner, 1.0, kt=extended.kt),
        "xi_lambda": quadrature.free_energy_of_mass(smeared, 1.0, kt=extended.kt),
    }


def _refined(grid: Grid, sigma: FloatArray) -> tuple[Grid, list[int]]:
    """A grid of REFINEMENT bins per bin and PADDING sigma more on each side, and the bins of that padding.

    There is no padding along a periodic component.
    """
    widths = grid.widths / REFINEMENT
    pad = [
        0 if is_periodic else REFINEMENT * int(np.ceil(PADDING * s / w / REFINEMENT))
        for s, w, is_periodic in zip(sigma, widths, grid.periodic, strict=True)
    ]
    fine = Grid(
        lower=tuple(float(low - n * w) for low, n, w in zip(grid.lower, pad, widths, strict=True)),
        upper=tuple(float(high + n * w) for high, n, w in zip(grid.upper, pad, widths, strict=True)),
        n_bins=tuple(REFINEMENT * n + 2 * m for n, m in zip(grid.n_bins, pad, strict=True)),
        periodic=grid.periodic,
    )
    return fine, pad


def _mass_of_cv(system: MolecularSystem, plane: Plane, cv: CV, grid: Grid) -> FloatArray:
    """Mass on the bins of a CV, with z integrated out.

    Cells are shared between bins in one dimension; in two, and where a seam is, they are counted.
    """
    particle = system.spec.settings.particle
    assert particle is not None
    kt = thermal_energy(system.spec.settings.dynamics.temperature_k)
    spread = np.sqrt(kt / particle.z_stiffness_kj_mol_nm2)
    x, y = np.meshgrid(plane.x, plane.y, indexing="ij")
    mass = np.zeros(grid.size)
    is_shared = grid.n_dims == 1 and not grid.periodic[0]
    used = np.ones(x.shape, dtype=bool) if is_shared else plane.mass > _LEAST_MASS * plane.mass.max()
    for node, share in zip(_Z_NODES, _Z_SHARES, strict=True):
        xi = cv(np.stack([x[used], y[used], np.full(used.sum(), node * spread)], axis=-1)[:, None])
        if is_shared:
            mass += share * quadrature.mass_along(xi.reshape(x.shape), plane, grid.edges(0))
        else:
            bins = grid.index(xi)
            inside = bins >= 0
            mass += share * np.bincount(bins[inside], plane.mass[used][inside], grid.size)
    return mass.reshape(grid.shape)


def _coordinates(system: MolecularSystem) -> dict[str, int]:
    """Observables that are x (0) or y (1) of the particle."""
    return {name: axis for name, axis in system.observables.axes.items() if axis < 2}


def _values(plane: Plane, axis: int) -> FloatArray:
    """x (axis 0) or y (axis 1) at every cell, shape (n_x, n_y)."""
    return np.broadcast_to(plane.x[:, None] if axis == 0 else plane.y, plane.mass.shape)


def _write_companion(
    folder: Path, plane: Plane, names: tuple[str, ...], axes: tuple[int, ...], kt: float
) -> dict[str, Any]:
    """Write the exact F on the bins of an estimate beside its file; returns how far the estimate is off."""
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
    """Largest and root-mean-square error where the exact F is below WITHIN_KT kT, less its mean there."""
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


def _held(estimate: FesFile, exact: FloatArray, kt: float) -> float | None:
    """Share of the bins with exact F < WITHIN_KT kT whose error is at most 1.96 standard errors.

    Bins of unknown error say nothing and do not count.
    """
    exact = exact.reshape(estimate.values.shape)
    if estimate.error is None:
        return None
    known = (exact < WITHIN_KT * kt) & np.isfinite(estimate.values) & np.isfinite(estimate.error)
    if not known.any():
        return None
    difference = aligned(estimate.values, exact, kt=kt) - exact
    return float(np.mean((np.abs(difference) <= 1.96 * estimate.error)[known]))


def _delta_f(system: MolecularSystem, plane: Plane, kt: float) -> float | None:
    """Exact Delta F of the region of [delta_f]; None without one, or where it is not along x or y."""
    region, coordinates = system.spec.settings.delta_f, _coordinates(system)
    if region is None or region.observable not in coordinates:
        return None
    values = _values(plane, coordinates[region.observable])
    return quadrature.region_free_energy(values, plane, region.lower, region.upper, kt=kt)
