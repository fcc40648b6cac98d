"""Where segments run: in this process, or in others by Dask.

Segments are pure functions of their job, so that neither their number nor the order in which processes finish
them changes a result: results come back in the order of the jobs. A process that dies costs the segments that
it was running, which Dask gives to another one.
"""

import logging
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from aecv.ground.cores import usable_cores
from aecv.ground.errors import SettingsError, SimulationError
from aecv.ground.versions import versions
from aecv.sampling.dynamics import Engine, SegmentJob, SegmentResult
from aecv.sampling.recipe import EngineRecipe
from aecv.sampling.walkers import Executor

if TYPE_CHECKING:
    from distributed import Client, Future

logger = logging.getLogger(__name__)

_LOGGER = "aecv"
PATIENCE_S = 60
"""Longest wait for a cluster's scheduler and for its first worker."""


class Workers(Protocol):
    """Processes that run segments."""

    def executor(self, recipe: EngineRecipe) -> Executor:
        """What runs the jobs of one engine."""
        ...


def open_workers(
    n_walkers: int, *, n_local: int | None = None, address: str | None = None, devices: Sequence[str] = ()
) -> AbstractContextManager["Workers"]:
    """Workers for a run; leaving the context ends what was started.

    Args:
        n_walkers: of the run; more processes would have nothing to do.
        n_local: processes here; None for one per usable core. One is this process.
        address, devices: as in `DaskWorkers`.

    Raises:
        SettingsError: for both n_local and an address.
    """
    if address is not None:
        if n_local is not None:
            raise SettingsError("--workers: counts processes here, --dask names those of a cluster; give one")
        return DaskWorkers(address=address, devices=devices)
    n = min(n_walkers, usable_cores() if n_local is None else n_local)
    return DaskWorkers(n, devices=devices) if n > 1 else nullcontext(ThisProcess())


class ThisProcess:
    """Segments one after the other, in this process."""

    def executor(self, recipe: EngineRecipe) -> Executor:
        """The engine is made at the first job."""
        engines: list[Engine] = []

        def run(jobs: Iterable[SegmentJob]) -> Iterator[SegmentResult]:
            if not engines:
                engines.append(recipe.make())
            return map(engines[0].run, jobs)

        return run


class DaskWorkers(AbstractContextManager["DaskWorkers"]):
    """Segments side by side in processes of Dask: local ones, or those of a cluster that runs already.

    Nothing is started before the first segment. Local processes and their scheduler listen on this machine
    alone.

    Args:
        n_local: processes to start here; ignored with an address.
        address: of a scheduler, such as tcp://host:8786, or its scheduler file; its workers need one thread
            each, the same versions and the same file system.
        devices: indices of GPUs, given to the workers in turn; empty for OpenMM's choice.

    Raises:
        SettingsError: when the scheduler does not answer, or its workers do not fit.
    """

    def __init__(self, n_local: int = 1, *, address: str | None = None, devices: Sequence[str] = ()) -> None:
        self._n_local, self._address, self._devices = n_local, address, tuple(devices)
        self._client: Client | None = None
        self._exit = ExitStack()

    def __exit__(self, *_: object) -> None:
        self._client = None
        self._exit.close()

    def executor(self, recipe: EngineRecipe) -> Executor:
        """Jobs become tasks; what a worker raises is raised here."""
        sent: list[Future] = []

        def run(jobs: Iterable[SegmentJob]) -> list[SegmentResult]:
            client = self._started()
            if not sent:
                # a task and not scattered data: the scheduler can make it again where its worker died
                sent.append(client.submit(_identity, recipe, pure=False))
            tasks = [client.submit(_run_segment, sent[0], job, self._devices, pure=False) for job in jobs]
            return _gathered(client, tasks)

        return run

    def _started(self) -> "Client":
        if self._client is None:
            self._client = self._cluster() if self._address is None else self._joined(self._address)
            self._client.register_worker_callbacks(setup=_speak)
            self._client.forward_logging(_LOGGER, logging.INFO)
        return self._client

    def _cluster(self) -> "Client":
        """Local processes, with a scheduler in this one."""
        import dask
        import distributed

        logger.info("starting %d worker processes", self._n_local)
        # a look at the workers' stacks every 10 ms takes the interpreter from the callback of every MD step
        self._exit.enter_context(dask.config.set({"distributed.worker.profile.enabled": False}))
        cluster = self._exit.enter_context(
            distributed.LocalCluster(
                n_workers=self._n_local,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=0,
                silence_logs=logging.ERROR,
            )
        )
        client: Client = self._exit.enter_context(distributed.Client(cluster))
        client.register_worker_callbacks(setup=_ignore_interrupts)
        return client

    def _joined(self, address: str) -> "Client":
        """A cluster that the user runs."""
        import distributed

        try:
            client: Client = self._exit.enter_context(
                distributed.Client(**_scheduler(address), timeout=PATIENCE_S)
            )
            client.wait_for_workers(1, timeout=PATIENCE_S)
        except (OSError, ValueError, TimeoutError) as error:
            raise SettingsError(
                f"--dask {address}: needs a scheduler with at least one worker that answers within "
                f"{PATIENCE_S} s, got: {error}; start `dask scheduler` and `dask worker {address} "
                "--nthreads 1`, or leave --dask out"
            ) from error
        _check_workers(address, client.nthreads(), client.run(versions))
        logger.info("%s: %d workers", address, len(client.nthreads()))
        return client


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


def _check_workers(
    address: str, threads: dict[str, int], found: dict[str, dict[str, str]], own: dict[str, str] | None = None
) -> None:
    """Refuse workers with several threads, or with other versions than this process."""
    for worker, n_threads in threads.items():
        if n_threads != 1:
            raise SettingsError(
                f"--dask {address}: worker {worker} needs one thread, it has {n_threads}: the random numbers "
                "of OpenMM's Reference platform belong to a process; start it with --nthreads 1"
            )
    own = own or versions()
    for worker, theirs in found.items():
        for name, version in own.items():
            if theirs.get(name) != version:
                raise SettingsError(
                    f"--dask {address}: worker {worker} needs {name} {version} as here, it has "
                    f"{theirs.get(name)}; install the same versions everywhere"
                )


def _gathered(client: "Client", tasks: "list[Future]") -> list[SegmentResult]:
    """Results in the order of the tasks; what is still running is given up when one fails."""
    from distributed import KilledWorker

    try:
        results: list[SegmentResult] = client.gather(tasks)
    except KilledWorker as error:
        client.cancel(tasks)
        raise SimulationError(
            f"workers: a segment was lost with its process {error.allowed_failures + 1} times; look for lack "
            "of memory, or run with --workers 1 to see its error; what was saved before is kept, continue "
            "with --resume"
        ) from error
    except BaseException:
        client.cancel(tasks)
        raise
    return results


_ENGINES: dict[str, Engine] = {}
"""The engine of this worker process, by the key of its recipe."""


def _run_segment(recipe: EngineRecipe, job: SegmentJob, devices: Sequence[str]) -> SegmentResult:
    """What a worker does."""
    if recipe.key not in _ENGINES:
        _ENGINES.clear()  # one context at a time: the last one is not needed any more
        _ENGINES[recipe.key] = recipe.make(_device(devices))
    return _ENGINES[recipe.key].run(job)


def _device(devices: Sequence[str]) -> str | None:
    """The GPU of this worker: workers have numbers where they were started together."""
    if not devices:
        return None
    from distributed import get_worker

    name = str(get_worker().name)
    index = int(name) if name.isdigit() else sum(name.encode())
    return devices[index % len(devices)]


def _speak() -> None:
    """What engines say of themselves is sent to the first process from INFO on."""
    logging.getLogger(_LOGGER).setLevel(logging.INFO)


def _ignore_interrupts() -> None:
    """Ctrl-C goes to all processes of a terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _identity(value: Any) -> Any:
    return value
