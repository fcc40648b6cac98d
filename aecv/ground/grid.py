"""Regular grids over a collective variable."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import GridError


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Equal bins per dimension over a box; bins are stored flat, last dimension fastest (C order).

    Attributes:
        lower: lower edge of the box per dimension [CV].
        upper: upper edge of the box per dimension [CV].
        n_bins: number of bins per dimension.
        periodic: whether upper is the same place as lower, per dimension; left out: nowhere.

    Raises:
        GridError: for unequal lengths, edges that are not finite or not increasing, fewer than 2 bins,
            more than 3 dimensions, or more than 1e7 bins.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    n_bins: tuple[int, ...]
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * len(self.n_bins))
        if not len(self.lower) == len(self.upper) == len(self.n_bins) or not 1 <= len(self.lower) <= 3:
            raise GridError(
                "grid: lower, upper and n_bins need the same length, 1 to 3, "
                f"got {len(self.lower)}, {len(self.upper)} and {len(self.n_bins)}"
            )
        if len(self.periodic) != len(self.n_bins):
            raise GridError(
                f"grid: periodic needs one entry per dimension, {len(self.n_bins)}, got {len(self.periodic)}"
            )
        for dim, (low, high, bins) in enumerate(zip(self.lower, self.upper, self.n_bins, strict=True)):
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise GridError(f"grid: dimension {dim} needs finite lower < upper, got [{low}, {high}]")
            if bins < 2:
                raise GridError(f"grid: dimension {dim} needs at least 2 bins, got {bins}")
        if self.size > 10_000_000:
            raise GridError(f"grid: {self.size} bins are more than 1e7; use fewer bins per dimension")

    @property
    def n_dims(self) -> int:
        return len(self.n_bins)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.n_bins

    @property
    def size(self) -> int:
        return int(np.prod(self.n_bins))

    @property
    def widths(self) -> FloatArray:
        """Bin width per dimension [CV], shape (n_dims,)."""
        return np.asarray((np.array(self.upper) - np.array(self.lower)) / np.array(self.n_bins), dtype=float)

    @property
    def periods(self) -> FloatArray:
        """Period per dimension [CV], 0 where it is not periodic, shape (n_dims,)."""
        return np.where(self.periodic, np.array(self.upper) - np.array(self.lower), 0.0)

    def edges(self, dim: int) -> FloatArray:
        """Bin edges along one dimension [CV], shape (n_bins[dim] + 1,)."""
        return np.linspace(self.lower[dim], self.upper[dim], self.n_bins[dim] + 1)

    def centers(self, dim: int) -> FloatArray:
        """Bin centres along one dimension [CV], shape (n_bins[dim],)."""
        edges = self.edges(dim)
        return 0.5 * (edges[1:] + edges[:-1])

    def center_points(self) -> FloatArray:
        """Centres of all bins in flat order [CV], shape (size, n_dims)."""
        mesh = np.meshgrid(*(self.centers(dim) for dim in range(self.n_dims)), indexing="ij")
        return np.stack([axis.ravel() for axis in mesh], axis=1)

    def wrap(self, points: ArrayLike) -> FloatArray:
        """Points with their periodic coordinates moved into [lower, upper); (..., n_dims) -> the same."""
        coordinates = np.array(points, dtype=float)
        for dim in np.flatnonzero(self.periodic):
            low, high = self.lower[dim], self.upper[dim]
            with np.errstate(invalid="ignore"):
                wrapped = low + np.mod(coordinates[..., dim] - low, high - low)
                # rounding may leave a point just below lower on upper
                coordinates[..., dim] = np.where(wrapped >= high, low, wrapped)
        return coordinates

    def index(self, points: ArrayLike) -> IntArray:
        """Flat bin index of each point, -1 off the grid or where a coordinate is NaN.

        Bins are half-open, [edge, next edge), so that a point belongs to one bin; periodic coordinates are
        wrapped.

        Args:
            points: shape (n, n_dims) [CV].

        Returns:
            shape (n,).
        """
        coordinates = np.asarray(points, dtype=float)
        if coordinates.ndim != 2 or coordinates.shape[1] != self.n_dims:
            raise GridError(f"grid: points need shape (n, {self.n_dims}), got {coordinates.shape}")
        coordinates = self.wrap(coordinates)
        with np.errstate(invalid="ignore"):
            bins = np.floor((coordinates - np.array(self.lower)) / self.widths)
            inside = np.all((bins >= 0) & (bins < np.array(self.n_bins)), axis=1)
        safe = np.where(inside[:, None], bins, 0).astype(np.int64)
        flat = np.ravel_multi_index(tuple(safe.T), self.n_bins)
        return np.where(inside, flat, -1)

    def as_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON; `Grid.from_dict` reads it back."""
        return {
            "lower": list(self.lower),
            "upper": list(self.upper),
            "n_bins": list(self.n_bins),
            "periodic": list(self.periodic),
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Grid":
        """A grid from what `as_dict` gave; without "periodic", as older files are, it is periodic nowhere."""
        return cls(
            lower=tuple(float(x) for x in fields["lower"]),
            upper=tuple(float(x) for x in fields["upper"]),
            n_bins=tuple(int(n) for n in fields["n_bins"]),
            periodic=tuple(bool(flag) for flag in fields.get("periodic", ())),
        )
