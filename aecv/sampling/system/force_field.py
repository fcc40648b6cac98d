"""OpenMM's force field from files that hold no code, and from nothing but these."""

from collections import deque
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path, PurePath
from xml.etree import ElementTree

from openmm import app

from aecv.ground.errors import MolecularSystemError, suggestion
from aecv.ground.files import is_file
from aecv.molecules.spec import SystemSpec
from aecv.molecules.xml_files import rewritten, xml_root

_SCRIPTS = ("Script", "InitializationScript")
_EVALUATED = "useDispersionCorrection"
"""An attribute that OpenMM's reader hands to Python's eval (8.0 to 8.6)."""
_TRUTHS = ("True", "False", "1", "0")


def forcefield_of(spec: SystemSpec) -> app.ForceField:
    """The force field of a system's files: those in its folder, else OpenMM's own.

    Raises:
        MolecularSystemError: for a name that is neither, or a file of the folder with code in it.
    """
    for name in spec.forcefield_files:
        if not PurePath(name).is_absolute() and _of_openmm(name) is None:
            raise MolecularSystemError(
                f"{spec.directory}: system.forcefield names '{name}', neither in the system's folder nor "
                f"one of OpenMM's files{forcefield_hint(spec, name)}"
            )
    return read_force_field(spec.forcefield_files)


def read_force_field(files: Sequence[str]) -> app.ForceField:
    """The force field of some files: absolute paths, or names of OpenMM's own.

    OpenMM alone would look in the current folder first, which no hash covers, follow names like ../x.xml from
    its own folder to anywhere, and run the scripts that a file may hold. It gets the trees that were looked
    at, each file once and in the order in which it would read them, with nothing left to include.

    Raises:
        MolecularSystemError: for a name that is none of OpenMM's, a file with code in it, or one that cannot
            be read, or what it includes.
    """
    waiting: deque[tuple[Path, bool]] = deque()
    for name in files:
        own = _of_openmm(name)
        if own is None and not PurePath(name).is_absolute():
            known = suggestion(name, _names_of_openmm())
            raise MolecularSystemError(f"force field '{name}': is no file, here or of OpenMM's{known}")
        waiting.append((own or Path(name), own is not None))
    contents: dict[Path, str | BytesIO] = {}
    while waiting:
        path, is_own = waiting.popleft()
        if path.resolve() in contents:
            continue
        contents[path.resolve()] = str(path)
        if is_own and b"<Include" not in path.read_bytes():
            continue  # large, and the package is trusted
        root = xml_root(path)
        if not is_own:
            _check_harmless(path, root)
        for element in root.findall("Include"):
            waiting.append(_included(path, element.get("file", ""), is_own))
            root.remove(element)
        contents[path.resolve()] = rewritten(root)
    return app.ForceField(*contents.values())


def _included(path: Path, name: str, is_own: bool) -> tuple[Path, bool]:
    """The file that another one includes, and whether it is OpenMM's."""
    if is_file(path.parent / name):
        return path.parent / name, is_own
    own = _of_openmm(name)
    if own is None:
        raise MolecularSystemError(
            f"{path}: includes {name!r}, which needs to lie beside it or to be one of OpenMM's files; "
            "copy it there"
        )
    return own, True


def _of_openmm(name: str) -> Path | None:
    """A file of OpenMM's, or of a package that brings force fields for it."""
    if PurePath(name).is_absolute() or ".." in PurePath(name).parts:  # would lead out of these folders
        return None
    places = (Path(folder) / name for folder in app.forcefield._getDataDirectories())
    return next((place for place in places if is_file(place)), None)


def _check_harmless(path: Path, root: ElementTree.Element) -> None:
    """Refuse what would run as code."""
    for element in root.iter():
        if element.tag in _SCRIPTS:
            raise MolecularSystemError(
                f"{path}: holds a script, which would run as Python code; make a System of it yourself where "
                "you trust it, and give that as system.topology (XmlSerializer.serialize)"
            )
        if element.get(_EVALUATED, "True") not in _TRUTHS:
            raise MolecularSystemError(
                f"{path}: {_EVALUATED} of its {element.tag} needs to be True or False, since OpenMM would "
                f"run it as Python code; got {element.get(_EVALUATED)!r:.60}"
            )


def forcefield_hint(spec: SystemSpec, detail: str) -> str:
    """The nearest force-field file of OpenMM for a name that it does not know."""
    known = _names_of_openmm()
    missing = [n for n in spec.settings.system.forcefield if n in detail and n not in known]
    return suggestion(missing[0], known) if missing else ""


def _names_of_openmm() -> list[str]:
    root = Path(app.__file__).parent / "data"
    return [str(path.relative_to(root)) for path in root.rglob("*.xml")]
