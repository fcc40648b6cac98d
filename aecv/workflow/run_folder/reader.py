"""A run that is only read: its settings, its system, and the places in its folder."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from aecv.ground.errors import StoreError, suggestion
from aecv.ground.layers import validate
from aecv.ground.settings import Settings
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import SystemSpec, load_system
from aecv.workflow.run_folder.cv_of_run import load_cv
from aecv.workflow.run_folder.manifest import Manifest, read_manifest
from aecv.workflow.run_folder.stage_records import RESUME
from aecv.workflow.run_folder.store import ALONG, Place, name_of

if TYPE_CHECKING:
    from aecv.sampling.system.molecular_system import MolecularSystem


@dataclass(frozen=True)
class RunReader:
    """A run's folder, whatever it holds so far, by the records that its stages leave at their ends.

    Nothing is written into it.

    Args:
        path: the folder.
        any_format: whether it may be of an older format.

    Raises:
        StoreError: when it holds no run, or one of another format.
    """

    path: Path
    any_format: bool = False

    def __post_init__(self) -> None:
        if not (self.path / "run.json").is_file():
            there = self.path if self.path.is_dir() else self.path.parent
            names = [item.parent.name for item in there.glob("*/run.json")]
            raise StoreError(
                f"{self.path}: needs the folder of a run, with run.json, there is none"
                f"{suggestion(self.path.name, names)}"
            )
        _ = self.manifest

    @cached_property
    def manifest(self) -> Manifest:
        """run.json."""
        return read_manifest(self.path, any_format=self.any_format)

    @cached_property
    def settings(self) -> Settings:
        """What the run was made with."""
        return validate(self.manifest.settings, source=f"{self.path}/run.json")

    def iteration_dir(self, place: Place) -> Path:
        """Folder of an iteration, or of another place by its name."""
        return self.path / name_of(place)

    def is_done(self, place: Place, stage: str) -> bool:
        """Whether a stage was finished."""
        return (self.iteration_dir(place) / f"{stage}.done").is_file()

    @property
    def iterations(self) -> list[int]:
        """Numbers of the finished iterations."""
        names = [path.parent.name for path in self.path.glob("iteration_*/learning.done")]
        numbers = (name.removeprefix("iteration_") for name in names)
        return sorted(int(number) for number in numbers if number.isdecimal())

    @property
    def missing(self) -> tuple[str, ...]:
        """Records of stages that are not there, such as iteration_01/sampling.done, though later ones are."""
        order = [f"{place}/{stage}.done" for place, stage in self._order()]
        is_done = [(self.path / name).is_file() for name in order]
        last = max((k for k, done in enumerate(is_done) if done), default=0)
        return tuple(name for name, done in zip(order[:last], is_done[:last], strict=True) if not done)

    @property
    def gaps(self) -> tuple[str, ...]:
        """A sentence on each of these, with what to do."""
        return tuple(
            f"{name}: is missing, later stages are finished; restore it, or {RESUME}" for name in self.missing
        )

    @property
    def unfinished(self) -> str:
        """The record that the production, or the run along a given CV, still lacks; "" where none does."""
        name = max((path.name for path in self._productions()), default=ALONG)
        begun = (self.path / name).is_dir() and not self.is_done(name, "analysis")
        return f"{name}/analysis.done" if begun else ""

    def _order(self) -> Iterator[tuple[str, str]]:
        """Folder and name of the stages up to the last place that is there, in the order of the work."""
        if (self.path / ALONG).is_dir():
            yield from (("starts", "starts"), (ALONG, "sampling"), (ALONG, "analysis"))
            return
        productions = self._productions()
        names = [path.name for path in (*self.path.glob("iteration_*/"), *productions)]
        numbers = [number for name in names if (number := name.rpartition("_")[2]).isdecimal()]
        yield "iteration_00", "starts"
        for index in range(1 + max(map(int, numbers), default=-1)):
            yield from ((name_of(index), "sampling"), (name_of(index), "learning"))
            # one that is not finished may have been given up for more iterations
            name = f"production_{index:02d}"
            if self.is_done(name, "analysis"):
                yield from ((name, "sampling"), (name, "analysis"))

    def _productions(self) -> list[Path]:
        return list(self.path.glob("production_*/"))

    @property
    def last_place(self) -> Place:
        """Where the best free energies are: the run along a given CV, the production, the last iteration.

        Raises:
            StoreError: when nothing biased is finished.
        """
        if self.is_done(ALONG, "analysis"):
            return ALONG
        numbers = [number for number in self.iterations if number > 0]
        for number in reversed(self.iterations):
            if self.is_done(f"production_{number:02d}", "analysis"):
                return f"production_{number:02d}"
        if not numbers:
            raise StoreError(
                f"{self.path}: needs a finished biased iteration, there is none; continue it with --resume"
            )
        return numbers[-1]

    def cv(self, iteration: int) -> CV:
        """The CV that an iteration learned."""
        return load_cv(self.iteration_dir(iteration))

    def spec(self, system: str | Path | None = None) -> SystemSpec:
        """The system with the run's settings.

        Args:
            system: its name or folder; None for the name that the run tells.

        Raises:
            MolecularSystemError: when it cannot be found.
            StoreError: when its files are not those of the run.
        """
        found = load_system(self.settings.system.name if system is None else system)
        if found.hash != self.manifest.system_hash:
            raise StoreError(
                f"{self.path}: was made with other files of '{self.settings.system.name}' than those in "
                f"{found.directory}; name the folder with the right ones with --system"
            )
        return SystemSpec(settings=self.settings, directory=found.directory, hash=found.hash)

    def system(self, system: str | Path | None = None) -> "MolecularSystem":
        """The system itself; arguments and errors as `spec`."""
        from aecv.sampling.system.molecular_system import build

        return build(self.spec(system))
