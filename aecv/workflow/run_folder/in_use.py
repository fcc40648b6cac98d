"""Whether a process holds a run."""

from pathlib import Path


def is_in_use(run: Path) -> bool:
    """Whether another process works in a run's folder; False where that cannot be told.

    The lock is tried shared and let go at once: it is not made where it is missing, and two that ask do not
    hinder each other.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        return False
    try:
        with open(run / ".lock", "rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(handle, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
