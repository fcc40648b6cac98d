"""A system's folder that `aecv init` wrote: marked with hashes of its files, by which changes are seen."""

from pathlib import Path

from aecv.ground.errors import StoreError
from aecv.ground.files import read_json, sha256, write_json

MARKS = ".aecv-init.json"
"""Name and hash of every file that was written."""


def write_marks(folder: Path) -> None:
    """Note down the files of a folder."""
    write_json(folder / MARKS, {"files": {name: sha256(folder / name) for name in _names(folder)}})


def why_not_ours(folder: Path) -> str | None:
    """What tells against overwriting a folder, in a clause; None where all of it is as it was written."""
    if folder.is_symlink() or not folder.is_dir():
        return "it is no folder that aecv init wrote"
    try:
        marks = read_json(folder / MARKS)
    except StoreError:
        return "it is no folder that aecv init wrote"
    files = marks.get("files") if isinstance(marks, dict) else None
    if not isinstance(files, dict):
        return f"its {MARKS} is damaged"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or (not path.is_dir() and name not in (*files, MARKS)):
            return f"{name} in it is not from aecv init"
    for name, was in files.items():
        if not (folder / name).is_file():
            return f"{name} is no longer in it"
        if sha256(folder / name) != was:
            return f"{name} has changed since aecv init wrote it"
    return None


def _names(folder: Path) -> list[str]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MARKS]
    return [path.relative_to(folder).as_posix() for path in paths]
