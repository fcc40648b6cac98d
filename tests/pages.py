"""What the README and the pages of docs/ show: code blocks, and code within sentences."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = tuple(
    sorted(
        path
        for pattern in ("*.md", "docs/**/*.md", "plumed_scripts/README.md")
        for path in REPOSITORY.glob(pattern)
        if path.name not in ("CHANGELOG.md", "speed.md")
    )
)
_FENCE = re.compile(r"^(`{3,}|:{3,})(?P<kind>\S*)[^\n]*\n(?P<text>.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^\n|\A)((?: {4}.*\n|\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code."""

    page: Path
    kind: str
    text: str

    def __str__(self) -> str:
        first = self.text.strip().partition("\n")[0]
        return f"{self.page.relative_to(REPOSITORY)}: {first}"


def blocks(*pages: Path) -> Iterator[Block]:
    """Fenced blocks with the word behind the fence, then indented ones, whose kind is empty."""
    for page in pages:
        text = page.read_text()
        for found in _FENCE.finditer(text):
            yield Block(page, found["kind"], found["text"])
        for found in _INDENTED.finditer(_FENCE.sub("", text)):
            if found[1].strip():
                yield Block(page, "", found[1])


def inline(page: Path) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", _FENCE.sub("", page.read_text()))
