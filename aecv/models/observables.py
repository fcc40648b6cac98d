"""Atom selections, the observables of checks and pictures, and the stereochemistry of frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise

import mdtraj
import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.errors import AlignmentError, MolecularSystemError
from aecv.ground.grid import FloatArray, IntArray
from aecv.ground.settings import ObservableSettings
from aecv.numerics.encoder import align

BoolArray = NDArray[np.bool_]

FEW = 4
"""Observables of which every pair is mapped."""
_MOST_LETTERS = 120
"""Of what mdtraj says about a selection."""


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
        kinds: per observable "dihedral", "angle", "distance", "coordinate" or "rmsd".
        indices: per observable its atoms, shape (4,), (3,), (2,) or (1,); of an rmsd (n,).
        axes: per coordinate 0, 1 or 2 for x, y or z.
        references: per rmsd the positions it is measured from, shape (n, 3) [nm].
    """

    kinds: dict[str, str]
    indices: dict[str, IntArray]
    axes: dict[str, int] = field(default_factory=dict)
    references: dict[str, FloatArray] = field(default_factory=dict)

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
                that are not on a line.
        """
        indices = {
            name: np.concatenate(
                [
                    select_atoms(
                        topology,
                        text,
                        place=f"observables.{name}.atoms[{k}]",
                        exactly_one=observable.kind != "rmsd",
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
        axes = {name: "xyz".index(item.axis) for name, item in settings.items() if item.axis is not None}
        return cls(kinds=kinds, indices=indices, axes=axes, references=references)

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
        units = {"distance": " [nm]", "coordinate": " [nm]", "rmsd": " [nm]", "angle": " [rad]"}
        return name + units.get(self.kinds[name], "")

    def compute(self, xyz: ArrayLike) -> dict[str, FloatArray]:
        """Every observable of every frame, without minimum image: molecules need to be whole.

        Args:
            xyz: positions of all atoms [nm], shape (F, N, 3).

        Returns:
            Per name an array of shape (F,): dihedrals in (-pi, pi] with the IUPAC sign [rad], angles in
            [0, pi] [rad], distances, coordinates and RMSDs [nm].

        Raises:
            MolecularSystemError: when the array does not have that shape.
        """
        frames = _checked(xyz, 1 + max((int(i.max()) for i in self.indices.values()), default=-1))
        compute = {"dihedral": dihedrals, "angle": angles, "distance": distances}
        values = {}
        for name, kind in self.kinds.items():
            points = np.asarray(frames[:, self.indices[name]], dtype=float)
            if kind == "rmsd":
                values[name] = rmsd(points, self.references[name])
                continue
            values[name] = points[:, 0, self.axes[name]] if kind == "coordinate" else compute[kind](points)
        return values


def compute_observables(
    topology: mdtraj.Topology,
    xyz: ArrayLike,
    settings: Mapping[str, ObservableSettings],
    *,
    positions: ArrayLike | None = None,
) -> dict[str, FloatArray]:
    """Every observable of every frame; see `ObservableSet` when there are several arrays of frames."""
    return ObservableSet.prepare(topology, settings, positions=positions).compute(xyz)


def rmsd(points: FloatArray, reference: FloatArray) -> FloatArray:
    """Root-mean-square distance of atoms from a reference after optimal superposition, unweighted [nm].

    sqrt(min_R sum_i |R (x_i - <x>) - (y_i - <y>)|^2 / n); (F, n, 3) and (n, 3) -> (F,).

    Raises:
        AlignmentError: for a frame whose superposition is not unique.
    """
    target = reference - reference.mean(axis=0)
    apart = align(reference, points) - target
    return np.asarray(np.sqrt(np.einsum("fai,fai->f", apart, apart) / len(target)))


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


def dihedrals(points: FloatArray) -> FloatArray:
    """Dihedrals of four points [rad], positive clockwise along the middle bond; (F, 4, 3) -> (F,)."""
    first, second, third = (points[:, k + 1] - points[:, k] for k in range(3))
    across, beyond = np.cross(first, second), np.cross(second, third)
    sine = np.einsum("fi,fi->f", first, beyond) * np.linalg.norm(second, axis=1)
    return np.asarray(np.arctan2(sine, np.einsum("fi,fi->f", across, beyond)))


def angles(points: FloatArray) -> FloatArray:
    """Angles at the middle of three points [rad]; (F, 3, 3) -> (F,)."""
    first, second = points[:, 0] - points[:, 1], points[:, 2] - points[:, 1]
    sine = np.linalg.norm(np.cross(first, second), axis=1)
    return np.asarray(np.arctan2(sine, np.einsum("fi,fi->f", first, second)))


def distances(points: FloatArray) -> FloatArray:
    """Distances of two points [nm]; (F, 2, 3) -> (F,)."""
    return np.asarray(np.linalg.norm(points[:, 1] - points[:, 0], axis=1))


@dataclass(frozen=True, kw_only=True)
class StereoReference:
    """Chirality and peptide-bond state of a structure, to compare frames with.

    An inverted alpha carbon or a peptide bond that turned over means that a bias has torn at the molecule:
    at 300 K neither happens on the time scale of a simulation (barriers of about 80 kJ/mol and more).

    Attributes:
        centres: N, CA, C and CB of every residue that has them, shape (n_centres, 4).
        handedness: sign of (N - CA) x (C - CA) . (CB - CA); +1 for L amino acids, shape (n_centres,).
        peptide_bonds: carbon, C, N and carbon of every peptide bond, shape (n_bonds, 4).
        trans: whether |omega| > pi/2, shape (n_bonds,).
    """

    centres: IntArray
    handedness: IntArray
    peptide_bonds: IntArray
    trans: BoolArray

    @classmethod
    def from_structure(cls, topology: mdtraj.Topology, positions: ArrayLike) -> "StereoReference":
        """The reference that a structure gives; positions [nm], shape (N, 3). Bonds need to be known."""
        centres = _alpha_carbons(topology)
        peptide_bonds = _peptide_bonds(topology)
        frames = _checked(np.asarray(positions, dtype=float)[None], topology.n_atoms)
        return cls(
            centres=centres,
            handedness=_handedness(frames, centres)[0],
            peptide_bonds=peptide_bonds,
            trans=_is_trans(frames, peptide_bonds)[0],
        )

    def inverted(self, xyz: ArrayLike) -> BoolArray:
        """Whether any centre has the other handedness, per frame; (F, N, 3) -> (F,)."""
        frames = _checked(xyz, 1 + int(self.centres.max(initial=-1)))
        return np.asarray(np.any(_handedness(frames, self.centres) != self.handedness, axis=1))

    def turned(self, xyz: ArrayLike) -> BoolArray:
        """Whether any peptide bond is cis instead of trans or the reverse, per frame; (F, N, 3) -> (F,)."""
        frames = _checked(xyz, 1 + int(self.peptide_bonds.max(initial=-1)))
        return np.asarray(np.any(_is_trans(frames, self.peptide_bonds) != self.trans, axis=1))

    def count_changes(self, xyz: ArrayLike) -> tuple[int, int]:
        """Number of frames with an inverted centre and number with a turned peptide bond; xyz (F, N, 3)."""
        return int(np.count_nonzero(self.inverted(xyz))), int(np.count_nonzero(self.turned(xyz)))


def _checked(xyz: ArrayLike, n_atoms: int) -> NDArray[np.floating]:
    frames = np.asarray(xyz)
    if frames.ndim != 3 or frames.shape[2] != 3 or frames.shape[1] < n_atoms:
        raise MolecularSystemError(
            f"observables: positions need shape (frames, atoms >= {n_atoms}, 3), got {frames.shape}"
        )
    return frames


def _alpha_carbons(topology: mdtraj.Topology) -> IntArray:
    rows = []
    for residue in topology.residues:
        named = {atom.name: atom.index for atom in residue.atoms}
        if {"N", "CA", "C", "CB"} <= named.keys():
            rows.append([named[name] for name in ("N", "CA", "C", "CB")])
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _peptide_bonds(topology: mdtraj.Topology) -> IntArray:
    """Rows of carbon, C, N, carbon around each bond between a carbonyl C and an N that carries a carbon.

    They are found by bonds rather than by names, so that caps (ACE, NME) count as well. Where N carries two
    further carbons (proline), the one named CA is meant.
    """
    neighbours: dict[int, list[mdtraj.core.topology.Atom]] = {atom.index: [] for atom in topology.atoms}
    for first, second in topology.bonds:
        neighbours[first.index].append(second)
        neighbours[second.index].append(first)
    rows = []
    for pair in topology.bonds:
        for carbon, nitrogen in (pair, tuple(pair)[::-1]):
            before = [a for a in neighbours[carbon.index] if a.element.symbol == "C"]
            oxygens = [a for a in neighbours[carbon.index] if a.element.symbol == "O"]
            after = [
                a for a in neighbours[nitrogen.index] if a.element.symbol == "C" and a.index != carbon.index
            ]
            if (carbon.element.symbol, nitrogen.element.symbol) != ("C", "N"):
                continue
            if len(before) == 1 and len(oxygens) == 1 and after:
                rows.append([_preferred(before), carbon.index, nitrogen.index, _preferred(after)])
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _preferred(atoms: Sequence[mdtraj.core.topology.Atom]) -> int:
    return int(min(atoms, key=lambda atom: (atom.name != "CA", atom.index)).index)


def _handedness(frames: NDArray[np.floating], centres: IntArray) -> IntArray:
    nitrogen, alpha, carbon, beta = np.moveaxis(np.asarray(frames[:, centres], dtype=float), 2, 0)
    volume = np.einsum("fci,fci->fc", np.cross(nitrogen - alpha, carbon - alpha), beta - alpha)
    return np.sign(volume).astype(np.int64)


def _is_trans(frames: NDArray[np.floating], peptide_bonds: IntArray) -> BoolArray:
    points = np.asarray(frames[:, peptide_bonds], dtype=float)
    omega = dihedrals(points.reshape(-1, 4, 3)).reshape(points.shape[:2])
    return np.asarray(np.abs(omega) > np.pi / 2)
