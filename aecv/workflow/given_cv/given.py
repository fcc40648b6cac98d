"""A CV as a user names it: observables of the system, a file of ours, a model of another program."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aecv.ground.errors import CVError
from aecv.ground.files import is_file
from aecv.ground.observable_kinds import KINDS
from aecv.models.cvs.archive import metadata_inside
from aecv.models.cvs.cv import CV
from aecv.models.cvs.foreign_cv import Foreign, foreign_cv
from aecv.models.cvs.observable_cv import observable_cv
from aecv.models.inputs.features import read_features
from aecv.molecules.selection import select_atoms
from aecv.molecules.subject import Subject
from aecv.workflow.run_folder.cv_of_run import load_cv

_SUFFIXES = (".pt", ".json", ".npz", ".pth", ".ptc")


@dataclass(frozen=True, kw_only=True)
class GivenCV:
    """What is said about a CV; called with a system, it makes the CV.

    Attributes:
        what: names of observables with commas between them, a cv.pt, cv.json, cv.npz or folder of ours, or
            another program's TorchScript file.
        atoms: the atoms of another program's model, in its order: an mdtraj selection (the topology's order)
            or 0-based indices with commas between them.
        features: file of another program's input features; see `aecv.models.inputs.features`.
        ranges: per component lower and upper end of the biased run; of observables and CVs of aecv those
            that are not periodic; empty: from the file, or the hot run's frames.
        periodic: components, counted from 1, of another program's CV whose range is a period.
        length_unit: of another program's positions and distances, "nm" or "angstrom".
        input_shape: shape of the input of another program's model; None: by the rule of `probing`.
    """

    what: str
    atoms: str | None = None
    features: Path | None = None
    ranges: tuple[tuple[float, float], ...] = ()
    periodic: tuple[int, ...] = ()
    length_unit: str = "nm"
    input_shape: str | None = None

    def __call__(self, system: Subject) -> CV:
        """The CV for a system.

        Raises:
            AecvError: when something that was said does not fit; the message tells which.
        """
        path = Path(self.what).expanduser()
        names = tuple(name.strip() for name in self.what.split(",") if name.strip())
        is_place = path.suffix in _SUFFIXES or path.is_dir() or len(path.parts) > 1
        if set(names) <= set(system.observables.names) or not is_place:
            if not set(names) <= set(system.observables.names) and is_file(path):
                raise CVError(
                    f"{path}: needs a CV of aecv (.pt, .json, .npz or its folder) or another program's "
                    "TorchScript file (.pt, .pth, .ptc), the file there is none by its ending; nor is it one "
                    f"of the observables {', '.join(system.observables.names)}"
                )
            return self._observables(names, system)
        ours = path.is_dir() or path.suffix in (".json", ".npz") or metadata_inside(path) is not None
        return self._ours(path) if ours else self._of_others(path, system)

    def _observables(self, names: tuple[str, ...], system: Subject) -> CV:
        self._refuse(self.what, "names of observables", ("atoms", "features", "periodic", "input_shape"))
        kinds = system.observables.kinds
        wide = [name for name in names if name in kinds and not KINDS[kinds[name]].is_periodic]
        if self.ranges and len(self.ranges) != len(wide):
            raise CVError(
                f"CV: needs one range for each of {', '.join(wide) or 'no component'} (dihedrals are "
                f"periodic and need none), got {len(self.ranges)}"
            )
        return observable_cv(system.observables, names, ranges=dict(zip(wide, self.ranges, strict=False)))

    def _ours(self, path: Path) -> CV:
        self._refuse(path, "a CV of aecv", ("atoms", "features", "periodic", "input_shape"))
        cv = load_cv(path)
        if not self.ranges:
            return cv
        # a dihedral keeps its period
        open_ends = np.flatnonzero(~np.array(cv.periodic))
        self._check_count(len(open_ends), "; its periodic ones keep their period" if any(cv.periodic) else "")
        cv_range = cv.cv_range.copy()
        cv_range[open_ends] = self.ranges
        return replace(cv, cv_range=cv_range)

    def _of_others(self, path: Path, system: Subject) -> CV:
        if self.atoms is not None and self.features is not None:
            raise CVError(f"{path}: needs its atoms or its features, got both; the features name their atoms")
        topology = system.mdtraj_topology
        foreign = Foreign(
            path=path,
            atom_indices=None if self.atoms is None else _atoms(self.atoms, system),
            features=None if self.features is None else read_features(self.features, topology),
            length_unit=self.length_unit,
            layout=self.input_shape,
        )
        flags: Sequence[bool] = ()
        if self.periodic:
            n = len(self.ranges)
            if not all(1 <= c <= n for c in self.periodic):
                raise CVError(f"{path}: periodic components need their range, one period; got {n} ranges")
            flags = [c + 1 in self.periodic for c in range(n)]
        return foreign_cv(
            foreign,
            system.positions,
            cv_range=np.array(self.ranges) if self.ranges else None,
            periodic=flags,
            is_free=system.spec.settings.cv.align,
        )

    def _refuse(self, what: str | Path, kind: str, names: Sequence[str]) -> None:
        given = [name for name in names if getattr(self, name)]
        if self.length_unit != "nm":
            given.append("length_unit")
        if given:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise CVError(f"CV: '{what}' is {kind}, which says that itself; leave {options} out")

    def _check_count(self, d: int, note: str) -> None:
        if len(self.ranges) != d or not all(low < high for low, high in self.ranges):
            raise CVError(
                f"CV: needs a range lower < upper for each of {d} components{note}; got {self.ranges}"
            )


def _atoms(text: str, system: Subject) -> tuple[int, ...]:
    parts = text.split(",")
    if all(part.strip().isdigit() for part in parts):
        return tuple(int(part) for part in parts)
    return tuple(int(atom) for atom in select_atoms(system.mdtraj_topology, text, place="--atoms"))
