"""OpenMM's System from its XML, which may hold forces that bring code of their own."""

from pathlib import Path
from typing import Any

import openmm

from aecv.ground.errors import MolecularSystemError
from aecv.molecules.xml_files import rewritten, xml_root

_WITH_CODE = ("PythonForce",)
"""Forces whose XML holds a pickled function: reading it would run whatever somebody put there."""


def read_system_xml(path: Path) -> Any:
    """What an XML file of OpenMM describes, a System where it is right, of OpenMM's own forces alone.

    Forces of plugins name files or hold programs: a PlumedForce may write and load any file, a TorchForce is
    a TorchScript program.

    Raises:
        MolecularSystemError: for a file that cannot be read, or forces that could run code. What OpenMM
            raises where it does not take the rest goes on.
    """
    root = xml_root(path)
    known = _own_types()
    for element in root.iter():
        kind = element.get("type", "")
        if kind in _WITH_CODE:
            raise MolecularSystemError(
                f"{path}: has a {kind}, which hides Python code that would run when it is read; "
                "write the System without it"
            )
        # whatever the element is called; of particles it is a number
        if kind and not kind.isdecimal() and kind not in known and element is not root:
            raise MolecularSystemError(
                f"{path}: has a force of type {kind!r:.60}, which is none of OpenMM's own; those of "
                "plugins may run programs; write the System without it"
            )
    return openmm.XmlSerializer.deserialize(rewritten(root).getvalue().decode("utf-8"))


def _own_types() -> frozenset[str]:
    """Names of the classes of OpenMM's forces, and of the tables in them."""
    classes = (item for item in vars(openmm).values() if isinstance(item, type))
    kinds = (openmm.Force, openmm.TabulatedFunction)
    return frozenset(item.__name__ for item in classes if issubclass(item, kinds))
