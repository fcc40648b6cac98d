"""aecv: collective variables learned by autoencoders, and free energies along them.

    import aecv

    ala2 = aecv.load_system("ala2", overrides=["sampling.ns=1"])
    outcome = aecv.iterate(ala2, "runs/short")
    cv = aecv.load_cv("runs/short/iteration_09")

The names of `__all__` are the Python API. Each is loaded from its module when it is first asked for, so that
`import aecv` costs nothing.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aecv.ground.errors import AecvError
    from aecv.models.cvs.cv import CV
    from aecv.molecules.spec import load_system
    from aecv.sampling.processes.opening import open_workers
    from aecv.workflow.exporting.export_folder import export
    from aecv.workflow.frames.input_frames import FrameFiles
    from aecv.workflow.frames.input_weights import Weights
    from aecv.workflow.frames.own_topology import read_subject
    from aecv.workflow.loop import iterate
    from aecv.workflow.new_system.checking import examine
    from aecv.workflow.new_system.initialising import initialise
    from aecv.workflow.new_system.sources import Sources
    from aecv.workflow.planning.trial import load_trial
    from aecv.workflow.profiles import free_energy
    from aecv.workflow.run_folder.cv_of_run import load_cv
    from aecv.workflow.sample_along import sample_along
    from aecv.workflow.story.report import write_report
    from aecv.workflow.story.status import status
    from aecv.workflow.study.applied import apply
    from aecv.workflow.study.offline import score, score_in_run, train

try:
    __version__ = version("aecv")
except PackageNotFoundError:  # used from a checkout that is not installed
    __version__ = "0+unknown"

# A type checker reads the imports above, and wants __all__ in full; a test holds all three together.
_HOMES = {
    "initialise": "aecv.workflow.new_system.initialising",
    "Sources": "aecv.workflow.new_system.sources",
    "load_system": "aecv.molecules.spec",
    "load_trial": "aecv.workflow.planning.trial",
    "examine": "aecv.workflow.new_system.checking",
    "iterate": "aecv.workflow.loop",
    "sample_along": "aecv.workflow.sample_along",
    "open_workers": "aecv.sampling.processes.opening",
    "FrameFiles": "aecv.workflow.frames.input_frames",
    "Weights": "aecv.workflow.frames.input_weights",
    "read_subject": "aecv.workflow.frames.own_topology",
    "train": "aecv.workflow.study.offline",
    "apply": "aecv.workflow.study.applied",
    "load_cv": "aecv.workflow.run_folder.cv_of_run",
    "CV": "aecv.models.cvs.cv",
    "score": "aecv.workflow.study.offline",
    "score_in_run": "aecv.workflow.study.offline",
    "free_energy": "aecv.workflow.profiles",
    "status": "aecv.workflow.story.status",
    "export": "aecv.workflow.exporting.export_folder",
    "write_report": "aecv.workflow.story.report",
    "AecvError": "aecv.ground.errors",
}
"""Where each name of the API lives."""

__all__ = [
    "CV",
    "AecvError",
    "FrameFiles",
    "Sources",
    "Weights",
    "__version__",
    "apply",
    "examine",
    "export",
    "free_energy",
    "initialise",
    "iterate",
    "load_cv",
    "load_system",
    "load_trial",
    "open_workers",
    "read_subject",
    "sample_along",
    "score",
    "score_in_run",
    "status",
    "train",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """A name of the API, from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module 'aecv' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
