"""Disk and memory that a run is going to need, against what there is."""

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aecv.ground.errors import ForeseenError, SettingsError
from aecv.ground.layers import changed
from aecv.ground.settings import Settings
from aecv.sampling.system.molecular_system import MolecularSystem
from aecv.workflow.planning.lengths import plan_of, production_plan

logger = logging.getLogger(__name__)

Samplings = Callable[[Settings], Mapping[str, int]]
"""Settings -> frames of every sampling of a run, by its folder."""

_GB = 1e9
_LIKELY = 0.8
"""Share of what there is from which a need is warned of."""
_RARER = (2, 3, 5, 10, 20, 50, 100)
"""Times longer between frames that are tried for a run that fits."""
CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux limits the memory of a container."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a run needs at least [bytes].

    Attributes:
        disk: of trajectories and samples that are not written yet, and of the segments of the largest one.
        memory: of one process at its peak, arrays of frames alone.
        n_frames: that are not written yet.
    """

    disk: float
    memory: float
    n_frames: int


def samplings_of_loop(settings: Settings, *, with_dynamics: bool = True) -> dict[str, int]:
    """Frames of every sampling of the loop that runs dynamics, by its folder.

    Args:
        with_dynamics: whether iteration 0 does, rather than take a user's frames.
    """
    first, last = 0 if with_dynamics else 1, settings.run.iterations - 1
    plans = {f"iteration_{k:02d}": plan_of(settings, k) for k in range(first, last + 1)}
    if settings.production_ns:
        plans[f"production_{last:02d}"] = production_plan(settings, last)
    return {name: plan.frames_per_walker * plan.n_walkers for name, plan in plans.items()}


def space_needed(system: MolecularSystem, settings: Settings, samplings: Mapping[str, int]) -> Space:
    """What samplings of a system need.

    Args:
        settings: those of the run.
        samplings: frames of those that are not finished.
    """
    n_frames, largest = sum(samplings.values()), max(samplings.values(), default=0)
    n_cv, frame = len(system.cv_atom_indices), 12 * system.n_frame_atoms
    columns = len(settings.observables) + 3 + 2 * settings.autoencoder.n_biased
    pooled = min(n_frames, settings.pool.max_frames)
    trained = min(pooled, settings.training.max_frames)
    states = max(settings.eabf.frozen_stages, settings.pool.blocks) * max(1, len(samplings) - 1)
    gathering = 2 * largest * 12 * n_cv
    # positions of the pool in single and double precision, energies in all states, then aligned coordinates
    learning = pooled * (36 * n_cv + 8 * states) + trained * 3 * n_cv * 12
    starts = settings.starts
    minima = 2 * starts.candidates * system.n_atoms * 24 if starts.mode == "auto" else 0
    return Space(
        disk=float(n_frames * (frame + 12 * n_cv + 8 * columns) + largest * frame),
        memory=float(max(gathering, learning, minima)),
        n_frames=n_frames,
    )


def check_space(
    system: MolecularSystem,
    out: Path,
    samplings: Samplings,
    fits: Callable[[Settings], object] = lambda _: None,
) -> None:
    """Refuse a run for which the disk or the memory of this machine is too small; warn where it is close.

    What is finished in the folder already is not counted again.

    Args:
        out: the run's folder, whether or not it is there.
        samplings: frames of the whole run.
        fits: raises ForeseenError for settings that are of no use as advice.

    Raises:
        ForeseenError: with what is needed, what there is and, if there is one, a way that fits.
    """
    settings = system.spec.settings
    done = {path.parent.name for path in out.glob("*/sampling.done")}
    free, total = free_bytes(out), memory_bytes()

    def need_of(tried: Settings) -> Space:
        left = {name: n for name, n in samplings(tried).items() if name not in done}
        return space_needed(system, tried, left)

    def is_enough(tried: Settings) -> bool:
        need = need_of(tried)
        return not (_is_more(need.disk, free, _LIKELY) or _is_more(need.memory, total, _LIKELY))

    if is_enough(settings):
        return
    need, advice = need_of(settings), "write frames less often (sampling.frame_ps)"
    lacking = []
    if free is not None and _is_more(need.disk, free, _LIKELY):
        advice += ", run shorter or choose another --out"
        lacking.append(
            f"{out}: {need.n_frames} frames of {system.n_frame_atoms} atoms need {need.disk / _GB:.3g} GB or "
            f"more, free are {free / _GB:.3g} GB"
        )
    if total is not None and _is_more(need.memory, total, _LIKELY):
        advice += ", or lower pool.max_frames"
        lacking.append(
            f"memory: one process needs {need.memory / _GB:.3g} GB or more, this machine has "
            f"{total / _GB:.3g} GB"
        )
    message = f"{'; '.join(lacking)}: {advice}"
    if _is_more(need.disk, free) or _is_more(need.memory, total):
        raise ForeseenError(message, None if done else _rarer(settings, is_enough, fits))
    logger.warning("%s", message)


def _is_more(needed: float, there: float | None, share: float = 1.0) -> bool:
    """Whether more is needed than a share of what there is; not where that is not known."""
    return there is not None and needed > share * there


def _rarer(
    settings: Settings, is_enough: Callable[[Settings], bool], fits: Callable[[Settings], object]
) -> dict[str, Any] | None:
    """The same run with frames so much rarer that it fits."""
    for factor in _RARER:
        frame_ps = float(f"{factor * settings.sampling.frame_ps:.10g}")
        changes = {"sampling.frame_ps": frame_ps}
        try:
            tried = changed(settings, changes, source="space")
            fits(tried)
            if is_enough(tried):
                return changes
        except SettingsError:
            return None
    return None


def free_bytes(out: Path) -> float | None:
    """Free space of the file system that a folder is or will be on; None where that is not told."""
    there = next((path for path in (out.absolute(), *out.absolute().parents) if path.is_dir()), None)
    try:
        usage = None if there is None else shutil.disk_usage(there)
    except OSError:
        return None
    # a file system that does not count says 0 of 0; a full one has a size
    return None if usage is None or not usage.total else float(usage.free)


def memory_bytes() -> float | None:
    """Memory of this machine or, where that is less, of the container; None where it is not told."""
    found = []
    with suppress(AttributeError, OSError, ValueError):  # not every system tells
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    with suppress(OSError, ValueError):  # no container, or "max"
        found.append(float(CGROUP.read_text()))
    return min((size for size in found if size > 0), default=None)  # -1 is sysconf's "not known"
