"""A Gromacs topology with everything that it includes, as one text: what is looked at is what OpenMM reads.

Lines, comments, continuations and conditions are taken as OpenMM's reader takes them; only `#include` is
carried out here, so that none is left.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aecv.ground.errors import MolecularSystemError
from aecv.ground.files import is_file

_DEFINED = ("FLEXIBLE",)
"""What OpenMM's reader takes as defined."""
MOST_INCLUDES = 5_000
"""Real topologies have tens; 28 files that include the next one twice have 2^28."""
MOST_CHARACTERS = 300_000_000


@dataclass(frozen=True, kw_only=True)
class GromacsText:
    """A topology and what it includes.

    Attributes:
        text: all lines, in order.
        included: paths as they were found, in order; a file that is included twice is there twice.
    """

    text: str
    included: tuple[Path, ...]


def gromacs_text(top: Path, folders: tuple[Path, ...]) -> GromacsText:
    """A topology in one piece.

    Only what the preprocessor's conditions let through is included, so that a file of position restraints
    may be missing. Files are looked for as OpenMM does it: beside the topology, in `folders`, beside the file
    that includes.

    Raises:
        MolecularSystemError: when a file is missing or unreadable, files include each other, or there is no
            end of them.
    """
    reader = _Reader(folders=(top.parent, *folders))
    lines = list(reader.lines(top))
    return GromacsText(text="".join(lines), included=tuple(reader.included))


@dataclass(kw_only=True)
class _Reader:
    folders: tuple[Path, ...]
    included: list[Path] = field(default_factory=list)
    defined: set[str] = field(default_factory=lambda: set(_DEFINED))
    conditions: list[bool] = field(default_factory=list)
    seen: dict[Path, list[tuple[int, str]]] = field(default_factory=dict)
    size: int = 0

    def lines(self, top: Path) -> Iterator[str]:
        """Lines of the topology, those of an included file in the place of its `#include`."""
        chain = [(top, iter(self._read(top.resolve())))]
        begun = {top.resolve()}
        while chain:
            path, rest = chain[-1]
            number, line = next(rest, (0, ""))
            if not number:
                chain.pop()
                begun.discard(path.resolve())
                continue
            words = line.split(";")[0].split()
            if not words or words[0] != "#include":
                self._note(words)
                self.size += len(line)
                if self.size > MOST_CHARACTERS:
                    raise MolecularSystemError(f"{top}: has no end: more than {MOST_CHARACTERS} characters")
                yield line
            elif all(self.conditions):
                wanted = line.split(";")[0].strip().removeprefix("#include").strip(' \t"<>')
                found = self._find(path, number, wanted)
                if found.resolve() in begun:
                    raise MolecularSystemError(f"{path}, line {number}: '{wanted}' includes itself")
                begun.add(found.resolve())
                self.included.append(found)
                if len(self.included) > MOST_INCLUDES:
                    raise MolecularSystemError(
                        f"{path}, line {number}: the topology includes more than {MOST_INCLUDES} files, "
                        "counting repeats; include each once"
                    )
                chain.append((found, iter(self._read(found.resolve()))))

    def _note(self, words: list[str]) -> None:
        """What a line means for the conditions; OpenMM reads it again, and says what is wrong with it."""
        command, name = words[0] if words else "", words[1] if len(words) > 1 else ""
        if command in ("#ifdef", "#ifndef"):
            self.conditions.append((name in self.defined) == (command == "#ifdef"))
        elif command == "#else" and self.conditions:
            self.conditions[-1] = not self.conditions[-1]
        elif command == "#endif" and self.conditions:
            self.conditions.pop()
        elif command == "#undef":
            self.defined.discard(name)
        elif command == "#define" and all(self.conditions):
            self.defined.add(name)

    def _find(self, path: Path, number: int, wanted: str) -> Path:
        folders = dict.fromkeys((*self.folders, path.parent))
        found = next((folder / wanted for folder in folders if is_file(folder / wanted)), None)
        if found is None:
            raise MolecularSystemError(
                f"{path}, line {number}: includes '{wanted}', which is in none of "
                f"{', '.join(map(str, folders))}; copy it (with its folder) into the system's folder, and "
                "name that folder as system.include"
            )
        return found

    def _read(self, path: Path) -> list[tuple[int, str]]:
        """Number and text of each line; one that ends in a backslash goes on in the next."""
        if path not in self.seen:
            lines, begun = [], ""
            try:
                with open(path, encoding="utf-8", errors="replace") as handle:
                    for number, line in enumerate(handle, 1):
                        if line.strip().endswith("\\"):
                            begun += f" {line[: line.rfind(chr(92))]}"
                        else:
                            lines.append((number, f"{begun} {line.rstrip(chr(10))}\n"))
                            begun = ""
            except OSError as error:
                raise MolecularSystemError(f"{path}: cannot be read ({error.strerror})") from error
            self.seen[path] = lines
        return self.seen[path]
