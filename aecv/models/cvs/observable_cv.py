"""Observables of a system as collective variables."""

from collections.abc import Mapping, Sequence

import numpy as np

from aecv.ground.errors import CVError, suggestion
from aecv.ground.observable_kinds import KINDS, OF_ONE_SELECTION
from aecv.models.cvs.cv import CV, checked_range
from aecv.models.cvs.internal_map import InternalMap
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.numerics.kernels.internal import InternalCoordinates


def observable_cv(
    observables: ObservableSet,
    names: Sequence[str],
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> CV:
    """Observables of a system as a collective variable, compiled.

    A dihedral is periodic over [-pi, pi). The others are as wide as `ranges` says; one that it does not name
    has no range yet, see `biasing.with_range`.

    Args:
        observables: those of the system.
        names: one per component, 1 to 3.
        ranges: lower and upper end of a biased run per name [nm or rad]; not for dihedrals.

    Raises:
        CVError: for a name that is not there or comes twice, or a range that is none.
    """
    limits = dict(ranges or {})
    for name in (*names, *limits):
        if name not in observables.names:
            raise CVError(
                f"CV: '{name}' is none of the observables {', '.join(observables.names)}"
                f"{suggestion(name, observables.names)}"
            )
    if not 1 <= len(names) <= 3 or len(set(names)) != len(names):
        raise CVError(f"CV: needs 1 to 3 different observables, got {', '.join(names) or 'none'}")
    for name in names:
        if observables.kinds[name] in OF_ONE_SELECTION:
            raise CVError(
                f"CV: '{name}' is {KINDS[observables.kinds[name]].words}, which is measured and drawn "
                "but cannot be biased along; take dihedrals, angles or distances, or write it as a function "
                "in torch (see sample_along)"
            )
    known = [KINDS[observables.kinds[name]] for name in names]
    periodic = tuple(kind.is_periodic for kind in known)
    cv_range = np.full((len(names), 2), np.nan)
    for row, name, kind in zip(cv_range, names, known, strict=True):
        if kind.is_periodic and name in limits:
            raise CVError(f"CV: '{name}' is {kind.words} and periodic; leave its range out")
        row[:] = kind.bounds if kind.is_periodic else limits.get(name, (np.nan, np.nan))
    own = [observables.indices[name] for name in names]
    atoms, local = np.unique(np.concatenate(own), return_inverse=True)
    parts = np.split(local, np.cumsum([len(indices) for indices in own])[:-1])
    internal = InternalCoordinates(
        kinds=tuple(observables.kinds[name] for name in names),
        atoms=tuple(tuple(int(atom) for atom in part) for part in parts),
        axes=tuple(observables.axes.get(name) for name in names),
        n_atoms=len(atoms),
    )
    return CV(
        source=", ".join(names),
        map=InternalMap(internal=internal),
        atom_indices=atoms.astype(np.int64),
        cv_range=checked_range(cv_range, periodic),
        periodic=periodic,
    )
