"""Whether a CV that was learned on other files acts on the same atoms of this system."""

import logging

import numpy as np

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.models.cvs.cv import CV
from aecv.molecules.subject import Subject

logger = logging.getLogger(__name__)

BOND_NM = 0.17
"""Atoms that are closer than this in a reference count as bonded: C-C is 0.154, H-H of a CH3 0.178."""
LARGEST_CHANGE_NM = 0.03
"""What a bond may differ by: heat does sqrt(kT/k) = 0.003 of Amber's C-C; a C-H for a C-C is 0.04, the
next but one atom of a chain 0.1."""
_MOST_NAMED = 3


def check_same_system(cv: CV, system: Subject) -> None:
    """Refuse a CV that was learned on other atoms, and warn of one that was learned on other files.

    A hash tells that the files differ, not how: a changed setting of system.toml is enough. An aligned CV
    brings its reference structure, whose bonds have to be bonds of this system. Of the others nothing can be
    compared.

    Args:
        cv: nothing is checked where it does not say what system it was learned on.

    Raises:
        CVError: when bonds of the reference are none here; or when the system has another name and nothing
            shows that its atoms are the same ones.
    """
    if not cv.system or cv.system_hash == system.spec.hash:
        return
    is_other = cv.system != system.spec.name
    if is_other and cv.map.knows_place:
        raise CVError(
            f"CV: {cv.source} was learned on '{cv.system}', this is '{system.spec.name}'; it takes positions "
            "without superposing them, so nothing shows that they mean the same here. Learn one on this "
            f"system; if it is the same one, name it '{cv.system}' in its system.toml"
        )
    compared = _compare_bonds(cv, system)
    says = f"this is '{system.spec.name}'" if is_other else "this system of that name has other files"
    logger.warning(
        "CV: %s was learned on '%s', %s (system.toml, structures or force field differ); %s. It acts on %s: "
        "make sure that these are the same atoms",
        cv.source, cv.system, says, compared, atom_names(cv, system),
    )  # fmt: skip


def atom_names(cv: CV, system: Subject) -> str:
    """The CV's atoms by residue and name, in its order: ACE1-CH3, ACE1-C."""
    atoms = [system.mdtraj_topology.atom(int(index)) for index in cv.atom_indices]
    return ", ".join(f"{atom.residue}-{atom.name}" for atom in atoms)


def _compare_bonds(cv: CV, system: Subject) -> str:
    """What the comparison of reference and structure says, in words; a CVError where they are other atoms."""
    if cv.map.reference is None:
        return "it has no reference structure to compare with this one"
    reference = _distances(cv.map.reference)
    here = _distances(system.positions[cv.atom_indices])
    first, second = np.nonzero(np.triu(reference < BOND_NM, k=1))
    change = np.abs(here - reference)[first, second]
    if not len(change):
        return "no atoms of its reference structure are bonded, so that there is nothing to compare"
    differing = np.flatnonzero(change > LARGEST_CHANGE_NM)
    if not len(differing):
        return f"the {len(change)} bonds of its reference are here too, within {change.max():.3f} nm"
    names = atom_names(cv, system).split(", ")
    told = "; ".join(
        f"{names[i]} to {names[j]} {here[i, j]:.3f} nm, {reference[i, j]:.3f} nm in the reference"
        for i, j in ((first[k], second[k]) for k in differing[:_MOST_NAMED])
    )
    raise CVError(
        f"CV: {cv.source} was learned on other atoms than those of '{system.spec.name}': {len(differing)} of "
        f"{len(change)} bonds of its reference structure are none here ({told}); a bond does not change so "
        "much, so the structure file names its atoms in another order. Put them in the order of the system "
        f"that it was learned on ('{cv.system}'), or learn a CV on this one"
    )


def _distances(positions: FloatArray) -> FloatArray:
    """Between all pairs [nm], shape (n, n), of positions of shape (n, 3)."""
    return np.asarray(np.linalg.norm(positions[:, None] - positions[None], axis=-1))
