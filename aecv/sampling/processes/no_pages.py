"""What a scheduler or worker of Dask loads as it starts, so that it shows no pages.

With or without dashboard they offer pages by HTTP (who runs what, logs, health), in plain text to everybody
who reaches the port, also where all else asks for a certificate. For a cluster of one's own:
`dask scheduler --preload aecv.sampling.processes.no_pages`, and the same for `dask worker`.
"""

from typing import Any

SETTINGS = {
    "distributed.scheduler.preload": [__name__],
    "distributed.worker.preload": [__name__],
    # nothing is shown in the moment before the port is closed either
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""The same for processes that are started from Python."""


def dask_setup(server: Any) -> None:
    """Close the port of a scheduler's or worker's pages."""
    server.http_server.stop()
