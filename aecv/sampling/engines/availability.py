"""Whether an engine works on this machine, and if not, why and what mends it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What a probe of one engine found.

    Attributes:
        name: the engine, as sampling.engine calls it.
        works: whether it can run here.
        reason: what was found, in words: versions where it works, the fault where it does not.
        remedy: the command or step that mends it; empty where it works.
        versions: of the packages that are its own; a run is resumed with the same ones.
    """

    name: str
    works: bool
    reason: str
    remedy: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        state = "works" if self.works else "does not work here"
        return f"engine {self.name} {state}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")


def json_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """What a probe said, a JSON object per line; lines of libraries are left out, whatever they look like."""
    found = []
    for line in lines:
        try:
            answer = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict):
            found.append(answer)
    return found
