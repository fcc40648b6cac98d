"""What came of a run along a CV that was given."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aecv.ground.files import read_json
from aecv.ground.shown import Shown
from aecv.workflow.records import finite_or_word, from_json
from aecv.workflow.store import ALONG

STARTS = "starts"
"""Folder of a run where the walkers began; the other one is ALONG."""


def is_sample_run(run: Path) -> bool:
    """Whether a run's folder is one along a given CV, from its first folder on."""
    return any((run / name).is_dir() for name in (STARTS, ALONG))


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
    ns: float
    steps_per_s: float
    n_frames: int
    n_effective: float
    delta_f_kj_mol: float | None
    delta_f_interval: tuple[float, float] | None
    passages: int | None
    problems: tuple[str, ...]
    cv_files: tuple[str, ...]
    cv_note: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {key: finite_or_word(value) for key, value in asdict(self).items()}

    @classmethod
    def load(cls, folder: Path) -> "Sampled":
        """Read sampled.json."""
        return cls(**{key: from_json(value) for key, value in read_json(folder / "sampled.json").items()})
