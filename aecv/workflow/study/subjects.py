"""The molecule whose frames are looked at: a system with forces, or what a topology names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aecv.ground.errors import CVError
from aecv.models.cvs.archive import metadata_inside
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import SystemSpec, as_system, shipped_systems
from aecv.molecules.subject import Subject
from aecv.workflow.frames.input_frames import FrameFiles
from aecv.workflow.frames.own_topology import named_atoms, own_topology, read_subject
from aecv.workflow.run_folder.cv_of_run import as_cv


def subject_of(given: SystemSpec | Subject | str | Path) -> Subject:
    """A molecule as it is, or the system of a description, name or folder with its forces."""
    if isinstance(given, Subject):
        return given
    # OpenMM, which a topology does without
    from aecv.sampling.system.molecular_system import build

    return build(as_system(given))


def frames_subject(
    cvs: Sequence[CV | str | Path], files: FrameFiles, system: SystemSpec | Subject | str | Path | None
) -> Subject:
    """The molecule whose frames are meant: the one named, what their topology names, or the CV's system.

    A topology counts where it names the very atoms that the CV was learned on, or where that was no system
    which comes with aecv.

    Args:
        cvs: of its atoms; the first one says what it was learned on.

    Raises:
        CVError: when there is no system that aecv knows by its name, and no topology.
    """
    if system is not None:
        return subject_of(system)
    learned = _of_aecv(cvs[0])
    name, hash = ("", "") if learned is None else (learned.system, learned.system_hash)
    has_names = bool(name) and own_topology(files) is not None
    if learned is not None and has_names and (name not in shipped_systems() or named_atoms(files) == hash):
        found = [learned, *map(as_cv, cvs[1:])]
        atoms = np.unique(np.concatenate([cv.atom_indices for cv in found]))
        place = ", ".join(dict.fromkeys(str(cv.source) for cv in found))
        return read_subject(files, atoms=atoms, place=place)
    if name in shipped_systems():
        return subject_of(name)
    first = cvs[0]
    needs = f"{first.source if isinstance(first, CV) else first}: needs the system of the frames"
    if name:
        raise CVError(
            f"{needs}: '{name}', on which it was learned, is none that comes with aecv; name the topology "
            "that it was learned with (--top), or its folder (--system)"
        )
    is_there = isinstance(first, CV) or Path(first).exists()
    what = (
        "it does not say on which it was learned" if is_there else "there is no file or folder of that name"
    )
    raise CVError(f"{needs}: name it (--system); {what}")


def _of_aecv(cv: CV | str | Path) -> CV | None:
    """The CV, where it can say what it was learned on; None for observables and models of other programs."""
    if isinstance(cv, CV):
        return cv
    path = Path(cv)
    is_place = path.suffix in (".pt", ".json", ".npz") or len(path.parts) > 1
    if not (path.exists() or is_place) or (
        path.is_file() and path.suffix == ".pt" and metadata_inside(path) is None
    ):
        return None
    return as_cv(path)
