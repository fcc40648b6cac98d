"""Pieces of the work before the first iteration: their names and numbers, and who keeps them.

A look at a run counts them and shall not wait for OpenMM: nothing heavy is imported here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from aecv.ground.settings import Settings

HOT, HOT_HALF = "hot", "hot_half"
"""Pieces of the hot run, with the time step of the settings and with half of it."""
MINIMUM = "minimum"
"""Minimised structures."""


PIECES = "equilibration"
"""Folder that holds what is done until all of it is."""
EQUILIBRATION_TITLES = {"pressure": "constant pressure", "equilibration": "equilibration"}
VOLUME_ROUNDS = 20
"""Pieces of the time at constant pressure after which the volume is looked at, if they hold moves enough."""


@dataclass(frozen=True, kw_only=True)
class Equilibration:
    """A part of the equilibration, in equal rounds.

    Attributes:
        stage: names its random streams, and its folder.
        length_ps: of every walker.
        round_ps: of a round at most.
    """

    stage: str
    length_ps: float
    round_ps: float

    @property
    def n_rounds(self) -> int:
        return ceil(self.length_ps / self.round_ps * (1 - 1e-9))


def equilibration_parts(settings: Settings) -> tuple[Equilibration, ...]:
    """Constant pressure where the settings ask for it, then the equilibration; no parts without a step."""
    barostat, sampling, timestep_ps = settings.barostat, settings.sampling, settings.dynamics.timestep_ps
    pressure = Equilibration(
        stage="pressure",
        length_ps=0.0 if barostat.pressure_bar is None else barostat.equilibration_ps,
        round_ps=barostat.round_ps(sampling.segment_ps, timestep_ps, VOLUME_ROUNDS),
    )
    after = Equilibration(
        stage="equilibration", length_ps=sampling.equilibration_ps, round_ps=sampling.segment_ps
    )
    return tuple(part for part in (pressure, after) if round(part.length_ps / timestep_ps) > 0)


class Pieces(Protocol):
    """Keeps finished pieces of work by their names."""

    def load(self, name: str, fields: Sequence[str]) -> Mapping[str, Any] | None:
        """The arrays of a piece; None where it is not there, cannot be read, or lacks one of the fields."""
        ...

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keep a piece, in place of one of the same name."""
        ...


class NotKept:
    """Pieces that nobody keeps."""

    def load(self, name: str, fields: Sequence[str]) -> None:
        """Nothing."""

    def save(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Nothing happens."""


def piece(kind: str, index: int) -> str:
    """Name of a piece: minimum_00003."""
    return f"{kind}_{index:05d}"


def n_given(settings: Settings) -> int:
    """Structures that the settings name, from which the search begins."""
    if settings.starts.mode == "given" and settings.particle is None:
        return len(settings.system.starts)
    if settings.particle is None or settings.starts.mode == "one":
        return 1
    return len(settings.particle.starts_nm)


def n_minima(settings: Settings) -> int:
    """Structures that will be minimised in the end."""
    return n_given(settings) + (settings.starts.candidates if settings.starts.mode == "auto" else 0)
