"""A molecule of which a topology file and frames are all there is: no system folder, no force field."""

import hashlib
from dataclasses import replace
from pathlib import Path

import mdtraj

from aecv.ground.arrays import IntArray
from aecv.ground.errors import SamplingError, SettingsError
from aecv.ground.layers import Overrides
from aecv.molecules.selection import select_atoms
from aecv.molecules.spec import atoms_alone
from aecv.molecules.subject import Subject
from aecv.workflow.frames.frame_reading import (
    OWN_TOPOLOGY,
    ending,
    first_frame,
    name_of,
    read_topology,
)
from aecv.workflow.frames.input_frames import FrameFiles, Frames, frame_files
from aecv.workflow.frames.input_weights import as_weights

_NO_POSITIONS = (
    "frames: {} has no positions, so that frames are held against the first of them: its own unit of length, "
    "order of atoms and handedness are not checked"
)


def read_subject(
    frames: Frames,
    *,
    atoms: str | IntArray = "all",
    place: str = "--atoms",
    config: str | Path | None = None,
    overrides: Overrides = (),
) -> Subject:
    """The molecule that a topology names, with the structure in it, or the first frame where it has none.

    Args:
        frames: `FrameFiles` with a topology, or files that name their atoms themselves (.pdb, .gro, .h5).
        atoms: those of the CV: an mdtraj selection, or indices in the topology, shape (n,).
        place: what chose them, for messages.
        config, overrides: settings, as in `load_system`; [autoencoder], [training] and run.seed count.

    Raises:
        SettingsError: without a topology, for settings that are not valid, or for a bias without its
            temperature.
        SamplingError: when the topology cannot be read, or has not the atoms of the frames.
        MolecularSystemError: when the selection cannot be read, or gives too few atoms.

    Example:
        >>> import aecv
        >>> structure = aecv.load_system("ala2").structure_path
        >>> molecule = aecv.read_subject(structure, atoms="name CA C N")
        >>> molecule.n_atoms, len(molecule.cv_atom_indices)
        (22, 6)
    """
    files = frame_files(frames)
    path = own_topology(files)
    if path is None:
        raise SettingsError(
            f"{name_of(files.sources[0])}: needs a topology that names its atoms; give it with --top, or a "
            "system with --system"
        )
    _check_temperature(files)
    topology = read_topology(path)
    selection = atoms if isinstance(atoms, str) else "all"
    spec = atoms_alone(path, atoms=selection, hash=_hash_of(topology), config=config, overrides=overrides)
    chosen = select_atoms(topology, spec.settings.cv.atoms, place=place) if isinstance(atoms, str) else atoms
    if chosen.max() >= topology.n_atoms:
        raise SamplingError(
            f"{path}: needs atom {chosen.max()} of {place}, names {topology.n_atoms} atoms; give the "
            "topology that the CV was learned with"
        )
    has_positions = ending(path) in OWN_TOPOLOGY
    positions, box = first_frame(path if has_positions else files.sources[0], topology)
    made = Subject.of_atoms(spec, topology, positions, box=box, chosen=chosen, place=place)
    return made if has_positions else replace(made, unchecked=(_NO_POSITIONS.format(path), *made.unchecked))


def _check_temperature(files: FrameFiles) -> None:
    """Refuse weights from a bias without the kT that they are made with: no system says it."""
    weights = None if files.weights is None else as_weights(files.weights)
    if weights is not None and weights.bias and weights.temperature_k is None:
        raise SettingsError(
            "--bias-column: needs the temperature of the biased run, since no system tells it; give it with "
            "--bias-temperature"
        )


def own_topology(files: FrameFiles) -> Path | None:
    """The file that names the atoms of frames: their topology, or the first of them; None where none does."""
    first = files.sources[0]
    if files.topology_path is None and isinstance(first, Path) and ending(first) in OWN_TOPOLOGY:
        return first
    return files.topology_path


def named_atoms(files: FrameFiles) -> str:
    """SHA-256 of what the atoms of frames are called; see `read_subject`, whose system hash it is."""
    path = own_topology(files)
    return "" if path is None else _hash_of(read_topology(path))


def _hash_of(topology: mdtraj.Topology) -> str:
    """SHA-256 of what atoms are called, in their order: the same for any format of the same atoms."""
    atoms = (f"{a.residue.name} {a.residue.resSeq} {a.name} {a.element.symbol}" for a in topology.atoms)
    return hashlib.sha256("\n".join(atoms).encode()).hexdigest()
