"""Samples, records and systems made by hand, so that what comes of them is known."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.files import sha256
from aecv.ground.sealed import write_sealed
from aecv.molecules.spec import load_system
from aecv.workflow.run_folder.records import IterationRecord
from aecv.workflow.run_folder.samples import Samples
from aecv.workflow.run_folder.stage_records import stages_of


def samples_of_walkers(
    basin: ArrayLike, *, xi: ArrayLike | None = None, period: float = 0.0, **observables: ArrayLike
) -> Samples:
    """Frames of walkers 1 ps apart.

    Args:
        basin: one row per walker, shape (n_walkers, n_frames).
        xi: the CV, of the same shape; None for a CV of no component.
        period: of the CV, 0 for none.
        observables: of the same shape.
    """
    labels = np.asarray(basin)
    n_walkers, n = labels.shape
    values = np.empty((labels.size, 0)) if xi is None else np.asarray(xi, dtype=float).reshape(-1, 1)
    return Samples.of(
        cv_positions=np.zeros((labels.size, 1, 3), dtype=np.float32),
        observables={name: np.asarray(item, dtype=float).ravel() for name, item in observables.items()},
        time_ps=np.tile(np.arange(1.0, n + 1), n_walkers),
        walker=np.repeat(np.arange(n_walkers), n),
        basin=labels.ravel(),
        xi=values,
        lam=values.copy(),
        n_inverted=0,
        n_turned=0,
        periods=() if xi is None else (period,),
    )


def by_hand_delta_f(weights: ArrayLike, psi: ArrayLike, kt: float) -> float:
    """Delta F of the region of a small run, 0 < psi < 1.8 [kJ/mol]."""
    w, angle = np.asarray(weights), np.asarray(psi)
    inside = w[(angle > 0.0) & (angle < 1.8)].sum() / w.sum()
    return float(-kt * np.log(inside / (1.0 - inside)))


def by_hand_passages(samples: Samples, since: float) -> int:
    """Changes from one of two basins to the other, after a share of the time."""
    found = 0
    for walker in np.unique(samples.walker):
        visits = samples.basin[(samples.walker == walker) & (samples.progress > since) & (samples.basin >= 0)]
        found += int(np.count_nonzero(visits[1:] != visits[:-1]))
    return found


def by_hand_effective_visits(
    values: ArrayLike, weights: ArrayLike, walker: ArrayLike, *, bins: int
) -> np.ndarray:
    """Effective visits of even bins from -pi to pi, of frames in the order of time of each walker.

    Args:
        values: angles, shape (n,) or (n, d).
        bins: per angle.
    """
    places = np.floor((np.asarray(values).reshape(len(np.asarray(weights)), -1) + np.pi) / (2 * np.pi) * bins)
    visits: dict[tuple[int, ...], list[float]] = {}
    before = None
    for place, weight, who in zip(places.clip(0, bins - 1).astype(int), weights, walker, strict=True):
        here = tuple(place)
        if before == (here, who):
            visits[here][-1] += weight
        else:
            visits.setdefault(here, []).append(weight)
        before = (here, who)
    found = np.zeros((bins,) * places.shape[1])
    for here, masses in visits.items():
        if sum(masses) > 0:
            found[here] = sum(masses) ** 2 / sum(mass**2 for mass in masses)
    return found


def system_with(*periodic: str, overrides: tuple[str, ...] = ()) -> Any:
    """Stands for a MolecularSystem where nothing but its settings and names matter."""
    spec = load_system("double_well_circle", overrides=overrides)
    return SimpleNamespace(observables=SimpleNamespace(periodic_names=periodic), spec=spec)


def reseal(run: Path) -> None:
    """Write down anew what a run's files are, as if the run had written those that a test has changed."""
    write_sealed(run / "run.json", json.loads((run / "run.json").read_text()))
    for folder in run.glob("*/"):
        for done in stages_of(folder):
            fields = json.loads(done.read_text())
            names = [name for name in fields["outputs"] if (folder / name).is_file()]
            fields["outputs"] = {name: sha256(folder / name) for name in names}
            fields["sizes"] = {name: (folder / name).stat().st_size for name in names}
            write_sealed(done, fields)


def record(
    index: int,
    score: float | None = None,
    s_min: float | None = None,
    *,
    problems: tuple[str, ...] = (),
    **more: Any,
) -> IterationRecord:
    """A record that knows its score, threshold and problems; everything else is None."""
    values: dict[str, Any] = dict.fromkeys(IterationRecord.__dataclass_fields__)
    values |= {"index": index, "score": score, "s_min": s_min, "problems": problems}
    values |= {"s_min_replicas": None if s_min is None else 8}
    return IterationRecord(**values | more)
