"""What the sampling of a place cost: timing.json, apart from the arrays, which are the same with one seed."""

from dataclasses import dataclass
from pathlib import Path

from aecv.ground.forms import Count, Number, read_form
from aecv.workflow.run_folder.stage_records import checked


@dataclass(frozen=True, kw_only=True)
class Timing:
    """timing.json.

    Attributes:
        wall_s: of the dynamics, all sessions together [s].
        n_repeated: segments that exploded at first and were repeated with half the time step.
        simulated: whether it was dynamics; false for a user's frames.
    """

    wall_s: Number
    n_repeated: Count = 0
    simulated: bool = True

    def steps_per_s(self, ns: float, timestep_ps: float) -> float:
        """Steps of all walkers together [1/s] that so much simulated time took."""
        return 1000.0 * ns / timestep_ps / self.wall_s

    @classmethod
    def load(cls, folder: Path) -> "Timing":
        """Read timing.json of a place; StoreError when it is missing, damaged or of another form."""
        return read_form(checked(folder / "timing.json"), cls)
