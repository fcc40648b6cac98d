"""What an iteration leaves for the later ones: its frames as the analysis needs them, and its bias."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import AecvError, StoreError, first_line
from aecv.ground.files import StoredArrays, read_arrays, write_arrays
from aecv.ground.grid import Grid
from aecv.ground.shown import Shown
from aecv.numerics.extended_abf.abf import Accumulators, ExtendedVariable
from aecv.workflow.run_folder.segments import History
from aecv.workflow.run_folder.stage_records import checked

_OBSERVABLE = "observable_"
_FIELDS = ("cv_positions", "time_ps", "walker", "basin", "xi", "lam")
SAMPLES_FORM = {
    "cv_positions": "f n a 3",
    "time_ps": "f n",
    "walker": "i n",
    "basin": "i n",
    "xi": "f n D",
    "lam": "f n D",
    "n_inverted": "i",
    "n_turned": "i",
    "periods?": "f D",
    "weights?": "f n",
    f"{_OBSERVABLE}*": "f n",
}
"""Of samples.npz; see `files.check_form`."""
BIAS_FORM = {
    **dict.fromkeys(("lower", "upper", "kappa", "mass"), "f c"),
    "n_bins": "i c",
    "periodic?": "b c",
    **dict.fromkeys(("friction_per_ps", "kt", "timestep_ps", "ceiling_kj_mol"), "f"),
    "full_samples": "i",
    "increments": "f w g k",
    "prior": "f g k",
    "history_shares": "f H",
    "history_samples": "f H g k",
    "potentials": "f S g",
    "stage_edges": "f E",
}
"""Of bias.npz."""


@dataclass(frozen=True, eq=False, repr=False)
class Samples(Shown):
    """Frames of one iteration, walker by walker, each in its order of time.

    Args:
        arrays: by name, as in samples.npz.
    """

    arrays: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        *,
        cv_positions: NDArray[np.float32],
        observables: Mapping[str, FloatArray],
        time_ps: FloatArray,
        walker: NDArray[np.int64],
        basin: NDArray[np.int64],
        xi: FloatArray,
        lam: FloatArray,
        n_inverted: int,
        n_turned: int,
        periods: tuple[float, ...] = (),
        weights: FloatArray | None = None,
    ) -> "Samples":
        """Frames in memory, from their arrays; for shapes and units see the properties."""
        fields = (cv_positions, time_ps, walker, basin, xi, lam)
        arrays: dict[str, Any] = dict(zip(_FIELDS, fields, strict=True))
        arrays |= {_OBSERVABLE + name: values for name, values in observables.items()}
        arrays |= {"n_inverted": np.array(n_inverted), "n_turned": np.array(n_turned)}
        if weights is not None:
            arrays["weights"] = weights
        return cls(arrays | {"periods": np.array(periods or (0.0,) * xi.shape[1])})

    @property
    def cv_positions(self) -> NDArray[np.float32]:
        """Atoms of the CV, shape (n, n_cv_atoms, 3) [nm]."""
        found: Any = self.arrays["cv_positions"]
        return found

    @property
    def observables(self) -> "Observed":
        """Name -> shape (n,)."""
        return Observed(self.arrays)

    @property
    def time_ps(self) -> FloatArray:
        """Time since the walker's start, shape (n,)."""
        found: Any = self.arrays["time_ps"]
        return found

    @property
    def walker(self) -> NDArray[np.int64]:
        """Index of the walker, shape (n,)."""
        found: Any = self.arrays["walker"]
        return found

    @property
    def basin(self) -> NDArray[np.int64]:
        """Start that the frame is clearly nearest to, -1 for none, shape (n,); see `basins`."""
        found: Any = self.arrays["basin"]
        return found

    @property
    def xi(self) -> FloatArray:
        """CV that was biased, shape (n, d) [CV]; d = 0 in iteration 0."""
        found: Any = self.arrays["xi"]
        return found

    @property
    def lam(self) -> FloatArray:
        """Extended variable, shape (n, d) [CV]."""
        found: Any = self.arrays["lam"]
        return found

    @property
    def n_inverted(self) -> int:
        """Frames with another chirality than the structure."""
        return int(self.arrays["n_inverted"])

    @property
    def n_turned(self) -> int:
        """Frames with another cis-trans state than the structure."""
        return int(self.arrays["n_turned"])

    @property
    def weights(self) -> FloatArray | None:
        """Boltzmann weights that a user gave with the frames, sum 1, shape (n,); None for frames of ours."""
        found: Any = self.arrays.get("weights")
        return found

    @property
    def n_frames(self) -> int:
        return len(self.time_ps)

    @property
    def progress(self) -> FloatArray:
        """Time of each frame as a share of the iteration, in (0, 1], shape (n,)."""
        time_ps = self.time_ps
        return time_ps / time_ps.max()

    @property
    def slow(self) -> tuple[FloatArray, ...]:
        """Series that tell how slowly the walkers mix: membership of each basin, and the CV, each (n,).

        Of a periodic component they are cosine and sine, which know of no jump at the seam.
        """
        basin = self.basin
        members = [(basin == label).astype(float) for label in np.unique(basin[basin >= 0])]
        components: list[FloatArray] = []
        for values, period in zip(self.xi.T, self.component_periods, strict=True):
            angle = 2.0 * np.pi * values / period if period else None
            components += [values] if angle is None else [np.cos(angle), np.sin(angle)]
        return (*members, *components)

    @property
    def component_periods(self) -> tuple[float, ...]:
        """Period of each component of xi, 0 where it has none, shape (d,)."""
        if "periods" not in self.arrays:  # the first format of the store
            return (0.0,) * self.xi.shape[1]
        return tuple(self.arrays["periods"].tolist())

    def save(self, path: Path) -> None:
        """Write samples.npz."""
        write_arrays(path, **self.arrays)

    @classmethod
    def load(cls, path: Path) -> "Samples":
        """Read samples.npz; StoreError when it is missing, damaged or incomplete."""
        return cls(dict(cls.stored(path).arrays))

    @classmethod
    def stored(cls, path: Path) -> "Samples":
        """Those of samples.npz, each array read whenever it is asked for and not kept.

        For the earlier iterations of a pool, whose frames together need not fit into memory.

        Raises:
            StoreError: when the file is missing, damaged or incomplete, now or when it is read.
        """
        return cls(StoredArrays(checked(path), SAMPLES_FORM))


class Observed(Mapping[str, FloatArray]):
    """The observables among the arrays of samples."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> FloatArray:
        found: FloatArray = self._arrays[_OBSERVABLE + name]
        return found

    def __contains__(self, name: object) -> bool:
        return f"{_OBSERVABLE}{name}" in self._arrays

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(_OBSERVABLE) for name in self._arrays if name.startswith(_OBSERVABLE))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Bias(Shown):
    """The extended variable of one iteration and everything that its bias was.

    Attributes:
        extended: coupling and dynamics of lambda.
        ceiling_kj_mol: free energy above which lambda was not pushed.
        increments: per walker, its own samples.
        prior: samples that the bias began with.
        history: totals, the prior included, at moments of the iteration.
        potentials: bias potential of every frozen stage [kJ/mol], shape (n_stages, grid.size).
        stage_edges: shares of the iteration's time where the stages begin, and 1, shape (n_stages + 1,);
            shape (0,) without any.
    """

    extended: ExtendedVariable
    ceiling_kj_mol: float
    increments: tuple[Accumulators, ...]
    prior: Accumulators
    history: History
    potentials: FloatArray
    stage_edges: FloatArray

    @property
    def grid(self) -> Grid:
        return self.extended.grid

    @property
    def total(self) -> Accumulators:
        """What the walkers sampled in this iteration: the sum of their increments."""
        total = Accumulators.zeros(self.grid)
        for increment in self.increments:
            total = total + increment
        return total

    def begin(self, discard: float) -> float:
        """Share of the iteration's time from which on frames have a weight.

        Args:
            discard: that share for a bias that adapts throughout.
        """
        return float(self.stage_edges[0]) if len(self.stage_edges) else discard

    def snapshot(self, progress: float) -> Accumulators:
        """What the bias came from (prior and samples) at the snapshot nearest to a share of the iteration."""
        nearest = np.argmin(np.abs(self.history.shares - progress))
        return Accumulators(grid=self.grid, samples=self.history.samples[nearest])

    def save(self, path: Path) -> None:
        """Write bias.npz."""
        extended = self.extended
        write_arrays(
            path,
            lower=np.array(self.grid.lower),
            upper=np.array(self.grid.upper),
            n_bins=np.array(self.grid.n_bins),
            periodic=np.array(self.grid.periodic),
            kappa=np.array(extended.kappa),
            mass=np.array(extended.mass),
            friction_per_ps=np.array(extended.friction_per_ps),
            kt=np.array(extended.kt),
            timestep_ps=np.array(extended.timestep_ps),
            full_samples=np.array(extended.full_samples),
            ceiling_kj_mol=np.array(self.ceiling_kj_mol),
            increments=np.array([increment.samples for increment in self.increments]),
            prior=self.prior.samples,
            history_shares=self.history.shares,
            history_samples=self.history.samples,
            potentials=self.potentials,
            stage_edges=self.stage_edges,
        )

    @classmethod
    def load(cls, path: Path) -> "Bias":
        """Read bias.npz; StoreError when it is missing, damaged or incomplete."""
        stored = read_arrays(checked(path), BIAS_FORM)
        try:
            fields = {name: stored[name].tolist() for name in ("lower", "upper", "n_bins")}
            if "periodic" in stored:
                fields["periodic"] = stored["periodic"].tolist()
            grid = Grid.from_dict(fields)
            extended = ExtendedVariable(
                grid=grid,
                kappa=tuple(stored["kappa"].tolist()),
                mass=tuple(stored["mass"].tolist()),
                friction_per_ps=float(stored["friction_per_ps"]),
                kt=float(stored["kt"]),
                timestep_ps=float(stored["timestep_ps"]),
                full_samples=int(stored["full_samples"]),
            )
            return cls(
                extended=extended,
                ceiling_kj_mol=float(stored["ceiling_kj_mol"]),
                increments=tuple(Accumulators(grid=grid, samples=item) for item in stored["increments"]),
                prior=Accumulators(grid=grid, samples=stored["prior"]),
                history=History(shares=stored["history_shares"], samples=stored["history_samples"]),
                potentials=stored["potentials"],
                stage_edges=stored["stage_edges"],
            )
        except (AecvError, ValueError, OverflowError) as error:
            raise StoreError(f"{path}: needs the bias of an iteration, got: {first_line(error)}") from error
