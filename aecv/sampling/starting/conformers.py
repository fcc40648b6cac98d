"""Distinct conformers among minimised structures: far apart, and of the right stereochemistry."""

import logging
from dataclasses import dataclass

import mdtraj
import numpy as np

from aecv.ground.arrays import FloatArray, IntArray
from aecv.ground.errors import SimulationError
from aecv.ground.settings import StartSettings
from aecv.sampling.system.molecular_system import MolecularSystem

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Which minima are starts.

    Attributes:
        indices: of the minima, the one of lowest energy first.
        n_inverted, n_cis_trans: minima of another chirality, and with a peptide bond that turned over.
        n_conformers: distinct ones among the others.
    """

    indices: IntArray
    n_inverted: int
    n_cis_trans: int
    n_conformers: int


def choose_starts(
    molecular_system: MolecularSystem, positions: FloatArray, energies: FloatArray, settings: StartSettings
) -> Chosen:
    """The minima to start from, at most max_starts that are far apart.

    Torn molecules are dropped, the rest is clustered by the RMSD of the heavy atoms, lowest energy first.

    Args:
        positions: minima, shape (n, N, 3) [nm].
        energies: theirs, shape (n,) [kJ/mol].

    Raises:
        SimulationError: when none keeps the structure's stereochemistry.
    """
    inverted = molecular_system.stereo.inverted(positions)
    turned = molecular_system.stereo.turned(positions)
    sound = np.flatnonzero(~inverted & ~turned)
    if len(sound) == 0:
        raise SimulationError(
            f"starts of '{molecular_system.spec.name}': needs a minimum with the structure's chirality and "
            f"cis-trans state, none of {len(positions)} has it; relax the structure or use --starts one"
        )
    order = sound[np.argsort(energies[sound], kind="stable")]
    distances = _rmsd_matrix(molecular_system, positions[order])
    conformers = _cluster(distances, settings.min_rmsd_nm)
    chosen = order[_spread(distances, conformers, settings.max_starts)]
    logger.info(
        "starts: %d of %d conformers from %d minima (%d inverted, %d cis-trans dropped)",
        len(chosen),
        len(conformers),
        len(positions),
        np.count_nonzero(inverted),
        np.count_nonzero(turned),
    )
    return Chosen(
        indices=chosen,
        n_inverted=int(np.count_nonzero(inverted)),
        n_cis_trans=int(np.count_nonzero(turned)),
        n_conformers=len(conformers),
    )


def _rmsd_matrix(molecular_system: MolecularSystem, positions: FloatArray) -> FloatArray:
    """RMSD of the heavy atoms after optimal superposition [nm], shape (n, n); of a particle the distance."""
    if not molecular_system.spec.settings.cv.align:
        return np.asarray(
            np.sqrt(np.mean(np.sum((positions[:, None] - positions[None]) ** 2, axis=3), axis=2)), dtype=float
        )
    heavy = molecular_system.heavy_atom_indices
    atoms = heavy if len(heavy) >= 3 else np.arange(molecular_system.n_solute_atoms)
    trajectory = mdtraj.Trajectory(positions[:, atoms], molecular_system.mdtraj_topology.subset(atoms))
    rows = [mdtraj.rmsd(trajectory, trajectory, frame) for frame in range(len(positions))]
    return np.array(rows, dtype=float).reshape(len(positions), len(positions))


def _cluster(distances: FloatArray, minimum: float) -> list[int]:
    """Frames that are at least `minimum` from each one taken before, in the order given."""
    taken: list[int] = []
    for frame in range(len(distances)):
        if not taken or distances[frame, taken].min() > minimum:
            taken.append(frame)
    return taken


def _spread(distances: FloatArray, frames: list[int], n_max: int) -> list[int]:
    """The first frame and then always the one farthest from those taken, at most n_max."""
    taken = frames[:1]
    while len(taken) < min(n_max, len(frames)):
        rest = [frame for frame in frames if frame not in taken]
        taken.append(max(rest, key=lambda frame: (distances[frame, taken].min(), -frame)))
    return taken
