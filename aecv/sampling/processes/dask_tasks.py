"""What a worker process of Dask does: make an engine once, then run segments with it.

A recipe comes as bytes, since scheduler and workers read their messages in the loop that keeps them in touch,
and to build a large system takes long.
"""

import logging
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aecv.ground.errors import SettingsError
from aecv.ground.versions import versions

LOGGER = "aecv"

ENGINES_MADE: dict[str, Any] = {}
"""The engine of this process, or what else a recipe made, by the recipe's key."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SentRecipe:
    """A recipe as it travels.

    Attributes:
        key: tells recipes apart.
        pickled: the recipe.
        versions: of the process that sent it; those of the worker have to be the same.
        devices: indices of GPUs that workers take in turn.
    """

    key: str
    pickled: bytes
    versions: Mapping[str, str]
    devices: tuple[str, ...]


def run_job(sent: SentRecipe, job: Any, *, quiet: bool) -> Any:
    """Run one segment, or another job; the engine is made when its recipe comes for the first time.

    Args:
        quiet: whether what the engine says of itself is not wanted: once is enough.

    Raises:
        SettingsError: when this worker has several threads, or other versions. Otherwise as the engine.
    """
    if sent.key not in ENGINES_MADE:
        logging.getLogger(LOGGER).setLevel(logging.WARNING if quiet else logging.INFO)
        _check_this_worker(sent.versions)
        forget_engines()
        ENGINES_MADE[sent.key] = pickle.loads(sent.pickled).make(device_of(sent.devices))
    return ENGINES_MADE[sent.key].run(job)


def run_beside(pickled: bytes, expected: Mapping[str, str]) -> Any:
    """Do some other work of a run.

    Args:
        pickled: a function without arguments.
        expected: versions of the process that sent it.

    Raises:
        SettingsError: as `run_job`. Otherwise as the function.
    """
    _check_this_worker(expected)
    return pickle.loads(pickled)()


def forget_engines() -> None:
    """One context at a time: that of the last stage is not needed any more."""
    ENGINES_MADE.clear()


def _check_this_worker(expected: Mapping[str, str]) -> None:
    from distributed import get_worker

    worker = get_worker()
    check_worker(worker.address, worker.state.nthreads, versions(), expected)


def check_worker(worker: str, n_threads: int, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Refuse a worker with several threads, or with other versions.

    Raises:
        SettingsError: then.
    """
    if n_threads != 1:
        raise SettingsError(
            f"--dask: worker {worker} needs one thread, it has {n_threads}: the random numbers of OpenMM's "
            "Reference platform belong to a process; start it with --nthreads 1"
        )
    for name, version in expected.items():
        if found.get(name) != version:
            raise SettingsError(
                f"--dask: worker {worker} needs {name} {version} as the first process, it has "
                f"{found.get(name)}; install the same versions everywhere"
            )


def device_of(devices: Sequence[str]) -> str | None:
    """The GPU of this worker, whose name is its number.

    Raises:
        SettingsError: when it has another name.
    """
    if not devices:
        return None
    from distributed import get_worker

    name = str(get_worker().name)
    if not name.isdigit():
        raise SettingsError(
            f"--devices: a worker of --dask needs a number as its name to take one of {', '.join(devices)}, "
            f"got '{name}'; start workers with --name 0, --name 1 ..., or set CUDA_VISIBLE_DEVICES for each"
        )
    return devices[int(name) % len(devices)]
