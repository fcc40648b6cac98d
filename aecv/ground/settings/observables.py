"""[observables.NAME]: quantities for checks and pictures."""

from typing import Literal

from pydantic import Field, model_validator

from aecv.ground.observable_kinds import KINDS, Kind, ObservableKind
from aecv.ground.settings.section import Section


class ObservableSettings(Section):
    """[observables.NAME]: a quantity for checks and pictures; one mdtraj selection per atom."""

    kind: Kind
    atoms: tuple[str, ...] = Field(
        description="one mdtraj selection per atom; one of all its atoms of an rmsd (laid over the "
        "structure), a radius of gyration (by mass) and a helicity (share of residues in helical runs)"
    )
    axis: Literal["x", "y", "z"] | None = Field(None, description="of a coordinate [nm]")

    @property
    def known(self) -> ObservableKind:
        """What is known of its kind."""
        return KINDS[self.kind]

    @property
    def period(self) -> float | None:
        """Of its values, from -period/2 to period/2 [rad]; None where they have none."""
        low, high = self.known.bounds
        return high - low if self.known.is_periodic else None

    @model_validator(mode="after")
    def _count(self) -> "ObservableSettings":
        if (self.kind == "coordinate") != (self.axis is not None):
            raise ValueError("a coordinate needs axis = 'x', 'y' or 'z', and only a coordinate has one")
        needed = self.known.n_atoms
        if len(self.atoms) != (needed or 1):
            what = f"{needed} atom selections" if needed else "one selection of all its atoms"
            raise ValueError(f"{self.known.words} needs {what}, got {len(self.atoms)}")
        return self
