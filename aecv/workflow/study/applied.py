"""A CV on a user's frames: its values, with what else is known of each frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError, SettingsError
from aecv.ground.files import replacing
from aecv.ground.shown import Shown, dataframe
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import SystemSpec
from aecv.molecules.subject import Subject
from aecv.results.formats.colvar import write_colvar
from aecv.workflow.frames.input_frames import Frames, InputFrames, frame_files, read_frames
from aecv.workflow.frames.input_weights import frame_column
from aecv.workflow.given_cv.given import GivenCV
from aecv.workflow.given_cv.same_system import check_same_system
from aecv.workflow.study.subjects import frames_subject

ColourFile: TypeAlias = Path | str | tuple[Path | str, str | int | None]
Colours: TypeAlias = Mapping[str, ColourFile]
"""Name -> file of a number per frame, or file and column."""
_MOST_COMPONENTS = 3
LATENT_MAP = "latent_map.png"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Applied(Shown):
    """xi of frames.

    Attributes:
        cv: what the CV is called.
        system: name of the system.
        xi: shape (n, d).
        times_ps: time stamps, shape (n,) [ps]; NaN where a file has none.
        observables: of the system, name -> shape (n,) [nm or rad].
        colours: further numbers per frame that were asked for, name -> shape (n,).
        weights: not negative, sum 1, shape (n,).
        periodic: names of columns that are angles.
        labels: name -> what a picture calls an observable, with its unit.
        notes: sentences on frames that were left out or are odd.
        least_visits: effective visits under which -ln p of a bin is unknown: free_energy.least_visits.
    """

    cv: str
    system: str
    xi: FloatArray
    times_ps: FloatArray
    observables: dict[str, FloatArray]
    colours: dict[str, FloatArray]
    weights: FloatArray
    periodic: tuple[str, ...]
    labels: dict[str, str]
    notes: tuple[str, ...] = ()
    least_visits: float = 0.0

    @property
    def n_frames(self) -> int:
        return len(self.xi)

    @property
    def columns(self) -> dict[str, FloatArray]:
        """Every column by its name, each of shape (n,): time [ps] (or the frame's number where no file tells
        it), xi_1 ..., observables, colours, weight."""
        is_timed = bool(np.isfinite(self.times_ps).all())
        first = {"time": self.times_ps} if is_timed else {"frame": np.arange(self.n_frames, dtype=float)}
        xi = {f"xi_{component + 1}": values for component, values in enumerate(self.xi.T)}
        return {**first, **xi, **self.observables, **self.colours, "weight": self.weights}

    def write(self, path: Path | str) -> None:
        """Write a COLVAR file of all columns; or, to a name that ends in .npy, xi alone, shape (n, d).

        Raises:
            StoreError: when it cannot be written.
        """
        if Path(path).suffix.lower() == ".npy":
            with replacing(Path(path)) as temporary:
                np.save(temporary, self.xi)
            return
        write_colvar(Path(path), self.columns, periodic=self.periodic)

    def to_dataframe(self) -> Any:
        """A pandas.DataFrame of `columns`, a row per frame.

        Raises:
            MissingPackageError: without pandas.
        """
        return dataframe(self.columns)

    def plot(self) -> Any:
        """A matplotlib Figure: -ln p along the CV, and frames in it coloured by observables, time, weight and
        colours.

        Raises:
            CVError: for more than three components.
        """
        from aecv.results import plots

        if self.xi.shape[1] > _MOST_COMPONENTS:
            raise CVError(
                f"plot: needs up to {_MOST_COMPONENTS} components, {self.cv} has {self.xi.shape[1]}"
            )
        shown = {self.labels.get(name, name): values for name, values in self.observables.items()}
        if np.isfinite(self.times_ps).all():
            shown["time [ps]"] = self.times_ps
        else:
            shown["frame"] = np.arange(self.n_frames, dtype=float)
        if plots.differ(self.weights):
            with np.errstate(divide="ignore"):  # a frame without weight stays grey
                shown["ln(weight / mean)"] = np.log(self.weights * self.n_frames)
        angles = {self.labels.get(name, name): True for name in self.periodic}
        return plots.latent_map(
            self.xi,
            {**shown, **self.colours},
            self.weights,
            periodic=angles,
            title=f"{self.system}, {self.n_frames} frames",
            least_visits=self.least_visits,
        )

    def __repr__(self) -> str:
        columns = list(self.columns)
        return f"Applied {self.cv} to {self.n_frames} frames of {self.system}: {', '.join(columns)}"


def apply(
    cv: CV | str | Path,
    frames: Frames,
    *,
    system: SystemSpec | Subject | str | Path | None = None,
    colours: Colours | None = None,
) -> Applied:
    """xi of every frame of a trajectory, with its time, observables and weight.

    Frames are read and held against the molecule as `train` does it.

    Args:
        cv: a CV, its file or folder, or names of observables of the system with commas between them.
        frames: a trajectory's file, several, an mdtraj.Trajectory, or `FrameFiles` with their topology,
            weights and stride.
        system: whose frames they are, or its name or folder; None for the one that the CV was learned on, or
            the atoms that the topology of the frames names, where aecv has none of that name.
        colours: further numbers per frame from files, found by time as weights are.

    Returns:
        the values, which can be written, drawn, or turned into a table.

    Raises:
        CVError: when the CV is of other atoms, or does not say of which system it is.
        SamplingError: for frames that cannot be read or are of other atoms.

    Example:
        >>> import aecv, mdtraj
        >>> ala2 = aecv.load_system("ala2")
        >>> frames = mdtraj.load(ala2.structure_path)
        >>> found = aecv.apply("phi,psi", frames, system=ala2)
        >>> found.xi.shape
        (1, 2)
        >>> found.write("xi.dat")
    """
    built = frames_subject((cv,), frame_files(frames), system)
    found_cv = cv if isinstance(cv, CV) else GivenCV(what=str(cv))(built)
    return apply_built(found_cv, frames, built, colours=colours)


def apply_built(cv: CV, frames: Frames, system: Subject, *, colours: Colours | None = None) -> Applied:
    """As `apply`, of a CV and a system that are there."""
    system.check_atoms(cv.atom_indices, place=f"engine: {cv.source}")
    check_same_system(cv, system)
    found = read_frames(frames, system, atoms=cv.atom_indices)
    return applied_to(cv, found, system, colours=read_colours(colours or {}, found, system))


def applied_to(cv: CV, found: InputFrames, system: Subject, *, colours: dict[str, FloatArray]) -> Applied:
    """xi of frames in memory, whose positions are those of the CV's atoms."""
    angles = [name for name in system.observables.periodic_names if name in found.observables]
    turns = [f"xi_{c + 1}" for c, period in enumerate(cv.periods) if np.isclose(period, 2 * np.pi)]
    return Applied(
        cv=str(cv.source),
        system=system.spec.name,
        xi=cv.of_some(found.positions, cv.atom_indices),
        times_ps=found.times_ps,
        observables=found.observables,
        colours=colours,
        weights=found.weights,
        periodic=(*angles, *turns),
        labels={name: system.observables.label(name) for name in system.observables.names},
        notes=found.notes,
        least_visits=system.spec.settings.free_energy.least_visits,
    )


def draw_applied(found: Applied, folder: Path) -> None:
    """Draw the frames in the CV, and the CV over the first two observables where there are two."""
    from aecv.results import plots

    plots.save(found.plot(), folder / LATENT_MAP)
    if len(found.observables) < 2:
        return
    first, second, *_ = found.observables
    plots.save(
        plots.observables_coloured_by_cv(
            found.observables[first],
            found.observables[second],
            found.xi,
            names=(found.labels[first], found.labels[second]),
            periodic=(first in found.periodic, second in found.periodic),
        ),
        folder / "observables_by_cv.png",
    )


def colours_of(texts: Sequence[str]) -> dict[str, ColourFile]:
    """Name -> file and column of every `FILE` or `FILE:COLUMN`.

    Raises:
        SettingsError: when two have one name.
    """
    found: dict[str, ColourFile] = {}
    for text in texts:
        name, place = _colour_of(text)
        if name in found:
            raise SettingsError(
                f"--color {text}: '{name}' is the name of another one, too; copy one of the files to another "
                "name, or rename the column in its header"
            )
        found[name] = place
    return found


def _colour_of(text: str) -> tuple[str, ColourFile]:
    """Name, file and column of `FILE` or `FILE:COLUMN`, as a command line has them."""
    path, separator, column = text.rpartition(":")
    if not separator or Path(text).is_file():
        return Path(text).stem, (Path(text), None)
    return column if not column.isdecimal() else f"{Path(path).stem}_{column}", (Path(path), column)


def read_colours(given: Colours, found: InputFrames, system: Subject) -> dict[str, FloatArray]:
    """Numbers of frames from files, name -> shape (n,).

    Raises:
        SettingsError: for a name that another column has.
        SamplingError: when there is not one number per frame.
    """
    read: dict[str, FloatArray] = {}
    for name, place in given.items():
        path, column = place if isinstance(place, tuple) else (place, None)
        taken = ("time", "frame", "weight", *system.observables.names)
        if name in taken or name.startswith("xi_") or len(name.split()) != 1:
            raise SettingsError(
                f"colour '{name}': needs a name of one word that no other column has "
                f"({', '.join(taken)}, xi_1 ...); choose another"
            )
        read[name] = frame_column(
            Path(path), None if column is None else str(column), kept=found.kept, times_ps=found.read_times_ps
        )
    return read
