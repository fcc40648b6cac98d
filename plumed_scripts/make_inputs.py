"""Write the inputs of this folder anew: from the CVs that lie in it, or from those of runs.

python plumed_scripts/make_inputs.py
python plumed_scripts/make_inputs.py ala2=runs/ala2 mueller_brown=runs/mueller_brown
"""

import shutil
import sys
from pathlib import Path

from aecv.workflow.exporting.export_folder import export
from aecv.workflow.exporting.export_source import find_source

HERE = Path(__file__).resolve().parent
INPUTS = {
    "ala2": {
        "pytorch": {"form": "pytorch"},
        "ann": {"form": "ann"},
        "plain": {"form": "plain"},
    },
    "mueller_brown": {
        "ann": {"form": "ann"},
        "plain_metad": {"form": "plain", "bias": "metad"},
    },
}
"""Per system the folders and what is exported into them."""


def write_inputs(system: str, out: Path) -> None:
    """Export the CV in this folder's subfolder of a system, once per kind of input."""
    for name, options in INPUTS[system].items():
        export(HERE / system, out / name, **options)


def main(arguments: list[str]) -> None:
    for argument in arguments:
        system, _, run = argument.partition("=")
        cv = Path(find_source(run).cv.source)
        for suffix in (".npz", ".json"):
            shutil.copyfile(cv.with_suffix(suffix), HERE / system / f"cv{suffix}")
    for system, folders in INPUTS.items():
        for name in folders:
            shutil.rmtree(HERE / system / name, ignore_errors=True)
        write_inputs(system, HERE / system)


if __name__ == "__main__":
    main(sys.argv[1:])
