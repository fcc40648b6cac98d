"""What a run has come to, as plain values: whoever reads the run fills this, pictures and page draw it.

A part that a run does not have, or that could not be read, is None or empty, and both leave it out.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import GridError
from aecv.ground.grid import Grid
from aecv.results.story.uncertainty import Z, check_shape

State = Literal["running", "stopped", "finished"]

MOST_PLANES = 3
"""Of pairs of observables per place on the page; pictures have all."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A coordinate of a figure.

    Attributes:
        name: as files have it, such as phi.
        label: as people write it.
        unit: "" for none.
        periodic: whether it is an angle in (-pi, pi].
    """

    name: str
    label: str
    unit: str
    periodic: bool = False

    @property
    def axis(self) -> str:
        """The title of an axis."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    @property
    def titled(self) -> str:
        """The name with its unit; that of an angle that wraps goes without."""
        return self.name if self.periodic or not self.unit else f"{self.name} [{self.unit}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """A free energy along one or two coordinates.

    Attributes:
        coordinates: one or two.
        axes: points along each.
        values: F [kJ/mol], shape (n_0,) or (n_0, n_1); NaN where unknown.
        error: standard error [kJ/mol], same shape; None where it is not known.
        interval: ends of the 95 % interval [kJ/mol], same shape; None for values -+ Z error.
        exact, czar: the exact F, and the estimate of CZAR, at the same zero, same shape; None without one.
        n_frames: frames of the place per bin, same shape; None where it is not known.
        means: observables and their weighted means over those frames, each of the same shape.

    Raises:
        GridError: without a point, or when an array does not have the shape of the axes.
    """

    coordinates: tuple[Quantity, ...]
    axes: tuple[FloatArray, ...]
    values: FloatArray
    error: FloatArray | None = None
    interval: tuple[FloatArray, FloatArray] | None = None
    exact: FloatArray | None = None
    czar: FloatArray | None = None
    n_frames: IntArray | None = None
    means: tuple[tuple[Quantity, FloatArray], ...] = ()

    def __post_init__(self) -> None:
        lower, upper = self.interval or (None, None)
        what, shape = f"F along {' and '.join(item.name for item in self.coordinates)}", self.shape
        if 0 in shape:
            raise GridError(f"{what}: needs at least one point per axis, got {shape}")
        check_shape(
            what,
            shape,
            values=self.values,
            error=self.error,
            lower=lower,
            upper=upper,
            exact=self.exact,
            czar=self.czar,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along each axis."""
        return tuple(map(np.size, self.axes))

    @property
    def key(self) -> str:
        """Names the figure that all places of the run share."""
        return "_".join(item.name for item in self.coordinates)

    @property
    def ends(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper end of what is shaded [kJ/mol]; infinite or NaN where the error is not known."""
        if self.interval is not None:
            return self.interval
        half = np.full(self.values.shape, np.nan) if self.error is None else Z * self.error
        return self.values - half, self.values + half


@dataclass(frozen=True, kw_only=True, eq=False)
class InTime:
    """Delta F as frames came, and how much F along the CV still moved.

    Attributes:
        time_ns: simulated time over all walkers, shape (n,).
        delta_f, lower, upper: with the 95 % interval [kJ/mol], each (n,); None without [delta_f].
        xi_change: root-mean-square difference of F of the extended variable from the final one [kJ/mol],
            shape (n,).
        exact: the exact Delta F [kJ/mol]; None where it is not known.
    """

    time_ns: FloatArray
    delta_f: FloatArray | None
    lower: FloatArray | None
    upper: FloatArray | None
    xi_change: FloatArray | None
    exact: float | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.time_ns)
        parts = {"delta_f": self.delta_f, "lower": self.lower, "upper": self.upper}
        check_shape("Delta F in time", shape, **parts, xi_change=self.xi_change)

    @property
    def with_interval(self) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Delta F and both ends; None where they are not known."""
        if self.delta_f is None or self.lower is None or self.upper is None:
            return None
        return self.delta_f, self.lower, self.upper


@dataclass(frozen=True, kw_only=True, eq=False)
class FreeEnergies:
    """What an iteration, the production or a run along a given CV found.

    Attributes:
        name: for people.
        folder: its name in the run's folder.
        along_cv: F along the CV that was biased: one, or of three components its three planes.
        profiles, planes: F along each observable and pair of them.
        in_time: None where nothing was written.
    """

    name: str
    folder: str = ""
    along_cv: tuple[Landscape, ...] = ()
    profiles: tuple[Landscape, ...] = ()
    planes: tuple[Landscape, ...] = ()
    in_time: InTime | None = None


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number with its 95 % interval; NaN where unknown, infinite where a side was never seen."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """Numbers per iteration; NaN where there is none.

    Attributes:
        index: of the iterations.
        score, unweighted, nonlinear, required: scores, and what the first had to reach.
        loss: validation loss [nm^2].
        pool, alone: Delta F of the pool and of the iteration alone.
        production: Delta F of the production; None without one.
        exact: the exact Delta F [kJ/mol]; None where it is not known.
    """

    index: tuple[int, ...]
    score: tuple[float, ...]
    unweighted: tuple[float, ...]
    nonlinear: tuple[float, ...]
    required: tuple[float, ...]
    loss: tuple[float, ...]
    pool: tuple[Point, ...]
    alone: tuple[Point, ...]
    production: Point | None = None
    exact: float | None = None

    def __post_init__(self) -> None:
        names = ("score", "unweighted", "nonlinear", "required", "loss", "pool", "alone")
        check_shape("history", (len(self.index),), **{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """Losses of an iteration's restarts by epoch [nm^2], each (n_restarts, n_epochs), NaN after a stop."""

    iteration: int
    train: FloatArray
    validation: FloatArray
    chosen: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Walkers:
    """Where walkers were.

    Attributes:
        place: its name.
        time_ns: per walker, shape (n,).
        basin: start that each walker was clearly nearest to, -1 between them, shape (n_walkers, n).
        observables: with their values at every start, each (n_starts,).
        passages: how often walkers went from one (row) to another (column), shape (n_starts, n_starts).
        measures: name, value and what is wanted, for r_hat and the like.

    Raises:
        GridError: when an array does not have its shape, or a basin is none of the starts.
    """

    place: str
    time_ns: FloatArray
    basin: IntArray
    observables: tuple[tuple[Quantity, FloatArray], ...]
    passages: IntArray
    measures: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        n, what = len(self.passages), f"walkers of {self.place}"
        check_shape(what, (n, n), passages=self.passages)
        check_shape(what, (len(self.basin), np.size(self.time_ns)), basin=self.basin)
        for quantity, values in self.observables:
            check_shape(what, (n,), **{quantity.name: values})
        if np.size(self.basin) and not -1 <= np.min(self.basin) <= np.max(self.basin) < n:
            raise GridError(
                f"{what}: basins need -1 .. {n - 1}, got {np.min(self.basin)} .. {np.max(self.basin)}"
            )

    def starts(self, called: Literal["name", "label"]) -> list[str]:
        """Each start in words, its observables by their names in files or as people write them."""
        known = [
            [f"{getattr(item, called)} {values[k]:.2f}" for item, values in self.observables]
            for k in range(len(self.passages))
        ]
        return [", ".join([f"start {k}", *texts]) for k, texts in enumerate(known)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Biased:
    """F of the extended variable of an iteration, and the bins that it came to.

    Attributes:
        name: for people.
        grid: of the CV.
        values: F [kJ/mol], shape (grid.size,); NaN where unknown.
        visited: bins with samples, shape (grid.size,).
        exact: F of the extended variable [kJ/mol], shape (grid.size,); None where it is not known.
        time_ns, n_visited: bins visited up to a time, all walkers together, each (n,).

    Raises:
        GridError: when an array does not have the shape of its grid.
    """

    name: str
    grid: Grid
    values: FloatArray
    visited: BoolArray
    exact: FloatArray | None
    time_ns: FloatArray
    n_visited: IntArray

    def __post_init__(self) -> None:
        shape = (self.grid.size,)
        check_shape(self.name, shape, values=self.values, visited=self.visited, exact=self.exact)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Frames of an iteration along the CV that it learned.

    Attributes:
        xi: shape (n, d).
        observables: and their values, each (n,).
        weights: Boltzmann weights, any normalisation, shape (n,).
        walker: of each frame, shape (n,).
        region: where the first observable enters and leaves the region of [delta_f]; else None.
        kt: thermal energy [kJ/mol].
        least_visits: effective visits under which a bin is unknown.
    """

    xi: FloatArray
    observables: tuple[tuple[Quantity, FloatArray], ...]
    weights: FloatArray
    walker: IntArray
    region: tuple[float, float] | None
    kt: float
    least_visits: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Stop:
    """A point of the path, or the centre of a basin beside it.

    Attributes:
        label: for people.
        xi: the CV at the bin's centre, shape (d,).
        free_energy: F there [kJ/mol].
        error: its standard error; NaN where unknown.
        observables: of the frame that stands for it.
        basin: its number, 1 for the deepest; 0 for none.
        on_path: whether it belongs to the path.
    """

    label: str
    xi: FloatArray
    free_energy: float
    error: float
    observables: tuple[tuple[Quantity, float], ...]
    basin: int
    on_path: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Structures:
    """Basins of F along the CV, the path between the two deepest, and frames that lie there.

    Attributes:
        place: where frames and F come from.
        stops: points of the path in order, then the other basins.
        elements, atoms: symbol and name of each atom shown; empty where there is nothing to see (a particle).
        bonds: pairs of atoms.
        positions: superposed frames, shape (n_stops, n_atoms, 3) [Angstrom].
        left_out: what is not shown; "" for nothing.
    """

    place: str
    stops: tuple[Stop, ...]
    elements: tuple[str, ...]
    atoms: tuple[str, ...]
    bonds: tuple[tuple[int, int], ...]
    positions: FloatArray
    left_out: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something to do next: why, and the command for it ("" for none)."""

    advice: str
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns (name, meaning) and rows of texts; `caption` says units."""

    caption: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class SettingRow:
    """A setting; `origin` is "default", "changed" or "given" (it has no default)."""

    key: str
    value: str
    default: str
    meaning: str
    origin: Literal["default", "changed", "given"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """All that is told of a run.

    Attributes:
        system, description: what was simulated.
        what: what kind of run it is, in a few words; `learns` whether it is the loop.
        folder: of the run.
        state, state_words: whether it goes on.
        written: when the page was made.
        converged: None where nothing is judged.
        verdict: sentences.
        trial: what is said before anything else of a run that is only a trial; "" for any other.
        steps: what to do next.
        facts: the numbers that matter most, name and text.
        iterations: numbers of the finished ones.
        region: what Delta F is of, such as "0 < psi < 1.8"; "" without [delta_f].
        table: of the iterations.
        left_out_energies: places whose maps are not shown, to keep the page small; "" for none.
        settings: sections with their rows; `toml` is all of them as a file.
        versions: name and text; `command` repeats the run.
        missing: parts that could not be read, and why.
    """

    system: str
    description: str
    what: str
    folder: str
    state: State
    state_words: str
    written: str
    converged: bool | None
    verdict: tuple[str, ...]
    steps: tuple[Step, ...]
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, tuple[SettingRow, ...]], ...]
    toml: str
    versions: tuple[tuple[str, str], ...]
    command: str
    learns: bool = True
    trial: str = ""
    iterations: tuple[int, ...] = ()
    region: str = ""
    table: Table | None = None
    history: History | None = None
    energies: tuple[FreeEnergies, ...] = ()
    left_out_energies: str = ""
    training: Training | None = None
    walkers: Walkers | None = None
    structures: Structures | None = None
    missing: tuple[str, ...] = field(default=())

    @property
    def produced(self) -> FreeEnergies | None:
        """The production, or the run along a given CV; None before there is one."""
        last = self.energies[-1] if self.energies else None
        return None if last is None or last.folder.startswith("iteration_") else last
