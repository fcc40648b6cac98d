"""Root-mean-square distance from the structure."""

from functools import partial

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import AlignmentError, MolecularSystemError
from aecv.molecules.observables.measure import Measure, Selected
from aecv.numerics.kernels.encoder import align


def measure(selected: Selected) -> Measure:
    """The RMSD of the selected atoms from where the structure has them; they need to have an orientation."""
    if selected.positions is None:
        raise MolecularSystemError(
            f"{selected.place}: an rmsd needs the positions of the structure, got none"
        )
    if len(selected.atoms) < 3:
        raise MolecularSystemError(
            f"{selected.place}: an rmsd needs at least 3 atoms to superpose, got {len(selected.atoms)}; "
            "widen the selection, or take kind = 'distance'"
        )
    reference = selected.positions[selected.atoms]
    try:
        align(reference, reference[None])
    except AlignmentError as error:
        raise MolecularSystemError(
            f"{selected.place}: an rmsd needs atoms that are not on a line; widen the selection"
        ) from error
    return Measure(atoms=selected.atoms, values=partial(rmsd, reference=reference))


def rmsd(points: FloatArray, reference: FloatArray) -> FloatArray:
    """Root-mean-square distance of atoms from a reference after optimal superposition, unweighted [nm].

    sqrt(min_R sum_i |R (x_i - <x>) - (y_i - <y>)|^2 / n); (F, n, 3) and (n, 3) -> (F,).

    Raises:
        AlignmentError: for a frame whose superposition is not unique.
    """
    target = reference - reference.mean(axis=0)
    apart = align(reference, points) - target
    return np.asarray(np.sqrt(np.einsum("fai,fai->f", apart, apart) / len(target)))
