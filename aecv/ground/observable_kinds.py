"""The kinds of observables: what is known of each without its formula."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["dihedral", "angle", "distance", "coordinate", "rmsd", "radius_of_gyration", "helicity"]


@dataclass(frozen=True, kw_only=True)
class ObservableKind:
    """What is known of a kind of observable without its formula.

    Attributes:
        words: its name with an article.
        unit: of its values; empty where they have none.
        n_atoms: how many atoms it is of, each named by a selection; None where one selection names many.
        bounds: of its values [unit].
        is_periodic: whether the bounds are one point.
        plumed: PLUMED's action, of atoms; empty where there is none.
    """

    words: str
    unit: str
    n_atoms: int | None = None
    bounds: tuple[float, float] = (0.0, math.inf)
    is_periodic: bool = False
    plumed: str = ""


KINDS: Mapping[Kind, ObservableKind] = {
    "dihedral": ObservableKind(
        words="a dihedral",
        unit="rad",
        n_atoms=4,
        bounds=(-math.pi, math.pi),
        is_periodic=True,
        plumed="TORSION",
    ),
    "angle": ObservableKind(words="an angle", unit="rad", n_atoms=3, bounds=(0.0, math.pi), plumed="ANGLE"),
    "distance": ObservableKind(words="a distance", unit="nm", n_atoms=2, plumed="DISTANCE"),
    "coordinate": ObservableKind(
        words="a coordinate", unit="nm", n_atoms=1, bounds=(-math.inf, math.inf), plumed="POSITION"
    ),
    "rmsd": ObservableKind(words="an rmsd", unit="nm"),
    "radius_of_gyration": ObservableKind(words="a radius of gyration", unit="nm"),
    "helicity": ObservableKind(words="a helicity", unit="", bounds=(0.0, 1.0)),
}
OF_ONE_SELECTION: tuple[Kind, ...] = tuple(kind for kind, known in KINDS.items() if known.n_atoms is None)
"""Kinds that are of many atoms, named by one selection."""
