"""Does PLUMED work here, and which of its actions? Run as a script, in a process of its own that may crash.

Modules of PLUMED are built in or left out one by one, and some of their actions vanish without a word when a
library was missing. Only asking for an action itself tells. It prints JSON lines; what else stands in the
output is PLUMED's own log, in which it says its version.
"""

import importlib.metadata
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

NETWORK = "NUM_LAYERS=2 NUM_NODES=1,1 ACTIVATIONS=Linear WEIGHTS0=1 BIASES0=0"

TRIALS = {
    "DRR": "x: DRR ARG=d GRID_MIN=0 GRID_MAX=1 GRID_BIN=4 TEMP=300 OUTPUTFREQ=1 OUTPUTPREFIX={folder}/drr",
    "PYTORCH_MODEL": "x: PYTORCH_MODEL FILE={model} ARG=d",
    "ANN": f"x: ANN ARG=d {NETWORK}",
    "EXTERNAL": "x: EXTERNAL ARG=d FILE={folder}/grid.dat",
    "BIASVALUE": "x: BIASVALUE ARG=d",
    "READ": "x: READ FILE={folder}/series.dat VALUES=series.* IGNORE_TIME IGNORE_FORCES",
    "CUSTOM": "x: CUSTOM ARG=d FUNC=x PERIODIC=NO",
    "FIT_TO_TEMPLATE": "FIT_TO_TEMPLATE REFERENCE={folder}/fit.pdb TYPE=OPTIMAL NOPBC",
}
"""One line per action that an engine may ask for; d is a distance."""

GRID = """#! FIELDS d x.bias der_d
#! SET min_d 0
#! SET max_d 1
#! SET nbins_d 2
#! SET periodic_d false
0 0 0
0.5 0 0
1 0 0
"""
SERIES = "#! FIELDS time series.a\n0 0\n"
ATOM = "ATOM  {0:5d}  C   MOL A   1    {1:8.3f}{2:8.3f}{3:8.3f}  1.00  1.00\n"
POSITIONS = ((0.0, 0.0, 0.0), (0.3, 0.1, 0.0), (0.1, 0.3, 0.1), (0.2, 0.1, 0.4))


def say(**fields: Any) -> None:
    """One line, at once: the next one may not come."""
    print(json.dumps(fields), flush=True)


def main() -> None:
    """Try every action, and say what came of it."""
    say(stage="loading OpenMM")
    import openmm

    say(stage="loading openmm-plumed", openmm=openmm.Platform.getOpenMMVersion())
    import openmmplumed

    names = importlib.metadata.packages_distributions().get("openmmplumed", [])
    if names:
        say(binding=importlib.metadata.version(names[0]))
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "grid.dat").write_text(GRID)
        (folder / "series.dat").write_text(SERIES)
        atoms = [ATOM.format(i + 1, *(10 * x for x in xyz)) for i, xyz in enumerate(POSITIONS)]
        (folder / "fit.pdb").write_text("".join([*atoms, "END\n"]))
        for action, line in TRIALS.items():
            say(stage=f"trying {action}")
            line = line.format(folder=folder, model=_model(folder) if action == "PYTORCH_MODEL" else "")
            say(action=action, fault=_fault(openmm, openmmplumed, line))
    say(stage="done")


def _fault(openmm: Any, openmmplumed: Any, line: str) -> str:
    """What PLUMED says against a line; empty when it computes."""
    system = openmm.System()
    for _ in POSITIONS:
        system.addParticle(12.0)
    system.addForce(openmmplumed.PlumedForce(f"d: DISTANCE ATOMS=1,2 NOPBC\n{line}\n"))
    platform = openmm.Platform.getPlatformByName("Reference")
    try:
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        context.setPositions(POSITIONS)
        # openmm-plumed may take step 0 for one it has done
        context.setStepCount(1)
        context.getState(energy=True)
    except Exception as error:  # whatever kind the binding makes of PLUMED's own
        lines = [text.strip() for text in str(error).splitlines() if text.strip()]
        return lines[-1] if lines else type(error).__name__
    return ""


def _model(folder: Path) -> Path:
    """A TorchScript module of one number."""
    import torch

    class Double(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2.0 * x

    path = folder / "double.pt"
    # not scripted: that reads the source, and a script handed over by -c has none
    torch.jit.trace(Double(), torch.zeros(1, 1)).save(str(path))
    return path


if __name__ == "__main__":
    main()
