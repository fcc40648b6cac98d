"""Where the walkers of a place were, and what coverage says of it, as the report shows them."""

import math
from pathlib import Path

import numpy as np

from aecv.ground.settings import Settings
from aecv.results.story.content import Walkers
from aecv.workflow.free_energies.basins import StoredStarts
from aecv.workflow.free_energies.coverage import StoredCoverage
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.story.energies import Source, component, quantity

_WORDS = {
    "r_hat": "R-hat (walkers that have mixed: 1)",
    "growth": "growth of the visited range in the last third",
    "burn_in": "share of the time until the walkers settled",
}


def read_walkers(source: Source, starts: Path, settings: Settings) -> Walkers:
    """Basins by time, and the measures of coverage.json.

    Args:
        starts: folder that holds starts.json.

    Raises:
        StoreError: for a file that is missing or damaged.
    """
    samples = Samples.stored(source.folder / "samples.npz")
    n_walkers = len(np.unique(samples.walker))
    basin = samples.basin.reshape(n_walkers, -1)
    time_ns = samples.time_ps.reshape(n_walkers, -1)[0] / 1000.0
    coverage, report = StoredCoverage.load(source.folder), StoredStarts.load(starts)
    return Walkers(
        place=source.name,
        time_ns=time_ns,
        basin=basin,
        observables=tuple(
            (quantity(name, settings), np.array(values, dtype=float))
            for name, values in report.observables.items()
        ),
        passages=np.array(coverage.passages, dtype=np.int64),
        measures=tuple(
            (words, ", ".join(f"{_name(name, settings)} {_number(value)}" for name, value in found.items()))
            for key, words in _WORDS.items()
            if (found := getattr(coverage, key))
        ),
    )


def _name(name: str, settings: Settings) -> str:
    if name.startswith("xi_"):
        return component(int(name.removeprefix("xi_")) - 1).label
    return quantity(name, settings).label


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"
