"""XML files of others, read in one way: what is looked at is what everybody gets who asks for it."""

import io
from pathlib import Path
from xml.etree import ElementTree

from aecv.ground.errors import MolecularSystemError

DEEPEST = 200
"""Most levels of elements: recursive readers and writers, also those of OpenMM, run out of stack on more."""
LONGEST = 10_000
"""Most characters of an attribute: OpenMM's parser of formulas runs out of stack on 15 000 brackets."""


class _Builder(ElementTree.TreeBuilder):
    """A tree; a document type, which could define entities that fill any memory, ends it."""

    def doctype(self, *_: object) -> None:
        raise ElementTree.ParseError("it has a DOCTYPE")


def xml_root(path: Path) -> ElementTree.Element:
    """The root of an XML file, in whatever encoding it declares.

    Raises:
        MolecularSystemError: when it cannot be read, defines entities, or is built to end its readers.
    """
    try:
        parser = ElementTree.XMLParser(target=_Builder())
        parser.feed(path.read_bytes())
        root: ElementTree.Element = parser.close()
    except OSError as error:
        raise MolecularSystemError(f"{path}: cannot be read ({error.strerror})") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter two: of encodings
        needs = "without entity definitions" if "DOCTYPE" in str(error) else "that can be read"
        raise MolecularSystemError(f"{path}: needs an XML file {needs}, got: {error}") from error
    _check_size(path, root)
    return root


def _check_size(path: Path, root: ElementTree.Element) -> None:
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise MolecularSystemError(f"{path}: needs an XML file of at most {DEEPEST} levels of elements")
        for element in level:
            for key, value in element.attrib.items():
                if len(value) > LONGEST:
                    raise MolecularSystemError(
                        f"{path}: needs attributes of at most {LONGEST} characters, '{key[:40]}' of a "
                        f"<{element.tag[:40]}> has {len(value)}"
                    )
        level = [child for element in level for child in element]


def rewritten(root: ElementTree.Element) -> io.BytesIO:
    """An open file of a tree, for readers that take no trees."""
    return io.BytesIO(ElementTree.tostring(root, encoding="utf-8", xml_declaration=False))
