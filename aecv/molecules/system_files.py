"""Which files a system consists of: those that system.toml names, and those that these include.

A Gromacs topology includes others by `#include`, an OpenMM force field by `<Include file="..."/>`. All of
them belong to the system: they lie in its folder and count in its hash.
"""

import os
from pathlib import Path

from aecv.ground.errors import MolecularSystemError, suggestion
from aecv.ground.files import is_file, is_inside
from aecv.ground.settings import Settings
from aecv.molecules.gromacs_text import gromacs_text
from aecv.molecules.xml_files import xml_root

FILE_NAME = "system.toml"


def named_files(settings: Settings) -> list[tuple[str, str]]:
    """Key and name of every file that [system] names, but for those of system.forcefield."""
    system = settings.system
    keys: list[tuple[str, str | None]] = [("structure", system.structure), ("topology", system.topology)]
    keys += [("parameters", name) for name in system.parameters]
    keys += [("starts", name) for name in system.starts]
    return [(key, name) for key, name in keys if name is not None]


def check_files(directory: Path, settings: Settings) -> None:
    """Every file is there, and inside the system's folder.

    Raises:
        MolecularSystemError: naming the key, the file, and one of a similar name where there is one.
    """
    system, source = settings.system, directory / FILE_NAME
    named = named_files(settings)
    confined = [*named, *(("forcefield", name) for name in system.forcefield)]
    if system.include is not None:
        confined.append(("include", system.include))
    for key, name in confined:
        if Path(name).is_absolute() or not is_inside(directory / name, directory):
            raise MolecularSystemError(
                f"{source}: system.{key} needs a path inside the system's folder, got '{name}'; "
                "copy the file there"
            )
    for key, name in named:
        if not is_file(directory / name):
            present = [item.name for item in directory.iterdir() if item.is_file()]
            raise MolecularSystemError(
                f"{source}: system.{key} names '{name}', not in {directory}{suggestion(name, present)}"
            )
    if system.include is not None and not (directory / system.include).is_dir():
        raise MolecularSystemError(
            f"{source}: system.include names '{system.include}', which is no folder in {directory}"
        )
    included_files(directory, settings)


def all_files(directory: Path, settings: Settings) -> tuple[str, ...]:
    """Names, relative to the folder, of all files that a system consists of, system.toml first.

    Raises:
        MolecularSystemError: when an included file is missing or outside the folder.
    """
    local = [name for name in settings.system.forcefield if is_file(directory / name)]
    named = [name for _, name in named_files(settings)]
    return (FILE_NAME, *named, *local, *included_files(directory, settings))


def included_files(directory: Path, settings: Settings) -> tuple[str, ...]:
    """Names, relative to the folder, of the files that topology and force field include, each once.

    Raises:
        MolecularSystemError: when one is missing, unreadable, or outside the folder.
    """
    system = settings.system
    found: list[Path] = []
    if system.topology is not None and system.format == "gromacs":
        top = directory / system.topology
        found += gromacs_text(top, (directory / (system.include or "."),)).included
    for name in system.forcefield:
        if is_file(directory / name):
            found += forcefield_includes(directory / name)
    names = []
    for path in found:
        if not is_inside(path, directory):
            raise MolecularSystemError(
                f"{directory / FILE_NAME}: included file {path} needs to be inside the system's folder; copy "
                "it there"
            )
        names.append(os.path.relpath(path.resolve(), directory))
    return tuple(dict.fromkeys(names))


def forcefield_includes(top: Path) -> list[Path]:
    """Files beside a force-field file that it includes, and those that these include, each once, in order.

    Others of that name are OpenMM's own.

    Raises:
        MolecularSystemError: when one cannot be read.
    """
    found: dict[Path, Path] = {}
    waiting = [top]
    while waiting:
        path = waiting.pop()
        if path.resolve() in found:
            continue
        found[path.resolve()] = path
        names = (element.get("file", "") for element in xml_root(path).findall("Include"))
        waiting += reversed([path.parent / name for name in names if is_file(path.parent / name)])
    return list(found.values())[1:]
