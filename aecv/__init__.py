"""aecv: collective variables learned by autoencoders, and free energies along them."""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecv.models.cv_files import load_cv

try:
    __version__ = version("aecv")
except PackageNotFoundError:  # used from a checkout that is not installed
    __version__ = "0+unknown"

__all__ = ["__version__", "load_cv"]


def __getattr__(name: str) -> Any:
    """`aecv.load_cv` without paying for its imports in `import aecv`."""
    if name == "load_cv":
        from aecv.models.cv_files import load_cv

        return load_cv
    raise AttributeError(f"module 'aecv' has no attribute '{name}'")
