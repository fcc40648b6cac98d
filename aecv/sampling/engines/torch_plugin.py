"""Loading openmm-torch, and finding out whether it works: in a process of its own, since it may crash.

openmm-torch is compiled C++ that works with the very versions of torch and OpenMM that it was built with.
Beside others it fails to load, raises from inside torch, or ends the process. `python -m` of this module
loads what the engine loads, in the same order, evaluates one force, and says in JSON lines how far it got.
"""

import importlib
import importlib.metadata
import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from aecv.sampling.engines.availability import Availability, json_lines, probe_apart

INSTALL = (
    'pip install ".[torchforce]" in the source folder, into an environment of its own, brings versions that '
    "fit each other"
)
_ENERGY = 14.0
"""x^2 + y^2 + z^2 at (1, 2, 3), the probe's force."""


def load_openmmtorch() -> ModuleType:
    """The package, with its plugins loaded.

    OpenMM loads plugins when it is imported. Those of openmm-torch may need libraries that come with torch,
    so what failed then is tried again after torch.

    Raises:
        ImportError: when it is not installed or cannot be loaded.
    """
    import openmm
    import torch  # noqa: F401

    failures = [text for text in openmm.Platform.getPluginLoadFailures() if "OpenMMTorch" in text]
    for text in failures:
        path = Path(text.removeprefix("Error loading library ").partition(": ")[0])
        if "OpenCL" in path.name or "CUDA" in path.name:
            continue  # as OpenMM's own, they need a graphics driver
        openmm.Platform.loadPluginLibrary(str(path))
    root = logging.getLogger()
    root.addFilter(_is_no_chatter)
    try:
        return importlib.import_module("openmmtorch")
    finally:
        root.removeFilter(_is_no_chatter)


def availability() -> Availability:
    """Whether openmm-torch works here; if not, how far it got and why."""
    here = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    ending = probe_apart(["-m", "aecv.sampling.engines.torch_plugin"], env={**os.environ, "PYTHONPATH": path})
    return judged(ending.output, fault=ending.fault)


def judged(output: str, *, fault: str) -> Availability:
    """What the probe's lines and the way it ended mean."""
    found: dict[str, Any] = {}
    for answer in json_lines(output.splitlines()):
        found |= answer
    versions = ", ".join(
        f"{name} {found[name]}" for name in ("openmm-torch", "torch", "OpenMM") if name in found
    )
    fault = found.get("error", fault)
    if not fault and found.get("energy") != _ENERGY:
        fault = f"the energy of a test force is {found.get('energy')}, not {_ENERGY}"
    if not fault:
        own = {name: found[name] for name in ("openmm-torch",) if name in found}
        return Availability(
            name="torchforce", works=True, reason=f"{versions}, by {found['force']}", versions=own
        )
    if "No module named 'openmmtorch'" in fault:
        return Availability(
            name="torchforce", works=False, reason="openmm-torch is not installed", remedy=INSTALL
        )
    reason = f"{found.get('stage', 'starting Python')} failed: {fault}"
    if "openmm-torch" in found:
        reason = f"{versions} do not fit each other: {reason}"
    return Availability(name="torchforce", works=False, reason=reason, remedy=INSTALL)


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """All but the remark that openmm-torch imports OpenMM by its old name."""
    return "simtk.openmm" not in str(record.msg)


def _say(**fields: Any) -> None:
    """One line, at once: the next one may not come."""
    print(json.dumps(fields), flush=True)


def _probe() -> None:
    """Load the packages and evaluate one force on one particle."""
    _say(stage="loading OpenMM")
    import openmm

    _say(stage="loading torch", OpenMM=openmm.Platform.getOpenMMVersion())
    import torch

    _say(stage="loading openmm-torch", torch=torch.__version__)
    names = importlib.metadata.packages_distributions().get("openmmtorch", [])
    if names:
        _say(**{"openmm-torch": importlib.metadata.version(names[0])})
    openmmtorch = load_openmmtorch()
    has_callback = hasattr(openmmtorch, "PythonTorchForce")
    _say(stage="a test force", force="PythonTorchForce" if has_callback else "TorchForce")
    force = _callback_force(openmmtorch) if has_callback else _script_force(openmmtorch)
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(force)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions([(1.0, 2.0, 3.0)])
    state = context.getState(energy=True, forces=True)
    _say(energy=state.getPotentialEnergy()._value)


def _callback_force(openmmtorch: ModuleType) -> Any:
    return openmmtorch.PythonTorchForce(lambda state, x: ((x * x).sum().detach(), -2.0 * x.detach()))


def _script_force(openmmtorch: ModuleType) -> Any:
    import torch

    class Square(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x * x).sum()

    return openmmtorch.TorchForce(torch.jit.trace(Square(), torch.zeros(1, 3, dtype=torch.float64)))


if __name__ == "__main__":
    try:
        _probe()
    except Exception as error:  # whatever these packages raise is the answer
        _say(error=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        sys.exit(1)
