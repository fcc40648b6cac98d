"""A system.toml that explains itself: every guess with why, and what else is possible."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from aecv.ground.observable_kinds import OF_ONE_SELECTION
from aecv.workflow.new_system.guesses import Guess, ObservableGuess

_WIDTH = 110


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """All that goes into a system.toml.

    Attributes:
        files: keys of [system] that name files, in order.
        forcefield: None where a topology brings the forces.
        cutoff_nm: None where there is none.
        implicit: whether system.implicit_solvent can be chosen.
        box_known: False for an OpenMM System, which has decided on long-range forces and constraints.
        region: lower and upper end of [delta_f] and its observable, where that is obvious.
        example: the same as an example.
    """

    name: str
    description: str
    files: dict[str, str | tuple[str, ...]]
    forcefield: Guess | None
    nonbonded: Guess | None
    cutoff_nm: float | None
    constraints: Guess
    implicit: bool
    timestep: Guess
    cv_atoms: Guess
    observables: tuple[ObservableGuess, ...]
    region: tuple[str, float, float] | None
    example: tuple[str, float, float] | None
    starts: Guess


def render(proposal: Proposal) -> str:
    """The text of a system.toml."""
    parts = (
        _head(proposal),
        _system(proposal),
        _dynamics(proposal),
        _cv(proposal),
        _observables(proposal),
        _delta_f(proposal),
        _lengths(proposal),
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(proposal: Proposal) -> Iterator[str]:
    yield from _comment(
        f"{proposal.description}. Written by `aecv init`: every value is a guess, with the reason above it."
    )
    yield from _comment(
        "Change what you know better, then run `aecv check`. `aecv iterate --system . --print-config` shows "
        "all other settings with their values."
    )


def _system(proposal: Proposal) -> Iterator[str]:
    yield "[system]"
    yield pair("name", proposal.name)
    yield pair("description", proposal.description)
    for key, value in proposal.files.items():
        yield pair(key, value)
    if proposal.forcefield is not None:
        yield from _explained("forcefield", proposal.forcefield)
    if proposal.nonbonded is not None:
        yield from _explained("nonbonded", proposal.nonbonded)
        if proposal.cutoff_nm is not None:
            yield pair("cutoff_nm", proposal.cutoff_nm)
    if proposal.implicit:
        yield from _comment(
            "Generalised Born solvent for a molecule without water around it: HCT, OBC1, OBC2, GBn or GBn2; "
            "the radii of the topology should fit it. none: vacuum."
        )
        yield pair("implicit_solvent", "none")
    if proposal.constraints.value is None:
        yield from _comment(f"{proposal.constraints.why} Cutoff and masses are part of it, too.")
    else:
        yield from _explained("constraints", proposal.constraints)


def _dynamics(proposal: Proposal) -> Iterator[str]:
    yield "[dynamics]"
    yield pair("temperature_k", 300.0)
    yield from _comment("Of the thermostat (LangevinMiddle); lower is faster and closer to free dynamics.")
    yield pair("friction_per_ps", 1.0)
    yield from _explained("timestep_ps", proposal.timestep)
    yield from _comment(
        "auto: Reference for tiny molecules, else the fastest that works here. Or CPU, CUDA, OpenCL, HIP."
    )
    yield pair("platform", "auto")
    if proposal.cutoff_nm is not None:
        yield ""
        yield "[barostat]"
        yield from _comment(
            "Every walker begins at this pressure; then all take the mean volume and keep it. Take the lines "
            "out where the box has its volume already."
        )
        yield pair("pressure_bar", 1.0)
        yield pair("equilibration_ps", 100.0)


def _cv(proposal: Proposal) -> Iterator[str]:
    yield from _comment("What the autoencoder sees, as an mdtraj selection (resid counts from 0).")
    yield "[cv]"
    yield from _explained("atoms", proposal.cv_atoms)


def _observables(proposal: Proposal) -> Iterator[str]:
    yield from _comment(
        "Quantities for checks and pictures; they do not bias anything. Kinds: dihedral (4 atoms), angle "
        f"(3), distance (2); {', '.join(OF_ONE_SELECTION)} (one selection of all atoms). Free energies "
        "are drawn along each."
    )
    for observable in proposal.observables:
        yield ""
        yield f"[observables.{observable.name}]"
        yield from _comment(f"{observable.words}.")
        yield pair("kind", observable.kind)
        yield pair("atoms", observable.atoms)


def _delta_f(proposal: Proposal) -> Iterator[str]:
    if proposal.region is not None:
        observable, lower, upper = proposal.region
        yield from _comment(f"F({lower:g} < {observable} < {upper:g}) - F(elsewhere), in kJ/mol.")
        yield "[delta_f]"
        yield from (pair("observable", observable), pair("lower", lower), pair("upper", upper))
        return
    yield from _comment(
        "A difference of free energy, F(lower < observable < upper) - F(elsewhere), once you know two "
        "states. For example:"
    )
    if proposal.example is not None:
        observable, lower, upper = proposal.example
        yield "# [delta_f]"
        for key, value in (("observable", observable), ("lower", lower), ("upper", upper)):
            yield f"# {pair(key, value)}"


def _lengths(proposal: Proposal) -> Iterator[str]:
    yield "[sampling]"
    yield from _comment(
        "Of every iteration, over all walkers together; `aecv check` says how long that takes. Long enough "
        "that walkers pass between states several times."
    )
    yield pair("ns", 10.0)
    yield pair("frame_ps", 0.1)
    yield from _comment("Walkers share one bias; each is a process where there are cores.")
    yield pair("walkers", 4)
    yield ""
    yield "[starts]"
    yield from _explained("mode", proposal.starts)
    yield ""
    yield "[autoencoder]"
    yield from _comment("Components of the CV, 1 to 3; two can be looked at as a map.")
    yield pair("latent", 2)


def _explained(key: str, guess: Guess) -> Iterator[str]:
    yield from _comment(guess.why + (f" Or: {guess.other}." if guess.other else ""))
    yield pair(key, guess.value)


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"


def pair(key: str, value: object) -> str:
    """A line of TOML: strings, numbers and lists of strings look as in JSON."""
    return f"{key} = {json.dumps(value, ensure_ascii=False)}"
