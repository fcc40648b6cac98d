"""The programs that a CV is exported for: one line each, and nowhere else."""

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from aecv.results.exports.subject import BiasKind, ExportedBias, ExportedCV, ExportOptions

TARGETS = {
    "plumed": "plumed_input",
    "colvars": "colvars_input",
}
"""Name, and the file beside this one that is its `Exporter`."""


class Exporter(Protocol):
    """What a file has that writes the input of a program."""

    def check_offered(self, bias: "BiasKind", options: "ExportOptions") -> None:
        """A CVError for what the program does not have, before anything is read."""
        ...

    def input_texts(self, cv: "ExportedCV", bias: "ExportedBias", options: "ExportOptions") -> dict[str, str]:
        """The files by name, README.md among them; cv.pt comes where `ExportOptions.has_module` says so."""
        ...


def exporter(target: str) -> Exporter:
    """The writer for a target; loaded on demand, since a command line needs the names alone."""
    return cast(Exporter, import_module(f"aecv.results.exports.{TARGETS[target]}"))
