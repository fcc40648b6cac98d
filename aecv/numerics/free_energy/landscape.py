"""Basins of a free energy on a grid, and the way between two of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import GridError


@dataclass(frozen=True, kw_only=True)
class Basin:
    """A minimum of a free energy.

    Attributes:
        bin: flat index of the lowest bin.
        depth: from there to the lowest pass into a basin that is lower still [kJ/mol]; inf for the lowest
            one of bins that hang together.
    """

    bin: int
    depth: float


def marginal(values: FloatArray, dims: Sequence[int], *, kt: float) -> FloatArray:
    """F with some dimensions integrated out, -kT ln sum exp(-F/kT), its minimum 0; NaN where all is unknown.

    Args:
        values: free energy [kJ/mol]; NaN where unknown.
        dims: those that go.
        kt: thermal energy [kJ/mol].
    """
    filled = np.where(np.isfinite(values), values, np.inf)
    lowest = filled.min(axis=tuple(dims), keepdims=True)
    base = np.where(np.isfinite(lowest), lowest, 0.0)
    with np.errstate(divide="ignore"):
        found = base - kt * np.log(np.exp(-(filled - base) / kt).sum(axis=tuple(dims), keepdims=True))
    found = np.where(np.isfinite(found), found, np.nan).squeeze(axis=tuple(dims))
    return np.asarray(found - np.min(found, where=np.isfinite(found), initial=np.inf))


def find_basins(values: ArrayLike, periodic: Sequence[bool], *, min_depth: float) -> tuple[Basin, ...]:
    """Minima by their depth (topological persistence), the deepest first; of equal depth the lower one.

    The landscape is flooded from below: where two lakes meet, the one with the higher bottom ends there, and
    its depth is the level less its bottom. Noise makes many minima, but shallow ones.

    Args:
        values: free energy [kJ/mol], one to three dimensions; NaN or inf where unknown.
        periodic: per dimension.
        min_depth: shallower minima are left out [kJ/mol].

    Raises:
        GridError: when there is not one flag per dimension.
    """
    grid = _checked(values, periodic)
    flat = grid.ravel()
    near = _neighbours(grid.shape, periodic)
    order = np.argsort(np.where(np.isfinite(flat), flat, np.inf), kind="stable")[: np.isfinite(flat).sum()]
    lake = np.full(flat.size, -1)
    depth: dict[int, float] = {}

    def bottom(bin_: int) -> int:
        while lake[bin_] != bin_:
            lake[bin_] = lake[lake[bin_]]
            bin_ = int(lake[bin_])
        return bin_

    for bin_ in order.tolist():
        lakes = {bottom(k) for k in near[bin_].tolist() if k >= 0 and lake[k] >= 0}
        if not lakes:
            lake[bin_], depth[bin_] = bin_, np.inf
            continue
        lowest = min(lakes, key=lambda k: (flat[k], k))
        lake[bin_] = lowest
        for other in lakes - {lowest}:
            lake[other], depth[other] = lowest, float(flat[bin_] - flat[other])
    found = [Basin(bin=k, depth=d) for k, d in depth.items() if d >= min_depth]
    return tuple(sorted(found, key=lambda basin: (-basin.depth, flat[basin.bin], basin.bin)))


def lowest_path(values: ArrayLike, periodic: Sequence[bool], start: int, end: int, *, kt: float) -> IntArray:
    """Bins along the path of largest flux between two bins, both ends included.

    It minimises the sum of exp(F/kT) dl over steps between neighbouring bins, dl in bins: the way along which
    diffusion at constant friction is fastest. It follows valleys and passes, and where the land is flat goes
    straight.

    Args:
        values: free energy [kJ/mol], one to three dimensions; NaN or inf where unknown.
        periodic: per dimension.
        start, end: flat indices of known bins.
        kt: thermal energy [kJ/mol].

    Returns:
        flat indices in order; empty where unknown bins part the two.

    Raises:
        GridError: when there is not one flag per dimension, or an end is unknown.

    Source: Huo, Straub, J. Chem. Phys. 107, 5000 (1997), doi:10.1063/1.474863 (MaxFlux).
    """
    grid = _checked(values, periodic)
    flat = grid.ravel()
    known = np.isfinite(flat)
    if not (known[start] and known[end]):
        raise GridError("lowest_path: needs ends where the free energy is known")
    # beyond e^500 nothing is told apart, and sums would overflow
    friction = np.exp(
        np.minimum((flat - flat[known].min()) / kt, 500.0), where=known, out=np.zeros(flat.size)
    )
    near = _neighbours(grid.shape, periodic)
    here, which = np.nonzero(near >= 0)
    there = near[here, which]
    both = known[here] & known[there] & (here != there)
    here, there = here[both], there[both]
    steps = np.sqrt(np.abs(_moves(grid.ndim)).sum(axis=1))[which[both]]
    costs = 0.5 * (friction[here] + friction[there]) * steps
    graph = csr_array((costs, (here, there)), shape=(flat.size, flat.size))
    _, before = dijkstra(graph, indices=start, return_predecessors=True)
    path = [end]
    while path[-1] != start:
        if before[path[-1]] < 0:
            return np.empty(0, dtype=np.int64)
        path.append(int(before[path[-1]]))
    return np.array(path[::-1], dtype=np.int64)


def _checked(values: ArrayLike, periodic: Sequence[bool]) -> FloatArray:
    grid = np.asarray(values, dtype=float)
    if not 1 <= grid.ndim == len(periodic) <= 3:
        raise GridError(
            f"landscape: needs one to three dimensions and a flag for each, got {grid.ndim} and "
            f"{len(periodic)}"
        )
    return grid


def _moves(n_dims: int) -> IntArray:
    """Steps to all neighbours, diagonal ones too, shape (3^d - 1, d)."""
    return np.array([move for move in product((-1, 0, 1), repeat=n_dims) if any(move)], dtype=np.int64)


def _neighbours(shape: tuple[int, ...], periodic: Sequence[bool]) -> IntArray:
    """Flat indices of the neighbours of every bin, -1 where the grid ends, shape (size, 3^d - 1)."""
    places = np.stack(np.unravel_index(np.arange(int(np.prod(shape))), shape), axis=1)
    around = places[:, None, :] + _moves(len(shape))[None]
    inside = np.ones(around.shape[:2], dtype=bool)
    for dim, (n_bins, wraps) in enumerate(zip(shape, periodic, strict=True)):
        if wraps:
            around[..., dim] %= n_bins
        else:
            inside &= (around[..., dim] >= 0) & (around[..., dim] < n_bins)
    safe = np.where(inside[..., None], around, 0)
    return np.where(inside, np.ravel_multi_index(tuple(np.moveaxis(safe, 2, 0)), shape), -1)
