"""What the page of a run shows, as plain values: whoever reads the run fills this, the page draws it.

A part that a run does not have, or that could not be read, is None or empty, and the page leaves it out.
"""

from dataclasses import dataclass, field
from typing import Literal

from aecv.ground.arrays import FloatArray, IntArray

State = Literal["running", "stopped", "finished"]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A coordinate of a figure.

    Attributes:
        name: as files have it, such as phi.
        label: as people write it.
        unit: "" for none.
    """

    name: str
    label: str
    unit: str

    @property
    def axis(self) -> str:
        """The title of an axis."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True, kw_only=True, eq=False)
class Landscape:
    """A free energy along one or two coordinates.

    Attributes:
        coordinates: one or two.
        axes: points along each.
        values: F [kJ/mol], shape (n_0,) or (n_0, n_1); NaN where unknown.
        error: standard error [kJ/mol], same shape; None where it is not known.
        exact: the exact F at the same zero, same shape; None without one.
        n_frames: frames of the place per bin, same shape; None where it is not known.
        means: observables and their weighted means over those frames, each of the same shape.
    """

    coordinates: tuple[Quantity, ...]
    axes: tuple[FloatArray, ...]
    values: FloatArray
    error: FloatArray | None = None
    exact: FloatArray | None = None
    n_frames: IntArray | None = None
    means: tuple[tuple[Quantity, FloatArray], ...] = ()

    @property
    def key(self) -> str:
        """Names the figure that all places share."""
        return "_".join(item.name for item in self.coordinates)


@dataclass(frozen=True, kw_only=True, eq=False)
class InTime:
    """Delta F as frames came, and how much F along the CV still moved.

    Attributes:
        time_ns: simulated time over all walkers, shape (n,).
        delta_f, lower, upper: with the 95 % interval [kJ/mol], each (n,); None without [delta_f].
        xi_change: root-mean-square difference of F of the extended variable from the final one [kJ/mol],
            shape (n,).
    """

    time_ns: FloatArray
    delta_f: FloatArray | None
    lower: FloatArray | None
    upper: FloatArray | None
    xi_change: FloatArray | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """What an iteration, the production or a run along a given CV found.

    Attributes:
        name: for people.
        along_cv: F along the CV that was biased: one, or of three components its three planes.
        profiles, planes: F along each observable and pair of them.
        in_time: None where nothing was written.
    """

    name: str
    along_cv: tuple[Landscape, ...] = ()
    profiles: tuple[Landscape, ...] = ()
    planes: tuple[Landscape, ...] = ()
    in_time: InTime | None = None


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number with its 95 % interval; NaN where unknown."""

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
        region: what Delta F is of; "" without [delta_f].
    """

    index: tuple[int, ...]
    score: tuple[float, ...]
    unweighted: tuple[float, ...]
    nonlinear: tuple[float, ...]
    required: tuple[float, ...]
    loss: tuple[float, ...]
    pool: tuple[Point, ...]
    alone: tuple[Point, ...]
    production: Point | None
    exact: float | None
    region: str


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
        starts: what each start is, in words.
        passages: how often walkers went from one (row) to another (column), shape (n_starts, n_starts).
        measures: name, value and what is wanted, for r_hat and the like.
    """

    place: str
    time_ns: FloatArray
    basin: IntArray
    starts: tuple[str, ...]
    passages: IntArray
    measures: tuple[tuple[str, str], ...]


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
    """All that the page of a run shows.

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
        table: of the iterations.
        left_out_places: places whose maps are not shown, to keep the page small; "" for none.
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
    table: Table | None = None
    history: History | None = None
    places: tuple[Place, ...] = ()
    left_out_places: str = ""
    training: Training | None = None
    walkers: Walkers | None = None
    structures: Structures | None = None
    missing: tuple[str, ...] = field(default=())
