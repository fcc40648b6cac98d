"""Versions of everything that numbers depend on, read from what is installed; nothing is imported."""

import importlib.metadata
import platform

PACKAGES = ("aecv", "openmm", "torch", "numpy", "scipy", "numba", "mdtraj", "pymbar")


def versions() -> dict[str, str]:
    """Version per package, of Python and of the machine's architecture."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
