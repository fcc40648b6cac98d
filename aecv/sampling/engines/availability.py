"""Whether an engine works on this machine, and if not, why and what mends it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Availability:
    """What a probe of one engine found.

    Attributes:
        name: the engine, as sampling.engine calls it.
        works: whether it can run here.
        reason: what was found, in words: versions where it works, the fault where it does not.
        remedy: the command or step that mends it; empty where it works.
    """

    name: str
    works: bool
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        state = "works" if self.works else "does not work here"
        return f"engine {self.name} {state}: {self.reason}" + (f"; {self.remedy}" if self.remedy else "")
