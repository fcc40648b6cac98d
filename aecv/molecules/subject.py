"""A molecule as learning and analysis know it: atoms, a structure and what is asked of them; no forces."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import mdtraj
import numpy as np

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import AlignmentError, CVError, MolecularSystemError
from aecv.molecules.bonds import BondLengths, Images, listed_lengths
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.molecules.selection import select_atoms
from aecv.molecules.solvent import n_solute_atoms
from aecv.molecules.spec import SystemSpec
from aecv.molecules.stereochemistry import StereoReference
from aecv.numerics.kernels.encoder import NO_REFERENCE, align

_NO_BONDS = (
    "frames: no bonds are known between the atoms of '{}', so that their order, their unit of length, their "
    "handedness and whether molecules are whole are not checked; where there is a box, each atom is placed "
    "next to the nearest one before it"
)
_CHAIN_ALONE = (
    "frames: no bonds are known between the atoms of '{}' but that alpha carbons follow each other; their "
    "handedness is not checked"
)
_CHAIN_NM = (0.27, 0.42)
"""Distance of alpha carbons of residues that follow each other: 0.38 where their peptide bond is trans, 0.29
where it is cis."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A molecule whose frames are looked at. One that can be simulated as well is a `MolecularSystem`.

    Attributes:
        spec: name, hash and settings.
        mdtraj_topology: atoms, residues, elements, and bonds where they are known.
        positions: of the structure with whole molecules [nm], shape (N, 3).
        cv_atom_indices: the atoms that the collective variable sees, shape (n_cv_atoms,).
        observables: those of the settings with their atoms.
        stereo: chirality and cis-trans state of the structure.
        n_solute_atoms: atoms up to the last one that is neither water nor an ion.
        unchecked: sentences on what frames cannot be held against, because it is not known.
        is_divisible: whether frames may hold the chosen atoms alone.
    """

    spec: SystemSpec
    mdtraj_topology: mdtraj.Topology
    positions: FloatArray
    cv_atom_indices: IntArray
    observables: ObservableSet
    stereo: StereoReference
    n_solute_atoms: int
    unchecked: tuple[str, ...] = ()
    is_divisible: bool = False

    @classmethod
    def of_atoms(
        cls,
        spec: SystemSpec,
        topology: mdtraj.Topology,
        positions: FloatArray,
        *,
        box: FloatArray | None = None,
        chosen: IntArray | None = None,
        place: str = "cv.atoms",
    ) -> "Subject":
        """A molecule of named atoms with a structure, without forces.

        Where the topology lists no bonds, they are those that mdtraj knows by names of residues and atoms; of
        alpha carbons alone, those of a chain.

        Args:
            positions: of a structure, molecules cut or not, shape (N, 3) [nm].
            box: its vectors, shape (3, 3) [nm]; None for none.
            chosen: the atoms of the CV, shape (n_cv_atoms,); None for those that the settings select.
            place: what names the chosen atoms, for messages.

        Raises:
            MolecularSystemError: when the selection cannot be read or selects nothing, or too few atoms to
                superpose; when an observable does not find its atoms.
        """
        if not topology.n_bonds:
            topology = topology.copy()
            topology.create_standard_bonds()
        unchecked = () if topology.n_bonds else (_link_chains(topology, positions).format(spec.name),)
        if chosen is None:
            chosen = select_atoms(topology, spec.settings.cv.atoms, place=place)
        if box is not None:
            bonds, solute = _pairs(topology), np.arange(n_solute_atoms(topology))
            images = Images.along(bonds, positions, box, cv_atoms=chosen, linked=solute)
            positions = np.asarray(images.whole(positions, box), dtype=float)
        check_alignable(chosen, positions, place=place)
        return cls(
            spec=spec,
            mdtraj_topology=topology,
            positions=positions,
            cv_atom_indices=chosen,
            observables=ObservableSet.prepare(topology, spec.settings.observables, positions=positions),
            stereo=StereoReference.from_structure(topology, positions),
            n_solute_atoms=n_solute_atoms(topology),
            unchecked=unchecked,
            is_divisible=True,
        )

    def part(self, atoms: IntArray) -> "Subject":
        """These atoms as a molecule of their own, all of them chosen, without observables; shape (n,)."""
        settings = self.spec.settings.model_copy(update={"observables": {}})
        return Subject.of_atoms(
            replace(self.spec, settings=settings),
            self.mdtraj_topology.subset(atoms),
            self.positions[atoms],
            chosen=np.arange(len(atoms)),
        )

    @property
    def n_atoms(self) -> int:
        return self.mdtraj_topology.n_atoms

    @property
    def cv_reference(self) -> FloatArray:
        """What frames are aligned onto, shape (n_cv_atoms, 3) [nm]; (0, 3) where they are not aligned."""
        return self.positions[self.cv_atom_indices] if self.spec.settings.cv.align else NO_REFERENCE

    @property
    def heavy_atom_indices(self) -> IntArray:
        """Indices of the solute's atoms but hydrogens, shape (n_heavy,)."""
        atoms = list(self.mdtraj_topology.atoms)[: self.n_solute_atoms]
        return np.array([a.index for a in atoms if a.element.symbol not in ("H", "VS")], dtype=np.int64)

    @property
    def is_solvated(self) -> bool:
        """Whether water or ions follow the solute."""
        return self.n_solute_atoms < self.n_atoms

    @property
    def n_frame_atoms(self) -> int:
        """Leading atoms that frames hold: with sampling.frames = "solute" those of the solute, and any
        further ones that the autoencoder or an observable needs."""
        if self.spec.settings.sampling.frames == "all":
            return self.n_atoms
        used = [self.cv_atom_indices, *self.observables.indices.values()]
        return max(self.n_solute_atoms, *(1 + int(atoms.max()) for atoms in used))

    @property
    def frame_topology(self) -> mdtraj.Topology:
        """The atoms that frames hold."""
        n = self.n_frame_atoms
        return self.mdtraj_topology if n == self.n_atoms else self.mdtraj_topology.subset(np.arange(n))

    @property
    def linked_atoms(self) -> IntArray:
        """Atoms whose molecules are kept next to the CV's where a box cuts them: solute and observables."""
        used = [np.arange(self.n_solute_atoms), *(rows.ravel() for rows in self.observables.indices.values())]
        return np.unique(np.concatenate(used))

    @cached_property
    def bonds(self) -> BondLengths:
        """Bonds of the solute that the topology lists, with their lengths in the structure."""
        return BondLengths.of(listed_lengths(self.mdtraj_topology, self.positions), self.n_solute_atoms)

    @cached_property
    def images(self) -> Images:
        """How frames are made whole, and the autoencoder's atoms."""
        return Images.along(
            _pairs(self.mdtraj_topology),
            self.positions,
            np.zeros((3, 3)),  # the structure is whole
            cv_atoms=self.cv_atom_indices,
            linked=self.linked_atoms,
        )

    def check_atoms(self, atoms: IntArray, *, place: str) -> None:
        """Refuse atoms that frames do not hold.

        Args:
            atoms: of a CV, shape (n,).
            place: what the CV is called.

        Raises:
            CVError: then.
        """
        if atoms.max() >= self.n_atoms:
            raise CVError(
                f"{place} needs atom {atoms.max()}, '{self.spec.name}' has {self.n_atoms} atoms; it belongs "
                "to another system"
            )
        if atoms.max() >= self.n_frame_atoms:
            raise CVError(
                f"{place} needs atom {atoms.max()}, frames hold the first {self.n_frame_atoms} atoms, "
                'without the solvent; set sampling.frames = "all"'
            )


def _link_chains(topology: mdtraj.Topology, positions: FloatArray) -> str:
    """Bind alpha carbons that follow each other, in a topology without bonds; what is then not checked."""
    low, high = _CHAIN_NM
    for chain in topology.chains:
        traces = [next((a for a in residue.atoms if a.name == "CA"), None) for residue in chain.residues]
        for one, other in pairwise(traces):
            if one is None or other is None:
                continue
            if low < float(np.linalg.norm(positions[one.index] - positions[other.index])) < high:
                topology.add_bond(one, other)
    return _CHAIN_ALONE if topology.n_bonds else _NO_BONDS


def _pairs(topology: mdtraj.Topology) -> IntArray:
    """Bonded atoms, lower index first, shape (n_bonds, 2)."""
    pairs = {tuple(sorted((one.index, other.index))) for one, other in topology.bonds}
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def check_alignable(cv_atoms: IntArray, positions: FloatArray, *, place: str = "cv.atoms") -> None:
    """Refuse atoms that cannot be superposed: rotations onto a reference are unique only for three atoms or
    more that are not on a line.

    Raises:
        MolecularSystemError: then.
    """
    if len(cv_atoms) < 3:
        raise MolecularSystemError(
            f"{place}: needs at least 3 atoms to superpose frames on each other, got {len(cv_atoms)}; "
            "widen the selection"
        )
    try:
        align(positions[cv_atoms], positions[None, cv_atoms])
    except AlignmentError as error:
        raise MolecularSystemError(
            f"{place}: needs atoms that are not on a line, to superpose frames on each other; widen the "
            "selection"
        ) from error
