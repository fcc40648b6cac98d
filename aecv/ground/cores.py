"""How many processors this process may use."""

import os


def usable_cores() -> int:
    """Processors that this process may run on, which a queue may have limited."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
