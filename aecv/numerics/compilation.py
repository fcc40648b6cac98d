"""How every kernel is compiled."""

import logging
from typing import Any

from numba import njit

logger = logging.getLogger(__name__)

# No "nnan"/"ninf": NaN must survive to be noticed. Contracting and reassociating sums lets loops vectorise.
_OPTIONS: dict[str, Any] = {"fastmath": {"contract", "reassoc", "arcp", "nsz"}, "error_model": "numpy"}


def jit(function):  # type: ignore[no-untyped-def]
    """numba's njit with the compiled code kept on disk; without, where no folder can be written."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:  # "no locator available": a read-only installation without a home
        logger.warning("%s is compiled anew in every process: %s", function.__name__, error)
        return njit(**_OPTIONS)(function)
