"""Helicity: the share of residues in helical runs, by their backbone dihedrals."""

from functools import partial

import mdtraj
import numpy as np
from mdtraj.geometry.dihedral import indices_phi, indices_psi

from aecv.ground.arrays import BoolArray, FloatArray, IntArray
from aecv.ground.errors import MolecularSystemError
from aecv.molecules.geometry import dihedrals
from aecv.molecules.observables.measure import Measure, Selected

PHI_WINDOW, PSI_WINDOW = (-100.0, -30.0), (-67.0, -7.0)
"""Where a residue is helical [degree]."""
SHORTEST_RUN = 3
"""Consecutive helical residues that count as a helix."""


def measure(selected: Selected) -> Measure:
    """Of the selected residues, with a bin per value, or per an even number of them."""
    rows = backbone_rows(selected.topology, selected.atoms, place=selected.place)
    return Measure(
        atoms=rows, values=partial(helicity, joined=follows(rows)), edges=partial(value_edges, len(rows))
    )


def helicity(points: FloatArray, joined: BoolArray) -> FloatArray:
    """Share of residues in helical runs.

    A residue is helical where -100 <= phi <= -30 and -67 <= psi <= -7 degrees, and counts where it is one of
    at least three consecutive helical residues, those at the ends of the run included.

    Args:
        points: C, N, CA, C, N around every residue [nm], shape (F, n, 5, 3), in the order of the chain.
        joined: whether residue k + 1 is bonded to residue k, shape (n - 1,); elsewhere runs end.

    Returns:
        shape (F,), between 0 and 1.

    Source: Best and Hummer, J. Phys. Chem. B 113, 9004 (2009), doi:10.1021/jp901540t, for Ac-(AAQAA)3-NH2.
    """
    phi, psi = (
        np.degrees(dihedrals(points[:, :, k : k + 4].reshape(-1, 4, 3))).reshape(points.shape[:2])
        for k in (0, 1)
    )
    helical = _within(phi, PHI_WINDOW) & _within(psi, PSI_WINDOW)
    starts = helical[:, :-2] & helical[:, 1:-1] & helical[:, 2:] & joined[:-1] & joined[1:]
    counted = np.zeros_like(helical)
    for shift in range(SHORTEST_RUN):
        counted[:, shift : shift + starts.shape[1]] |= starts
    return np.asarray(np.mean(counted, axis=1))


def _within(values: FloatArray, window: tuple[float, float]) -> BoolArray:
    return np.asarray((window[0] <= values) & (values <= window[1]))


def value_edges(n_residues: int, n_bins: int) -> FloatArray:
    """Edges of at most n_bins bins around the values 0, 1/n, ..., 1, each with the same number of them."""
    per_bin = -(-(n_residues + 1) // n_bins)
    n = -(-(n_residues + 1) // per_bin)
    return np.asarray((per_bin * np.arange(n + 1) - 0.5) / n_residues)


def follows(rows: IntArray) -> BoolArray:
    """Whether each row of `backbone_rows` is bonded to the one before it; shape (n - 1,)."""
    return np.asarray(rows[1:, 0] == rows[:-1, 3])


def backbone_rows(topology: mdtraj.Topology, selected: IntArray, *, place: str) -> IntArray:
    """C, N, CA, C, N around the selected residues that have both phi and psi, in the topology's order.

    They are those of mdtraj's phi and psi, with caps (ACE, NME, NHE) as neighbours, where bonds join them: a
    chain may have a gap. A residue is selected by any of its atoms.

    Args:
        topology: all atoms, with bonds.
        selected: indices of atoms.
        place: for messages.

    Returns:
        shape (n, 5).

    Raises:
        MolecularSystemError: for fewer residues than a helical run has.
    """
    wanted = {topology.atom(int(index)).residue.index for index in selected}
    bonded = {frozenset((first.index, second.index)) for first, second in topology.bonds}
    phi = {int(row[2]): row.tolist() for row in indices_phi(topology)}
    psi = {int(row[1]): row.tolist() for row in indices_psi(topology)}
    rows = [
        [*phi[alpha], psi[alpha][3]]
        for alpha in sorted(phi.keys() & psi.keys())
        if topology.atom(alpha).residue.index in wanted
        and {frozenset(phi[alpha][:2]), frozenset(psi[alpha][2:])} <= bonded
    ]
    if len(rows) < SHORTEST_RUN:
        raise MolecularSystemError(
            f"{place}: a helicity needs at least {SHORTEST_RUN} residues with both phi and psi, got "
            f"{len(rows)}; widen the selection (for example atoms = [\"protein\"]), or take kind = 'dihedral'"
        )
    return np.array(rows, dtype=np.int64)
