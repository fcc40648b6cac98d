"""`aecv init`: a folder for a molecule of one's own, with everything guessed and explained."""

from pathlib import Path

import click

from aecv.commands.command import Command, say
from aecv.commands.options import finite

WIDTH = 14
_FILE = click.Path(path_type=Path)


@click.command(cls=Command)
@click.argument("folder", metavar="NAME", type=_FILE)
@click.option(
    "--pdb",
    "--structure",
    "--inpcrd",
    "--gro",
    "--crd",
    "structure",
    required=True,
    type=_FILE,
    help="Coordinates: .pdb or .cif; .inpcrd, .rst7, .gro, .crd beside a topology.",
)
@click.option(
    "--topology",
    "--prmtop",
    "--top",
    "--psf",
    "--xml",
    "topology",
    type=_FILE,
    help="What brings the forces: Amber .prmtop, Gromacs .top, CHARMM .psf, OpenMM System .xml.",
)
@click.option(
    "--forcefield",
    multiple=True,
    metavar="FILE",
    help="A force-field file, OpenMM's own or yours; may be repeated.  [default: guessed]",
)
@click.option(
    "--parameters", multiple=True, type=_FILE, help="Of a CHARMM .psf: .rtf, .prm, .str; may be repeated."
)
@click.option("--include", type=_FILE, help="Folder of the files that a Gromacs .top includes.")
@click.option("--add-hydrogens", is_flag=True, help="Add the hydrogens that are missing, at pH 7.")
@click.option("--drop-solvent", is_flag=True, help="Leave water and ions of the structure out.")
@click.option(
    "--drop", multiple=True, metavar="RESIDUE", help="Leave residues of this name out; may be repeated."
)
@click.option(
    "--force", is_flag=True, help="Overwrite a folder that aecv init wrote, where no file has changed since."
)
@click.option(
    "--solvate",
    type=finite(0.0, 10.0, above=True),
    metavar="NM",
    help="Put it into a box of TIP3P water, with NM of water around it, and neutralise it with ions.",
)
def main(
    folder: Path,
    structure: Path,
    topology: Path | None,
    forcefield: tuple[str, ...],
    parameters: tuple[Path, ...],
    include: Path | None,
    add_hydrogens: bool,
    drop_solvent: bool,
    drop: tuple[str, ...],
    solvate: float | None,
    force: bool,
) -> None:
    """Write a folder NAME with a system.toml in which everything is guessed and explained.

    The files are copied there, and the system is built and tried before anything is written. A structure
    without hydrogens gets them, and the few waters of a crystal are left out; what was done is said. Nothing
    is overwritten but, with --force, a folder that is as aecv init wrote it.

    \b
    Examples:
      aecv init my_peptide --pdb peptide.pdb
      aecv init my_peptide --pdb 5awl.pdb --add-hydrogens --drop-solvent
      aecv init peptide_water --pdb peptide.pdb --solvate 1.0
      aecv init complex --prmtop complex.prmtop --inpcrd complex.inpcrd
      aecv init melt --top topol.top --gro conf.gro --include /usr/share/gromacs/top
    """
    from aecv.sampling.preparing.preparation import Preparation
    from aecv.workflow.new_system.initialising import initialise
    from aecv.workflow.new_system.sources import Sources

    made = initialise(
        folder,
        Sources(
            structure=structure,
            topology=topology,
            forcefield=forcefield,
            parameters=parameters,
            include=include,
            preparation=Preparation(
                add_hydrogens=add_hydrogens, drop_solvent=drop_solvent, drop=drop, padding_nm=solvate
            ),
        ),
        force=force,
    )
    for name, text in made.notes:
        say(f"{name:<{WIDTH}}{text}")
    for index, finding in enumerate(made.findings):
        say(f"{'warning' if index == 0 else '':<{WIDTH}}{finding}")
    say(f"written to {made.folder}: system.toml, in which every value has its reason")
    say(f"next: aecv check {made.folder}")
