"""The observables of a molecule, whose atoms are found once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import mdtraj
import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.observable_kinds import KINDS, OF_ONE_SELECTION, Kind
from aecv.ground.settings import ObservableSettings
from aecv.molecules.geometry import FORMULAS, checked_frames
from aecv.molecules.observables.measure import Measure, Selected, measured
from aecv.molecules.selection import select_atoms

FEW = 4
"""Observables of which every pair is mapped."""


@dataclass(frozen=True, kw_only=True)
class ObservableSet:
    """Observables whose atoms are found once.

    Attributes:
        kinds: per observable its kind, see `ObservableSettings`.
        indices: per observable its atoms, shape (4,), (3,), (2,) or (1,); of an rmsd or a radius of gyration
            (n,); of a helicity C, N, CA, C, N around each residue, shape (n, 5).
        axes: per coordinate 0, 1 or 2 for x, y or z.
        measures: per observable of a kind that has a file of its own how it is measured.
    """

    kinds: dict[str, Kind]
    indices: dict[str, IntArray]
    axes: dict[str, int] = field(default_factory=dict)
    measures: dict[str, Measure] = field(default_factory=dict)

    @classmethod
    def prepare(
        cls,
        topology: mdtraj.Topology,
        settings: Mapping[str, ObservableSettings],
        *,
        positions: ArrayLike | None = None,
    ) -> "ObservableSet":
        """Find the atoms of every observable.

        Args:
            positions: of the structure [nm], shape (N, 3), which an rmsd is measured from.

        Raises:
            MolecularSystemError: when a selection does not name exactly one atom; of an rmsd, at least three
                that are not on a line; of a radius of gyration, two with masses; of a helicity, three
                residues.
        """
        indices = {
            name: np.concatenate(
                [
                    select_atoms(
                        topology,
                        text,
                        place=f"observables.{name}.atoms[{k}]",
                        exactly_one=observable.kind not in OF_ONE_SELECTION,
                    )
                    for k, text in enumerate(observable.atoms)
                ]
            )
            for name, observable in settings.items()
        }
        kinds: dict[str, Kind] = {name: item.kind for name, item in settings.items()}
        measures = {
            name: measured(
                kind,
                Selected(
                    place=f"observables.{name}",
                    topology=topology,
                    atoms=indices[name],
                    positions=None if positions is None else np.asarray(positions, dtype=float),
                ),
            )
            for name, kind in kinds.items()
            if kind in OF_ONE_SELECTION
        }
        indices |= {name: measure.atoms for name, measure in measures.items()}
        axes = {name: "xyz".index(item.axis) for name, item in settings.items() if item.axis is not None}
        return cls(kinds=kinds, indices=indices, axes=axes, measures=measures)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.kinds)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs whose free energy is mapped: all of a few observables, else neighbours in their order.

        A dozen would have 66 maps.
        """
        if len(self.names) <= FEW:
            return tuple(combinations(self.names, 2))
        return tuple(pairwise(self.names))

    @property
    def periodic_names(self) -> tuple[str, ...]:
        """The observables with a period of 2 pi."""
        return tuple(name for name, kind in self.kinds.items() if KINDS[kind].is_periodic)

    def label(self, name: str) -> str:
        """The name with its unit, for pictures; what is periodic is shown as an angle and goes without."""
        known = KINDS[self.kinds[name]]
        return name if known.is_periodic or not known.unit else f"{name} [{known.unit}]"

    def edges(self, name: str, values: FloatArray, n_bins: int) -> FloatArray:
        """Edges of at most n_bins even bins for a free energy along an observable.

        Over the period where there is one; as the file of its kind says; else over the values.
        """
        measure = self.measures.get(name)
        if measure is not None and measure.edges is not None:
            return measure.edges(n_bins)
        known = KINDS[self.kinds[name]]
        ends = values.min(), np.nextafter(values.max(), np.inf)
        low, high = known.bounds if known.is_periodic else ends
        return np.linspace(low, high, n_bins + 1)

    def compute(self, xyz: ArrayLike) -> dict[str, FloatArray]:
        """Every observable of every frame, without minimum image: molecules need to be whole.

        Args:
            xyz: positions of all atoms [nm], shape (F, N, 3).

        Returns:
            Per name an array of shape (F,): dihedrals in (-pi, pi] with the IUPAC sign [rad], angles in
            [0, pi] [rad], distances, coordinates, RMSDs and radii of gyration [nm], helicities in [0, 1].

        Raises:
            MolecularSystemError: when the array does not have that shape.
        """
        frames = checked_frames(xyz, 1 + max((int(i.max()) for i in self.indices.values()), default=-1))
        return {
            name: self._values(name, np.asarray(frames[:, self.indices[name]], dtype=float))
            for name in self.kinds
        }

    def _values(self, name: str, points: FloatArray) -> FloatArray:
        """One observable of its own atoms."""
        kind = self.kinds[name]
        if kind == "coordinate":
            return np.asarray(points[:, 0, self.axes[name]])
        if name in self.measures:
            return self.measures[name].values(points)
        return FORMULAS[kind](points)
