"""[cv]: the atoms that the autoencoder sees."""

from pydantic import Field

from aecv.ground.settings.section import Section


class CVAtomSettings(Section):
    """[cv]: which atoms the autoencoder sees, as an mdtraj selection."""

    atoms: str = Field(min_length=1, description="mdtraj selection; at least 3 atoms that are not on a line")
    align: bool = Field(True, description="superpose frames on a reference; false for a [particle] alone")
