"""Atom selections, and the observables of checks and pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import mdtraj
import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import AlignmentError, MolecularSystemError
from aecv.ground.settings import OF_ONE_SELECTION, UNITS, ObservableSettings
from aecv.molecules.geometry import angles, checked_frames, dihedrals, distances, radius_of_gyration, rmsd
from aecv.molecules.helicity import backbone_rows, follows, helicity, value_edges
from aecv.numerics.kernels.encoder import align

FEW = 4
"""Observables of which every pair is mapped."""
_MOST_LETTERS = 120
"""Of what mdtraj says about a selection."""
MOST_BRACKETS = 1_000
"""In a selection: mdtraj's parser takes a second for as many, and minutes for 100 000."""


def select_atoms(
    topology: mdtraj.Topology, selection: str, *, place: str = "cv.atoms", exactly_one: bool = False
) -> IntArray:
    """Indices of the atoms that an mdtraj selection names, in the topology's order.

    Args:
        topology: all atoms.
        selection: for example "name CA and resid 0 to 5".
        place: the setting that holds the selection, for messages.
        exactly_one: whether one atom is needed rather than any number.

    Raises:
        MolecularSystemError: when the selection cannot be read or selects nothing, or not exactly one.
    """
    if selection.count("(") > MOST_BRACKETS:
        raise MolecularSystemError(
            f"{place}: needs an mdtraj selection of at most {MOST_BRACKETS} brackets, got "
            f"{selection.count('(')}; write it with fewer"
        )
    try:
        indices = np.asarray(topology.select(selection), dtype=np.int64)
    except Exception as error:  # mdtraj lets its parser, ast and eval raise what they like
        detail = str(error).splitlines()[0] if str(error) else "no detail"
        # a parser may answer with all of its grammar
        short = f"{detail[:_MOST_LETTERS]} ..." if len(detail) > _MOST_LETTERS else detail
        raise MolecularSystemError(
            f"{place}: needs an mdtraj selection such as \"name CA and resid 0\", got '{selection}' "
            f"({type(error).__name__}: {short})"
        ) from error
    if exactly_one and len(indices) != 1:
        found = ", ".join(str(topology.atom(i)) for i in indices[:6]) or "none"
        raise MolecularSystemError(
            f"{place}: needs a selection of exactly one atom, '{selection}' gives {len(indices)} ({found})"
        )
    if len(indices) == 0:
        residues = ", ".join(sorted({residue.name for residue in topology.residues})[:12])
        raise MolecularSystemError(
            f"{place}: '{selection}' selects none of the {topology.n_atoms} atoms; "
            f"the structure's residues are {residues}"
        )
    return indices


@dataclass(frozen=True, kw_only=True)
class ObservableSet:
    """Observables whose atoms are found once.

    Attributes:
        kinds: per observable its kind, see `ObservableSettings`.
        indices: per observable its atoms, shape (4,), (3,), (2,) or (1,); of an rmsd or a radius of gyration
            (n,); of a helicity C, N, CA, C, N around each residue, shape (n, 5).
        axes: per coordinate 0, 1 or 2 for x, y or z.
        references: per rmsd the positions it is measured from, shape (n, 3) [nm].
        masses: per radius of gyration those of its atoms, shape (n,) [Da].
    """

    kinds: dict[str, str]
    indices: dict[str, IntArray]
    axes: dict[str, int] = field(default_factory=dict)
    references: dict[str, FloatArray] = field(default_factory=dict)
    masses: dict[str, FloatArray] = field(default_factory=dict)

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
        references = {
            name: _reference(name, indices[name], positions)
            for name, observable in settings.items()
            if observable.kind == "rmsd"
        }
        kinds: dict[str, str] = {name: item.kind for name, item in settings.items()}
        masses = {
            name: _masses(name, topology, indices[name])
            for name, kind in kinds.items()
            if kind == "radius_of_gyration"
        }
        for name, kind in kinds.items():
            if kind == "helicity":
                indices[name] = backbone_rows(topology, indices[name], place=f"observables.{name}")
        axes = {name: "xyz".index(item.axis) for name, item in settings.items() if item.axis is not None}
        return cls(kinds=kinds, indices=indices, axes=axes, references=references, masses=masses)

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
        return tuple(name for name, kind in self.kinds.items() if kind == "dihedral")

    def label(self, name: str) -> str:
        """The name with its unit, for pictures; dihedrals are shown as angles and go without."""
        kind = self.kinds[name]
        return name if kind == "dihedral" or not UNITS[kind] else f"{name} [{UNITS[kind]}]"

    def edges(self, name: str, values: FloatArray, n_bins: int) -> FloatArray:
        """Edges of at most n_bins even bins for a free energy along an observable.

        Over the period of a dihedral, one bin per value of a helicity (or an even number of them), else over
        the values.
        """
        kind = self.kinds[name]
        if kind == "helicity":
            return value_edges(len(self.indices[name]), n_bins)
        periodic = kind == "dihedral"
        low, high = (-np.pi, np.pi) if periodic else (values.min(), np.nextafter(values.max(), np.inf))
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
        if kind == "rmsd":
            return rmsd(points, self.references[name])
        if kind == "radius_of_gyration":
            return radius_of_gyration(points, self.masses[name])
        if kind == "helicity":
            return helicity(points, follows(self.indices[name]))
        return {"dihedral": dihedrals, "angle": angles, "distance": distances}[kind](points)


def _reference(name: str, indices: IntArray, positions: ArrayLike | None) -> FloatArray:
    """The positions that an rmsd is measured from; they need to have an orientation."""
    place = f"observables.{name}"
    if positions is None:
        raise MolecularSystemError(f"{place}: an rmsd needs the positions of the structure, got none")
    if len(indices) < 3:
        raise MolecularSystemError(
            f"{place}: an rmsd needs at least 3 atoms to superpose, got {len(indices)}; widen the selection, "
            "or take kind = 'distance'"
        )
    reference = np.asarray(positions, dtype=float)[indices]
    try:
        align(reference, reference[None])
    except AlignmentError as error:
        raise MolecularSystemError(
            f"{place}: an rmsd needs atoms that are not on a line; widen the selection"
        ) from error
    return reference


def _masses(name: str, topology: mdtraj.Topology, indices: IntArray) -> FloatArray:
    """Masses of the elements [Da], not those that hydrogens may have in the dynamics."""
    elements = [topology.atom(int(index)).element for index in indices]
    masses = np.array([0.0 if element is None else element.mass for element in elements])
    if np.count_nonzero(masses) < 2:
        raise MolecularSystemError(
            f"observables.{name}: a radius of gyration needs at least 2 atoms with masses, got "
            f"{np.count_nonzero(masses)} of {len(masses)}; widen the selection"
        )
    return masses
