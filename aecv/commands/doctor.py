"""`aecv doctor`: versions, platforms and engines on one screen, for a person and for a bug report.

Nothing in it names the user or the machine: paths lose the home folder, and only kinds of hardware are said.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aecv.commands.command import EXIT_ERROR, Command, say
from aecv.commands.options import ENGINES
from aecv.ground.cores import usable_cores
from aecv.ground.versions import versions

if TYPE_CHECKING:
    from aecv.sampling.engines.trial import Trial

WIDTH = 12
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENMM_CPU_THREADS")


@click.command(cls=Command)
def main() -> None:
    """What works on this machine, in one screen to paste into a bug report.

    Every platform of OpenMM takes some steps of a few atoms, and the native engine some of extended ABF,
    each in a process of its own; the first time kernels are compiled. Exit code 0 when the native engine
    works.
    """
    for name, text in (*_installed(), *_machine()):
        _line(name, text)
    works = True
    for section, trial in _trials():
        _line(section, f"{trial.name}: {'works' if trial.problem is None else 'DOES NOT WORK'}", nl=False)
        say(f", {without_home(trial.problem or trial.note)}" if trial.problem or trial.note else "")
        works = works and (section != "engine" or trial.name != "native" or trial.problem is None)
    if not works:
        say(
            "the native engine does not work here: mend what is said above, or reinstall with "
            "python -m pip install --force-reinstall . in the source folder"
        )
        click.get_current_context().exit(EXIT_ERROR)


def _line(name: str, text: str, *, nl: bool = True) -> None:
    say(f"{name:<{WIDTH}}{text}", nl=nl)


def _installed() -> Iterator[tuple[str, str]]:
    """Versions of aecv and what it stands on, two lines."""
    found = versions()
    found.pop("machine")
    yield "aecv", f"{found.pop('aecv')}, Python {found.pop('python')} ({platform.python_implementation()})"
    yield "packages", ", ".join(f"{name} {version}" for name, version in found.items())


def _machine() -> Iterator[tuple[str, str]]:
    """The operating system, processors, threads, and where files can be written."""
    yield "system", f"{platform.platform()}, {sys.platform}"
    yield "processors", f"{os.cpu_count()}, {usable_cores()} usable"
    given = [f"{name}={os.environ[name]}" for name in _THREADS if name in os.environ]
    yield "threads", f"{', '.join(given) or 'no variable set'}; a run computes on one"
    free = shutil.disk_usage(".").free / 1e9
    yield "folder", f"{free:.0f} GB free here; {_writable(Path('.'))}"
    yield "numba cache", _numba_cache()


def _writable(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return "writable"
    except OSError as error:
        return f"NOT WRITABLE ({error.strerror}): work in another folder"


def _numba_cache() -> str:
    """Where compiled kernels are kept: what numba tries, in its order."""
    beside = Path(__file__).parents[1] / "numerics" / "__pycache__"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        place, what = Path(given), "NUMBA_CACHE_DIR"
    elif os.access(beside if beside.is_dir() else beside.parent, os.W_OK):
        place, what = beside, "beside the package"
    else:
        place, what = Path.home() / ".cache" / "numba", "the user's cache"
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        return f"{what}, NOT WRITABLE: kernels are compiled anew in every process; set NUMBA_CACHE_DIR"
    return f"{what}, writable"


def _trials() -> Iterator[tuple[str, "Trial"]]:
    """Sections and trials, in turn: platforms, then engines."""
    try:
        from aecv.sampling.engines import trial
    except ImportError as error:
        say(f"{'OpenMM':<{WIDTH}}DOES NOT WORK, {without_home(str(error))}")
        say(f"{'':<{WIDTH}}install it: python -m pip install openmm")
        click.get_current_context().exit(EXIT_ERROR)
    for name in trial.platform_names():
        yield "platform", trial.try_apart(name, partial(trial.try_platform, name))
    for library, reason in trial.plugin_failures().items():
        yield "plugin", trial.Trial(library, f"{reason} (no harm on a machine without such a device)", "")
    for name in ENGINES:
        # the others make a process for their probe themselves
        apart = trial.try_apart if name == "native" else trial.try_here
        yield "engine", apart(name, partial(trial.try_engine, name))


def without_home(text: str) -> str:
    """A text in which the home folder is ~, for others' eyes."""
    home = str(Path.home())
    return text if home == "/" else text.replace(home, "~")
