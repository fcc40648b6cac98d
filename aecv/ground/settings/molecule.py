"""[system]: the files that describe a molecule, and how its forces are computed."""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from aecv.ground.names import NAME, check_folder_name
from aecv.ground.settings.section import Section

TOPOLOGIES = {
    ".prmtop": "amber",
    ".parm7": "amber",
    ".top": "gromacs",
    ".psf": "charmm",
    ".xml": "openmm",
}
"""Format of a topology file by its ending."""

TITLES = {
    "forcefield": "force-field files",
    "amber": "an Amber topology",
    "gromacs": "a Gromacs topology",
    "charmm": "a CHARMM structure file (PSF)",
    "openmm": "an OpenMM System",
}
STRUCTURES = {
    "forcefield": (".pdb", ".cif", ".pdbx"),
    "amber": (".inpcrd", ".rst7", ".crd", ".rst", ".pdb", ".cif"),
    "gromacs": (".gro", ".pdb", ".cif"),
    "charmm": (".pdb", ".cif", ".crd"),
    "openmm": (".pdb", ".cif", ".pdbx"),
}
"""Endings of files with coordinates, by format."""
PARAMETERS = (".prm", ".par", ".rtf", ".str", ".inp", ".top")
"""Endings of CHARMM's files of parameters."""
_PERIODIC = ("CutoffPeriodic", "PME")

ImplicitSolvent = Literal["none", "HCT", "OBC1", "OBC2", "GBn", "GBn2"]


class MolecularSettings(Section):
    """[system]: what is simulated; structure and force field are those of a molecule, see [particle]."""

    name: Annotated[str, AfterValidator(check_folder_name)] = Field(
        pattern=NAME, description="names the run folder and the CV"
    )
    description: str = Field("", description="for people")
    expect: str = Field("", description="what a run shows, a line for people")
    structure: str | None = Field(
        None,
        description="coordinates: .pdb or .cif; .inpcrd, .rst7 (Amber), .gro (Gromacs), .crd (CHARMM) beside "
        "a topology; their chirality and peptide bonds are the reference",
    )
    forcefield: tuple[str, ...] = Field(
        (), description="OpenMM force-field files, OpenMM's own or in this folder; or give a topology"
    )
    topology: str | None = Field(
        None,
        description="in place of forcefield: .prmtop or .parm7 (Amber), .top (Gromacs), .psf (CHARMM), or "
        ".xml (an OpenMM System)",
    )
    include: str | None = Field(
        None, description="folder in this one where a Gromacs .top looks for the files that it includes"
    )
    parameters: tuple[str, ...] = Field(
        (), description="of a CHARMM .psf: .rtf, .prm, .str files; without them it has no forces"
    )
    solvent: str | None = Field(
        None, pattern=NAME, description="the [solvent.NAME] table of this file that is laid over the rest"
    )
    starts: tuple[str, ...] = Field((), description='further structures, for starts.mode = "given"')
    nonbonded: Literal["NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "PME"] = Field(
        "NoCutoff", description="treatment of long-range interactions"
    )
    cutoff_nm: float = Field(1.0, gt=0, le=1000, description="for every choice but NoCutoff")
    constraints: Literal["none", "HBonds", "AllBonds"] = Field("none", description="bonds of fixed length")
    hydrogen_mass_da: float | None = Field(
        None, gt=0, le=1000, description="repartitioned mass of hydrogens; left out: as it is"
    )
    implicit_solvent: ImplicitSolvent = Field(
        "none",
        description="generalised Born model of an Amber or CHARMM topology; with forcefield name a file such "
        "as implicit/obc2.xml there",
    )

    @property
    def format(self) -> str:
        """One of TITLES: what kind of file the forces come from."""
        return "forcefield" if self.topology is None else TOPOLOGIES[suffix(self.topology)]

    @property
    def is_periodic(self) -> bool:
        """Whether the settings ask for a periodic box; the file of an OpenMM System says it itself."""
        return self.nonbonded in _PERIODIC


def suffix(name: str) -> str:
    """The ending of a file's name in lower case, with its dot."""
    return PurePath(name).suffix.lower()
