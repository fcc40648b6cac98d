"""Where segments run: in this process, or in others by Dask.

Segments are pure functions of their job, so that neither their number nor the order in which processes finish
them changes a result: results come back in the order of the jobs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from aecv.sampling.dynamics.jobs import Engine, SegmentJob, SegmentResult
from aecv.sampling.dynamics.walkers import Executor
from aecv.sampling.processes.recipe import EngineRecipe

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Job = TypeVar("Job")
Result = TypeVar("Result")
Job_contra = TypeVar("Job_contra", contravariant=True)


class Runs(Protocol[Job_contra, T_co]):
    """Does jobs of one kind."""

    def run(self, job: Job_contra) -> T_co:
        """What a job gives; a pure function of it."""
        ...


class Recipe(Protocol[Job_contra, T_co]):
    """How a process makes what runs jobs; can be pickled.

    Attributes:
        key: tells recipes apart, so that a process makes each one once.
    """

    @property
    def key(self) -> str: ...

    def make(self, device: str | None = None) -> Runs[Job_contra, T_co]:
        """What runs jobs, on the GPU of an index where one is given."""
        ...


class Later(AbstractContextManager["Later[T_co]"], Protocol[T_co]):
    """Work that may be needed; leaving the context gives it up."""

    def result(self) -> T_co:
        """What the work gives, waited for; or what it raises."""
        ...


class Workers(Protocol):
    """Processes that run segments.

    Attributes:
        devices: indices of the GPUs that they take in turn, the first one in this process; empty for
            OpenMM's choice.
        n_processes: of this machine; None where others work, too.
    """

    @property
    def devices(self) -> tuple[str, ...]: ...

    @property
    def n_processes(self) -> int | None: ...

    def count(self) -> int:
        """Processes that there are now, those of other machines, too."""
        ...

    def executor(self, recipe: EngineRecipe) -> Executor:
        """What runs the jobs of one engine."""
        ...

    def spread(self, recipe: Recipe[Job, Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Results of independent jobs in their order, each as soon as it is there."""
        ...

    def begin(self, work: Callable[[], T]) -> Later[T]:
        """Work that another process can do beside this one, where there is one that is free."""
        ...


class ThisProcess:
    """Segments one after the other, in this process.

    Args:
        devices: index of a GPU; empty for OpenMM's choice.
    """

    def __init__(self, devices: Sequence[str] = ()) -> None:
        self.devices = tuple(devices)
        self.n_processes: int | None = 1

    def count(self) -> int:
        """This one."""
        return 1

    def executor(self, recipe: EngineRecipe) -> Executor:
        """The engine is made at the first job."""
        engines: list[Engine] = []

        def run(jobs: Iterable[SegmentJob]) -> Iterator[SegmentResult]:
            if not engines:
                engines.append(recipe.make())
            return map(engines[0].run, jobs)

        return run

    def spread(self, recipe: Recipe[Job, Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """One job after the other."""
        return map(recipe.make().run, jobs)

    def begin(self, work: Callable[[], T]) -> Later[T]:
        """Nothing is done before the result is asked for."""
        return _Here(work)


class _Here(Later[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work

    def __exit__(self, *_: object) -> None:
        pass

    def result(self) -> T:
        return self._work()
