"""Which PLUMED stands behind openmm-plumed here, what it can do, and what mends it where it cannot."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aecv.sampling.engines import plumed_probe
from aecv.sampling.engines.availability import Availability, Ending, json_lines, probe_apart

logger = logging.getLogger(__name__)

INSTALL = "conda install -c conda-forge openmm-plumed plumed"
"""What brings a package; whether its PLUMED has the modules, only the probe tells."""

MODULES = {
    "DRR": "module drr, which is left out without a word where Boost's serialization was missing",
    "PYTORCH_MODEL": "module pytorch, which needs libtorch",
    "ANN": "module annfunc",
}
NEEDED = ("DRR", "READ", "CUSTOM", "BIASVALUE", "EXTERNAL", "FIT_TO_TEMPLATE")
"""Actions without which the engine cannot run."""
OF_NETWORKS = ("PYTORCH_MODEL", "ANN")
"""Actions for learned CVs: another program's TorchScript needs the first; the second is fast."""
OLDEST = (2, 7)
"""DRR has REFLECTINGWALL from 2.7 on; lambda would leave a grid that ends without it."""


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """What the probe found.

    Attributes:
        openmm, version: of OpenMM and PLUMED; empty where it did not get so far.
        actions: those that computed.
        faults: what PLUMED said against the others, per action.
        broken: why nothing can be said, in words; empty where the probe came to its end.
        binding: version of openmm-plumed; empty where nothing tells it.
    """

    openmm: str
    version: str
    actions: frozenset[str]
    faults: dict[str, str]
    broken: str
    binding: str = ""

    @property
    def availability(self) -> Availability:
        """The engine as a whole."""
        if self.broken:
            return _fails(self.broken, f"install it with: {INSTALL}")
        if self._is_old:
            oldest = ".".join(map(str, OLDEST))
            return _fails(
                f"PLUMED {self.version} is too old, its DRR needs reflecting walls, from {oldest} on",
                f"install a newer one with: {INSTALL}",
            )
        if missing := [action for action in NEEDED if action not in self.actions]:
            lacks = "; ".join(f"{action} ({self.why(action)})" for action in missing)
            return _fails(f"PLUMED {self.version} does not have or cannot run {lacks}", self.remedy)
        absent = [action for action in OF_NETWORKS if action not in self.actions]
        without = f", without {', '.join(absent)}" if absent else ""
        reason = f"PLUMED {self.version} in OpenMM {self.openmm}, with DRR{without}"
        return Availability(name="plumed", works=True, reason=reason, versions=self.versions)

    @property
    def versions(self) -> dict[str, str]:
        """Of PLUMED and, where it was installed with its metadata, openmm-plumed."""
        binding = {"openmm-plumed": self.binding} if self.binding else {}
        return {"PLUMED": self.version, **binding}

    @property
    def remedy(self) -> str:
        """What brings an action that is missing."""
        return (
            "these are options of PLUMED's configure (--enable-modules=drr:pytorch:annfunc "
            f"--enable-boost_serialization --enable-libtorch); try the newest build: {INSTALL}"
        )

    @property
    def _is_old(self) -> bool:
        found = re.match(r"(\d+)\.(\d+)", self.version)
        return found is not None and (int(found[1]), int(found[2])) < OLDEST

    def why(self, action: str) -> str:
        """What an action needs, and what PLUMED said against it."""
        said = self.faults.get(action, "")
        module = MODULES.get(action, "")
        return "; ".join(part for part in (module, f"PLUMED says: {said}" if said else "") if part)


@cache
def probe_kernel() -> Kernel:
    """Ask the PLUMED of this Python, once, in a process of its own."""
    ending = probe_apart(["-c", Path(plumed_probe.__file__).read_text(encoding="utf-8")])
    logger.debug("PLUMED's answers:\n%s\n%s", ending.output, ending.errors)
    return interpret(ending)


def interpret(ending: Ending) -> Kernel:
    """What the output of the probe says; PLUMED's log is among it."""
    lines = ending.output.splitlines()
    answers = json_lines(lines)
    faults = {answer["action"]: answer["fault"] for answer in answers if "action" in answer}
    stages = [answer["stage"] for answer in answers if "stage" in answer]
    versions = [found[1] for line in lines if (found := re.search(r"PLUMED:? *Version: (\S+)", line))]
    return Kernel(
        openmm=next((answer["openmm"] for answer in answers if "openmm" in answer), ""),
        version=versions[0] if versions else "of an unknown version",
        actions=frozenset(action for action, fault in faults.items() if not fault),
        faults={action: fault for action, fault in faults.items() if fault},
        broken="" if stages[-1:] == ["done"] else _broken(stages, ending.fault),
        binding=next((answer["binding"] for answer in answers if "binding" in answer), ""),
    )


def _broken(stages: Sequence[str], fault: str) -> str:
    """Why the probe did not come to its end."""
    stage = stages[-1] if stages else "starting Python"
    if "No module named 'openmmplumed'" in fault:
        return "the package openmm-plumed is not installed"
    why = "; OpenMM, PLUMED and libtorch of different builds do that" if "crashed" in fault else ""
    return f"{stage} failed: {fault or 'it ended early'}{why}"


def _fails(reason: str, remedy: str) -> Availability:
    return Availability(name="plumed", works=False, reason=reason, remedy=remedy)
