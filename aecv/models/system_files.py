"""Which files a system consists of: those that system.toml names, and those that these include.

A Gromacs topology includes others by `#include`, an OpenMM force field by `<Include file="..."/>`. All of
them belong to the system: they lie in its folder and count in its hash.
"""

import os
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

from aecv.ground.errors import MolecularSystemError, suggestion
from aecv.ground.settings import Settings

FILE_NAME = "system.toml"

_GROMACS_DEFINED = ("FLEXIBLE",)
"""What OpenMM's reader of Gromacs topologies takes as defined."""


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
        if Path(name).is_absolute() or not (directory / name).resolve().is_relative_to(directory):
            raise MolecularSystemError(
                f"{source}: system.{key} needs a path inside the system's folder, got '{name}'; "
                "copy the file there"
            )
    for key, name in named:
        if not (directory / name).is_file():
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
    local = [name for name in settings.system.forcefield if (directory / name).is_file()]
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
        found += gromacs_includes(top, (directory / (system.include or "."),))
    for name in system.forcefield:
        if (directory / name).is_file():
            found += forcefield_includes(directory / name)
    names = []
    for path in found:
        if not path.resolve().is_relative_to(directory):
            raise MolecularSystemError(
                f"{directory / FILE_NAME}: included file {path} needs to be inside the system's folder; copy "
                "it there"
            )
        names.append(os.path.relpath(path.resolve(), directory))
    return tuple(dict.fromkeys(names))


def gromacs_includes(top: Path, folders: tuple[Path, ...]) -> list[Path]:
    """Files that a Gromacs topology includes, those that these include, and so on, in order.

    Only what the preprocessor's conditions let through counts, so that a file of position restraints may be
    missing. They are looked for as OpenMM does it: beside the topology, in `folders`, beside the file that
    includes.

    Raises:
        MolecularSystemError: when one is missing, or files include each other.
    """
    defined = dict.fromkeys(_GROMACS_DEFINED, "")
    return list(_gromacs_includes(top, (top.parent, *folders), defined, (top,)))


def _gromacs_includes(
    path: Path, folders: tuple[Path, ...], defined: dict[str, str], chain: tuple[Path, ...]
) -> Iterator[Path]:
    conditions: list[bool] = []
    for number, line in enumerate(_lines(path), 1):
        words = line.split(";")[0].split()
        if not words or not words[0].startswith("#"):
            continue
        command, name = words[0], words[1] if len(words) > 1 else ""
        if command in ("#ifdef", "#ifndef"):
            conditions.append((name in defined) == (command == "#ifdef"))
        elif command == "#else" and conditions:
            conditions[-1] = not conditions[-1]
        elif command == "#endif" and conditions:
            conditions.pop()
        elif not all(conditions):
            continue
        elif command == "#define":
            defined[name] = ""
        elif command == "#undef":
            defined.pop(name, None)
        elif command == "#include":
            wanted = " ".join(words[1:]).strip('"<> ')
            places = [folder / wanted for folder in (*folders, path.parent)]
            place = next((place for place in places if place.is_file()), None)
            if place is None:
                raise MolecularSystemError(
                    f"{path}, line {number}: includes '{wanted}', which is in none of "
                    f"{', '.join(dict.fromkeys(str(folder) for folder in (*folders, path.parent)))}; copy it "
                    "(with its folder) into the system's folder, and name that folder as system.include"
                )
            if place in chain:
                raise MolecularSystemError(f"{path}, line {number}: '{wanted}' includes itself")
            yield place
            yield from _gromacs_includes(place, folders, defined, (*chain, place))


def forcefield_includes(path: Path, chain: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Files beside a force-field file that it includes; others of that name are OpenMM's own."""
    for element in xml_root(path).findall("Include"):
        place = path.parent / element.get("file", "")
        if place.is_file() and place not in chain:
            yield place
            yield from forcefield_includes(place, (*chain, path))


def xml_root(path: Path) -> ElementTree.Element:
    """The root of an XML file without entities.

    Raises:
        MolecularSystemError: when it cannot be read.
    """
    text = "\n".join(_lines(path))
    if re.search(r"<!ENTITY", text):  # a few of them can be made to fill any memory
        raise MolecularSystemError(f"{path}: needs an XML file without entity definitions")
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise MolecularSystemError(f"{path}: needs a readable XML file, got: {error}") from error


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise MolecularSystemError(f"{path}: cannot be read ({error.strerror})") from error
