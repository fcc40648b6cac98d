"""What came of a run along a CV that was given."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aecv.ground.forms import Count, Number, read_form
from aecv.ground.shown import Shown
from aecv.workflow.run_folder.records import finite_or_word
from aecv.workflow.run_folder.stage_records import checked
from aecv.workflow.run_folder.store import ALONG

STARTS = "starts"
"""Folder of a run where the walkers began; the other one is ALONG."""


def is_sample_run(run: Path) -> bool:
    """Whether a run's folder is one along a given CV, from its first folder on."""
    return any((run / name).is_dir() for name in (STARTS, ALONG))


@dataclass(frozen=True)
class _Named:
    cv: str


def cv_name(folder: Path) -> str:
    """What the CV of a run along a given one is called, whatever else sampled.json holds."""
    return read_form(checked(folder / "sampled.json"), _Named).cv


@dataclass(frozen=True, kw_only=True, repr=False)
class Sampled(Shown):
    """What came of a run along a given CV; sampled.json.

    Attributes:
        cv: what the CV is called.
        folder: where frames, bias and free energies are.
        ns, steps_per_s: simulated time and its speed, all walkers together.
        n_frames: frames taken under the frozen bias; n_effective: (sum w)^2 / sum w^2 of them.
        delta_f_kj_mol, delta_f_interval: of the region of [delta_f], with the 95 % interval [kJ/mol]; None
            without one.
        passages: how often walkers went between the basins inside and outside that region.
        problems: what was not covered.
        cv_files: files that hold the CV, in the folder.
        cv_note: why there are none; empty where there are.
    """

    cv: str
    folder: str
    ns: Number
    steps_per_s: Number
    n_frames: Count
    n_effective: Number
    delta_f_kj_mol: float | None
    delta_f_interval: tuple[Number, Number] | None
    passages: Count | None
    problems: tuple[str, ...]
    cv_files: tuple[str, ...]
    cv_note: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {key: finite_or_word(value) for key, value in asdict(self).items()}

    @classmethod
    def load(cls, folder: Path) -> "Sampled":
        """Read sampled.json; StoreError when it is missing, damaged or of another form."""
        return read_form(checked(folder / "sampled.json"), cls)
