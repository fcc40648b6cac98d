"""How many processors this process may use."""

import os


def usable_cores() -> int:
    """Processors that the system gives to this process, which a queue or a container may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
