"""Radius of gyration, by mass."""

from functools import partial

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import MolecularSystemError
from aecv.molecules.observables.measure import Measure, Selected


def measure(selected: Selected) -> Measure:
    """Of the selected atoms with the masses of their elements [Da], not those that hydrogens may have in the
    dynamics."""
    elements = [selected.topology.atom(int(index)).element for index in selected.atoms]
    masses = np.array([0.0 if element is None else element.mass for element in elements])
    if np.count_nonzero(masses) < 2:
        raise MolecularSystemError(
            f"{selected.place}: a radius of gyration needs at least 2 atoms with masses, got "
            f"{np.count_nonzero(masses)} of {len(masses)}; widen the selection"
        )
    return Measure(atoms=selected.atoms, values=partial(radius_of_gyration, masses=masses))


def radius_of_gyration(points: FloatArray, masses: FloatArray) -> FloatArray:
    """Mass-weighted radius of gyration [nm], sqrt(sum_i m_i |x_i - x_com|^2 / sum_i m_i).

    Args:
        points: shape (F, n, 3) [nm].
        masses: shape (n,), in any unit; their sum is positive.

    Returns:
        shape (F,).
    """
    shares = masses / masses.sum()
    apart = points - np.einsum("i,fia->fa", shares, points)[:, None]
    return np.asarray(np.sqrt(np.einsum("i,fia,fia->f", shares, apart, apart)))
