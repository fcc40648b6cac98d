"""Atoms by an mdtraj selection."""

import mdtraj
import numpy as np

from aecv.ground.arrays import IntArray
from aecv.ground.errors import MolecularSystemError

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
