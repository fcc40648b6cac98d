"""Loading a collective variable, with a look at the run that it may come from."""

from pathlib import Path

from numpy.typing import ArrayLike

from aecv.ground.errors import CVError, StoreError
from aecv.models.cvs import cv_files
from aecv.models.cvs.cv import CV
from aecv.workflow.run_folder.stage_records import checked

_PLACES = ("iteration_", "along")
"""How folders of a run begin that hold a CV."""


def load_cv(path: str | Path, *, atom_indices: ArrayLike | None = None) -> CV:
    """A collective variable from its files; of a run, from those that its stages wrote, and no others.

    Args:
        path: cv.pt, cv.json, cv.npz, or a folder that holds them. With the plain files a .pt of the same
            name beside them is used for comparisons. A .pt of another origin works too.
        atom_indices: needed for a .pt of another origin; not accepted otherwise.

    Raises:
        CVError: when a file is missing, damaged, of a newer format or not what its hashes say; in a run, when
            it has changed since its stage wrote it.

    Example:
        >>> import aecv, mdtraj
        >>> cv = aecv.load_cv("runs/ala2/iteration_02")
        >>> frames = mdtraj.load(aecv.load_system("ala2").structure_path)
        >>> cv.of_frames(frames.xyz).shape
        (1, 2)
    """
    location = Path(path)
    _check_run(location if location.is_dir() else location.parent)
    if (location / "run.json").is_file():
        places = [item.parent for item in location.glob("*/cv.json") if item.parent.name.startswith(_PLACES)]
        last = max(places, key=lambda place: (len(place.name), place.name), default=None)
        advice = "it has none yet" if last is None else f"name {last}"
        raise CVError(f"{location}: needs a CV, this is a run; {advice}")
    return cv_files.load_cv(location, atom_indices=atom_indices)


def as_cv(given: CV | str | Path) -> CV:
    """A CV, or that of a file or folder; errors as `load_cv`."""
    return given if isinstance(given, CV) else load_cv(given)


def _check_run(folder: Path) -> None:
    """Of a CV in a run's folder, that its files are those that the run wrote."""
    try:
        for name in ("cv.json", "cv.npz", "cv.pt"):
            checked(folder / name)
    except StoreError as error:
        raise CVError(str(error)) from error
