"""Workers for a run: this process alone, processes of this machine, or those of a cluster."""

import re
from contextlib import AbstractContextManager, nullcontext

from aecv.ground.cores import usable_cores
from aecv.ground.errors import SettingsError
from aecv.sampling.processes.workers import ThisProcess, Workers


def open_workers(
    n_walkers: int, *, n_local: int | None = None, address: str | None = None, devices: str = ""
) -> AbstractContextManager[Workers]:
    """Workers for a run; leaving the context ends what was started.

    Args:
        n_walkers: of the run; more processes would have nothing to do.
        n_local: processes here; None for one per usable core. One is this process.
        address: of a Dask scheduler that runs already; see `DaskWorkers`.
        devices: indices of GPUs with commas between them.

    Raises:
        SettingsError: for both n_local and an address, or devices that are no numbers.

    Example:
        >>> import aecv
        >>> with aecv.open_workers(4, n_local=1) as workers:
        ...     outcome = aecv.iterate("ala2", "runs/other", workers=workers)  # doctest: +SKIP
    """
    indices = tuple(part.strip() for part in devices.split(",")) if devices.strip() else ()
    if not all(re.fullmatch(r"\d+", index) for index in indices):
        raise SettingsError(f"--devices: needs indices of GPUs like 0,1, got '{devices}'")
    if address is not None and n_local is not None:
        raise SettingsError("--workers: counts processes here, --dask names those of a cluster; give one")
    n = min(n_walkers, usable_cores() if n_local is None else n_local)
    if address is None and n == 1:
        return nullcontext(ThisProcess(indices))
    from aecv.sampling.processes.dask_workers import DaskWorkers  # Dask takes a second to load

    return DaskWorkers(n, address=address, devices=indices)
