"""From the name of an engine (sampling.engine) to the engine.

An engine is a module of this folder. It holds a class with the constructor of `NativeEngine`, and a function
`availability()` that says whether it works here, and `check_cv(cv)` that refuses the kinds of CV it cannot
run. Modules are imported when they are asked for: most need packages that a user may not have.
"""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SettingsError, suggestion
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.sampling.dynamics.jobs import Engine
from aecv.sampling.engines.availability import Availability
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.sampling.system.platforms import PlatformChoice

_CLASSES = {"native": "NativeEngine", "plumed": "PlumedEngine", "torchforce": "TorchForceEngine"}
"""Class of each engine; its module has the engine's own name."""
_PACKAGE = "aecv.sampling.engines"


def engine_names() -> tuple[str, ...]:
    """The engines that this aecv has, whether they work here or not."""
    return tuple(_CLASSES)


def availability(name: str) -> Availability:
    """Probe one engine; takes seconds for those that need a process of their own.

    Raises:
        SettingsError: when there is no such engine.
    """
    found: Availability = _module(name).availability()
    return found


def require_engine(name: str) -> Mapping[str, str]:
    """Refuse an engine that does not work here, before any work is done for it.

    Returns:
        versions of the packages that it needs beside those of every run.

    Raises:
        SettingsError: with what is missing and what mends it.
    """
    found = availability(name)
    if not found.works:
        raise SettingsError(f"sampling.engine: {found}, or choose another engine (--engine native)")
    return found.versions


def check_cv(name: str, cv: CV) -> None:
    """Refuse a CV of a kind that an engine cannot run, before any work is done for it.

    Args:
        name: an engine that works here; see `require_engine`.
        cv: its range may be unknown yet.

    Raises:
        CVError: with the kind and what to do. SettingsError: when there is no such engine.
    """
    _module(name).check_cv(cv)


def make_biased_engine(
    name: str,
    system: MolecularSystem,
    cv: CV,
    extended: ExtendedVariable,
    *,
    platform: PlatformChoice,
    probe: FloatArray,
) -> Engine:
    """An engine of extended ABF; for the arguments and errors see `NativeEngine`.

    Raises:
        SettingsError: when there is no engine of that name.
    """
    make: Any = getattr(_module(name), _CLASSES[name])
    engine: Engine = make(system, cv, extended, platform=platform, probe=probe)
    return engine


def _module(name: str) -> ModuleType:
    known = engine_names()
    if name not in known:
        raise SettingsError(
            f"sampling.engine: needs one of {', '.join(known)}, got '{name}'{suggestion(name, known)}"
        )
    return importlib.import_module(f"{_PACKAGE}.{name}")
