"""Segments side by side in processes of Dask, as the process that asks for them sees it."""

import gc
import logging
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import cloudpickle

from aecv.ground.errors import SettingsError, SimulationError, first_line
from aecv.ground.signals import handled
from aecv.ground.versions import versions
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentResult
from aecv.sampling.dynamics.walkers import Executor
from aecv.sampling.processes import no_pages
from aecv.sampling.processes.dask_tasks import (
    LOGGER,
    SentRecipe,
    check_worker,
    forget_engines,
    run_beside,
    run_job,
)
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.processes.workers import Job, Later, Recipe, Result

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

logger = logging.getLogger(__name__)
T = TypeVar("T")

PATIENCE_S = 60
"""Longest wait for a cluster's scheduler and for its first worker, and between warnings that none is left."""
_LOCAL_SETTINGS = {
    # a look at the workers' stacks every 10 ms takes the interpreter from the callback of every MD step
    "distributed.worker.profile.enabled": False,
    # Dask lets glibc give every free page back at once, and each step of a training fetches them anew
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**26,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
    # what `begin` sends is meant to travel
    "distributed.admin.large-graph-warning-threshold": "1GB",
    **no_pages.SETTINGS,
}
_GO_ON = "what was saved before is kept, continue with --resume"


class DaskWorkers(AbstractContextManager["DaskWorkers"]):
    """Segments side by side in processes of Dask: local ones, or those of a cluster that runs already.

    Nothing is started before there is work. Local processes and their scheduler listen on this machine
    alone, talk to nobody without the certificate that this object makes, and show no pages. A process that
    dies costs the segments that it was running, which another one gets. In a script, what uses this belongs
    under `if __name__ == "__main__":`, since new processes import the script.

    Args:
        n_local: processes to start here; ignored with an address.
        address: of a scheduler, such as tcp://host:8786, or its scheduler file; its workers need one thread
            each, the same versions and the same file system.
        devices: indices of GPUs, given to the workers in turn; empty for OpenMM's choice.

    Raises:
        SettingsError: when the scheduler does not answer, or its workers do not fit.
    """

    def __init__(self, n_local: int = 1, *, address: str | None = None, devices: Sequence[str] = ()) -> None:
        self.devices = tuple(devices)
        self._n_local, self._address = n_local, address
        self.n_processes = n_local if address is None else None
        self._client: Client | None = None
        self._local: LocalCluster | None = None
        self._exit = ExitStack()

    def __exit__(self, *_: object) -> None:
        self._client = self._local = None
        self._exit.close()

    def count(self) -> int:
        """Local processes, which need not run yet, or those of a cluster, which this joins."""
        return self._n_local if self._address is None else len(self.client().nthreads())

    def executor(self, recipe: EngineRecipe) -> Executor:
        """Jobs become tasks; what a worker raises is raised here."""
        sent: list[Future] = []

        def run(jobs: Iterable[SegmentJob]) -> list[SegmentResult]:
            """Results in the order of the jobs."""
            client = self.client()
            if not sent:
                sent.append(self._send(client, recipe))
            with _cancelled_on_error(client, self._submit(client, sent[0], jobs)) as tasks:
                return _gathered(client, tasks)

        return run

    def spread(self, recipe: Recipe[Job, Result], jobs: Sequence[Job]) -> Iterator[Result]:
        """Jobs become tasks; results come one by one."""
        client = self.client()
        with _cancelled_on_error(client, self._submit(client, self._send(client, recipe), jobs)) as tasks:
            for task in tasks:
                yield _gathered(client, [task])[0]

    def _send(self, client: "Client", recipe: Recipe[Any, Any]) -> "Future":
        """A recipe on its way to the processes that will need it."""
        parcel = SentRecipe(
            key=recipe.key, pickled=cloudpickle.dumps(recipe), versions=versions(), devices=self.devices
        )
        # a task and not scattered data: the scheduler can make it again where its worker died
        return client.submit(_identity, parcel, pure=False)

    def _submit(self, client: "Client", sent: "Future", jobs: Iterable[Any]) -> "list[Future]":
        """A task for every job."""
        places = self._places()
        tasks = []
        for index, job in enumerate(jobs):
            place = [places[index % len(places)]] if places else None
            tasks.append(
                client.submit(
                    run_job,
                    sent,
                    job,
                    quiet=index > 0,
                    pure=False,
                    workers=place,
                    allow_other_workers=place is not None,
                )
            )
        return tasks

    def begin(self, work: Callable[[], T]) -> Later[T]:
        """A task for the first process that is free."""
        client = self.client()
        return _Task(client, client.submit(run_beside, cloudpickle.dumps(work), versions(), pure=False))

    def _places(self) -> list[str]:
        """Local processes, which the walkers prefer in turn: Dask alone often gives three of four to one.

        Walkers are alike, and so are these processes; of those of a cluster nothing is known, hence none.
        """
        scheduler = None if self._local is None else self._local.scheduler
        return [] if scheduler is None else sorted(scheduler.workers)

    def client(self) -> "Client":
        """Dask's client of these processes; starts or joins them where that has not been done."""
        if self._client is None:
            # a client that failed before closes itself when it is collected; while the next one starts it
            # would wait for ever for a lock that the start holds (distributed 2026.8)
            gc.collect()
            self._client = self._cluster() if self._address is None else self._joined(self._address)
            self._client.forward_logging(LOGGER, logging.INFO)
        return self._client

    def _cluster(self) -> "Client":
        """Local processes, with a scheduler in this one."""
        import dask
        import distributed

        logger.info("starting %d worker processes", self._n_local)
        self._exit.enter_context(dask.config.set(_LOCAL_SETTINGS))
        try:
            # the new processes inherit it: Ctrl-C in a terminal goes to all, and the first one ends them
            with handled(signal.SIGINT, signal.SIG_IGN):
                cluster = self._exit.enter_context(
                    distributed.LocalCluster(
                        n_workers=self._n_local,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        security=True,
                        dashboard_address="127.0.0.1:0",  # of nothing; a fixed one may be taken
                        scheduler_kwargs={"dashboard": False},
                        memory_limit=0,
                        silence_logs=logging.CRITICAL,  # what a worker raises is raised here, in one line
                    )
                )
        except RuntimeError as error:
            raise SettingsError(
                f"--workers: {self._n_local} processes need to be started, got: {first_line(error)}; in a "
                'script put what starts them under `if __name__ == "__main__":`, or give one process'
            ) from error
        self._local = cluster
        client: Client = self._exit.enter_context(distributed.Client(cluster))
        client.register_worker_callbacks(setup=_ignore_interrupts)  # those that take the place of dead ones
        return client

    def _joined(self, address: str) -> "Client":
        """A cluster that the user runs."""
        import distributed

        try:
            client: Client = self._exit.enter_context(
                distributed.Client(**_scheduler(address), timeout=PATIENCE_S)
            )
            client.wait_for_workers(1, timeout=PATIENCE_S)
            threads, found = client.nthreads(), client.run(versions)
        except (OSError, ValueError, TimeoutError) as error:
            raise SettingsError(
                f"--dask {address}: needs a scheduler with at least one worker that answers within "
                f"{PATIENCE_S} s, got: {error}; start `dask scheduler` and `dask worker --nthreads 1` as "
                "docs/cluster.md tells, or leave --dask out"
            ) from error
        except ImportError as error:
            raise SettingsError(
                f"--dask {address}: its workers need aecv, got: {error}; install the same versions everywhere"
            ) from error
        for worker, theirs in found.items():
            check_worker(worker, threads.get(worker, 1), theirs, versions())
        self._exit.callback(_leave, client)
        logger.info("%s: %d workers", address, len(threads))
        return client


@contextmanager
def _cancelled_on_error(client: "Client", tasks: "list[Future]") -> "Iterator[list[Future]]":
    """The tasks; an error, or that nobody wants the rest, gives them up."""
    try:
        yield tasks
    except BaseException:
        with suppress(Exception):  # the connection may be gone, and the first error counts
            client.cancel(tasks)
        raise


class _Task(Later[T]):
    def __init__(self, client: "Client", task: "Future") -> None:
        self._client, self._task = client, task

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # the connection may be gone, and nobody waits for it
            self._client.cancel([self._task])

    def result(self) -> T:
        result: T = _gathered(self._client, [self._task])[0]
        return result


def _gathered(client: "Client", tasks: "list[Future]") -> list[Any]:
    """Results in the order of the tasks.

    Raises:
        SimulationError: when tasks are lost with their processes, or the scheduler is.
    """
    from distributed import KilledWorker, wait

    try:
        while True:
            try:
                wait(tasks, timeout=PATIENCE_S)
                break
            except TimeoutError:
                if not client.nthreads():
                    logger.warning("workers: none is left; waiting for one to join the scheduler")
        results: list[Any] = client.gather(tasks)
    except KilledWorker as error:
        raise SimulationError(
            f"workers: a task was lost with its process {error.allowed_failures + 1} times; look for lack "
            f"of memory, or run with --workers 1 to see its error; {_GO_ON}"
        ) from error
    except _lost() as error:
        raise SimulationError(f"workers: the scheduler is lost ({first_line(error)}); {_GO_ON}") from error
    return results


def _lost() -> tuple[type[BaseException], ...]:
    """What Dask raises when the connection to the scheduler is gone."""
    from distributed.comm.core import CommClosedError

    return CancelledError, CommClosedError


def _scheduler(address: str) -> dict[str, str]:
    """Where a client finds its scheduler; a file may be about to be written.

    Raises:
        TimeoutError: when there is none within PATIENCE_S.
    """
    if not address.endswith(".json"):
        return {"address": address}
    deadline = time.monotonic() + PATIENCE_S
    while not Path(address).is_file():  # distributed itself would wait for ever
        if time.monotonic() > deadline:
            raise TimeoutError("no such file")
        time.sleep(0.1)
    return {"scheduler_file": address}


def _leave(client: "Client") -> None:
    """Take away what a run has left on the workers of others, as far as they still answer."""
    with suppress(Exception):
        client.unforward_logging(LOGGER)
        client.run(forget_engines)


def _ignore_interrupts() -> None:
    """As those that are started with the others; see `_cluster`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _identity(value: Any) -> Any:
    return value
