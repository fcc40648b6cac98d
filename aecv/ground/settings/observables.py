"""[observables.NAME]: quantities for checks and pictures."""

import math
from typing import Literal

from pydantic import Field, model_validator

from aecv.ground.settings.section import Section

UNITS = {
    "dihedral": "rad",
    "angle": "rad",
    "distance": "nm",
    "coordinate": "nm",
    "rmsd": "nm",
    "radius_of_gyration": "nm",
    "helicity": "",
}
"""Of each kind."""
OF_ONE_SELECTION = {"rmsd": "an rmsd", "radius_of_gyration": "a radius of gyration", "helicity": "a helicity"}
"""Kinds that are of many atoms, named by one selection, with their names in words."""
_N_ATOMS = {"dihedral": 4, "angle": 3, "distance": 2, "coordinate": 1}


class ObservableSettings(Section):
    """[observables.NAME]: a quantity for checks and pictures; one mdtraj selection per atom."""

    kind: Literal["dihedral", "angle", "distance", "coordinate", "rmsd", "radius_of_gyration", "helicity"]
    atoms: tuple[str, ...] = Field(
        description="one mdtraj selection per atom; one of all its atoms of an rmsd (laid over the "
        "structure), a radius of gyration (by mass) and a helicity (share of residues in helical runs)"
    )
    axis: Literal["x", "y", "z"] | None = Field(None, description="of a coordinate [nm]")

    @property
    def period(self) -> float | None:
        """Of its values, from -period/2 to period/2 [rad]; None where they have none."""
        return math.tau if self.kind == "dihedral" else None

    @model_validator(mode="after")
    def _count(self) -> "ObservableSettings":
        if (self.kind == "coordinate") != (self.axis is not None):
            raise ValueError("a coordinate needs axis = 'x', 'y' or 'z', and only a coordinate has one")
        if self.kind in OF_ONE_SELECTION:
            if len(self.atoms) != 1:
                words = OF_ONE_SELECTION[self.kind]
                raise ValueError(f"{words} needs one selection of all its atoms, got {len(self.atoms)}")
        elif len(self.atoms) != _N_ATOMS[self.kind]:
            raise ValueError(
                f"a {self.kind} needs {_N_ATOMS[self.kind]} atom selections, got {len(self.atoms)}"
            )
        return self
