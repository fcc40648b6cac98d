"""`aecv export`: the CV of a run as an input for PLUMED or Colvars."""

from pathlib import Path
from typing import Any

import click

from aecv.commands.command import Command, say
from aecv.results.exports.targets import TARGETS


@click.command(cls=Command)
@click.argument("run_or_cv", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Choice(list(TARGETS)),
    default="plumed",
    show_default=True,
    help="The program that reads the input.",
)
@click.option(
    "--form",
    type=click.Choice(["pytorch", "ann", "plain"]),
    default="pytorch",
    show_default=True,
    help="PYTORCH_MODEL (libtorch); the weights in the input for ANN; only actions of every PLUMED "
    "(not for Colvars).",
)
@click.option(
    "--bias",
    type=click.Choice(["drr", "metad", "opes", "none"]),
    default="drr",
    show_default=True,
    help="Extended ABF, well-tempered metadynamics, OPES, or none; Colvars takes drr or none.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.  [default: TARGET_FORM]")
@click.option("--system", help="The CV's system, where RUN_OR_CV does not say it: a name or a folder.")
@click.option(
    "--length",
    type=click.Choice(["nm", "angstrom"]),
    default="nm",
    show_default=True,
    help="Colvars: the engine's unit of length (GROMACS nm; NAMD, LAMMPS angstrom).",
)
def main(run_or_cv: Path, out: Path | None, **options: Any) -> None:
    """Write the CV of RUN_OR_CV and a bias along it as a folder that PLUMED or Colvars runs.

    RUN_OR_CV is a run (its last CV), an iteration, or a cv.pt, cv.npz or cv.json.

    \b
    Examples:
      aecv export runs/ala2 --out plumed
      aecv export runs/ala2/iteration_04 --form ann --bias opes --out opes
      aecv export runs/ala2 --to colvars --length angstrom --out namd
    """
    from aecv.workflow.exporting.export_folder import export

    folder = export(run_or_cv, out or Path(f"{options['target']}_{options['form']}"), **options)
    say(f"written to {folder}: {', '.join(sorted(item.name for item in folder.iterdir()))}")
