"""How every kernel is compiled, and where its machine code is kept.

numba compiles anew when the file of a function has changed, but not when that of a function which it calls
has: an edited kernel would go on running as it was inside those that call it. The folder of the compiled code
is therefore named after the contents of all files of this package.
"""

import hashlib
import logging
import os
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import njit

logger = logging.getLogger(__name__)
_config: Any = numba.config

# No "nnan"/"ninf": NaN must survive to be noticed. Contracting and reassociating sums lets loops vectorise.
_OPTIONS: dict[str, Any] = {"fastmath": {"contract", "reassoc", "arcp", "nsz"}, "error_model": "numpy"}


def jit(function):  # type: ignore[no-untyped-def]
    """numba's njit with the compiled code kept on disk; without, where no folder can be written."""
    before = _config.CACHE_DIR
    _config.CACHE_DIR = str(cache_folder())  # numba asks for it here, and no more
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:  # "no locator available": a read-only installation without a home
        logger.warning("%s is compiled anew in every process: %s", function.__name__, error)
        return njit(**_OPTIONS)(function)
    finally:
        _config.CACHE_DIR = before


@cache
def cache_folder() -> Path:
    """Where compiled kernels are kept: in NUMBA_CACHE_DIR, beside the package, or in the user's cache."""
    here = Path(__file__).parents[1]
    return cache_base(here) / f"aecv-{_fingerprint(here)}"


def _fingerprint(folder: Path) -> str:
    """Of all Python files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def cache_base(here: Path) -> Path:
    """Folder that can be written: the one that numba is given, beside a package, or the user's."""
    beside = here / "__pycache__"
    if _config.CACHE_DIR:
        return Path(_config.CACHE_DIR)
    if os.access(beside if beside.is_dir() else here, os.W_OK):
        return beside
    return Path(os.path.expanduser("~")) / ".cache" / "numba"
