"""What is known of a run before it begins, by arithmetic: frames that its settings give, and what needs them.

A setting that is certain to end a run late is an error at once, with the numbers and with settings that pass
the same checks. What only may fail is a warning. Nothing here builds a system or reads a file.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aecv.ground.errors import ForeseenError, SettingsError
from aecv.ground.layers import changed
from aecv.ground.observable_kinds import KINDS, OF_ONE_SELECTION
from aecv.ground.settings import MOST_BINS, Settings
from aecv.ground.units import thermal_energy
from aecv.models.training.training_data import MIN_FRAMES
from aecv.numerics.extended_abf.marginal import LARGEST_SPAN, is_too_fine
from aecv.workflow.planning.lengths import given_plan, n_counted, plan_of, production_plan

PLENTY = 5
"""Frames per effective frame that a training asks for, below which a run is warned: of 3200 biased frames of
alanine dipeptide 810 to 1700 were effective, and higher barriers leave fewer."""
_MOST_MENDS = 8
"""Settings that are changed one after the other until nothing is short."""
LEAST_HOT_FRAMES = 100
"""Frames of the hot run from which a CV without a range takes its own."""
_UNBIASED = ("train", "iteration 0")
"""Places whose frames no bias weights."""

Changes = Mapping[str, Any]
Check = Callable[[Settings], Iterator["Shortfall"]]


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """What a run will lack.

    Attributes:
        message: place, what is needed, what there will be.
        changes: dotted settings that mend it, and their values.
        is_certain: whether the run is sure to fail; else it may.
    """

    message: str
    changes: Changes = field(default_factory=dict)
    is_certain: bool = True

    @property
    def mended_by(self) -> str:
        """The settings that it asks for; the message where there are none."""
        return " ".join(self.changes) or self.message


def foresee_loop(
    settings: Settings, *, with_dynamics: bool = True, given_frames: int | None = None
) -> tuple[str, ...]:
    """Warnings for a run of the loop that may fall short.

    Args:
        with_dynamics: whether iteration 0 is unbiased dynamics; not so where a user brings frames, and not
            for sure where a run is resumed.
        given_frames: those of the user; None where their number is not known.

    Raises:
        ForeseenError: when it is sure to fail, whatever the dynamics bring.
    """
    return _foresee(settings, lambda tried: _of_loop(tried, with_dynamics, given_frames))


def foresee_sample(
    settings: Settings,
    *,
    n_components: int | None = None,
    names: Sequence[str] = (),
    n_ranges: int = 0,
) -> tuple[str, ...]:
    """Warnings for a sampling along a CV that is given.

    Args:
        n_components: of the CV; None where that is not known yet.
        names: of the observables that are the CV; empty for another one.
        n_ranges: how many ranges were given.

    Raises:
        ForeseenError: when it is sure to fail, whatever the dynamics bring.
    """
    return _foresee(settings, lambda tried: _of_sample(tried, n_components, names, n_ranges))


def foresee_training(settings: Settings, n_frames: int) -> tuple[str, ...]:
    """Warnings for a training on so many frames of a user.

    Raises:
        ForeseenError: when they are too few, whatever they are.
    """
    return _foresee(
        settings,
        lambda tried: _of_training(tried, "train", n_frames, _of_given(n_frames), {}),
    )


def _foresee(settings: Settings, check: Check) -> tuple[str, ...]:
    found = list(check(settings))
    certain = [item for item in found if item.is_certain]
    if certain:
        # what the same setting mends is told once, of the first place that it is short in
        first = {item.mended_by: item for item in reversed(certain)}
        told = [item.message for item in certain if first[item.mended_by] is item]
        raise ForeseenError("; ".join(told), _mended(settings, check))
    return tuple(item.message for item in found)


def _mended(settings: Settings, check: Check) -> dict[str, Any]:
    """Settings that pass the check, those that are changed alone; empty where none are found."""
    changes: dict[str, Any] = {}
    tried = settings
    for _ in range(_MOST_MENDS):
        certain = [item for item in check(tried) if item.is_certain]
        if not certain:
            return changes
        if not certain[0].changes:
            return {}
        changes |= certain[0].changes
        try:
            tried = changed(settings, changes, source="foresight")
        except SettingsError:  # the only remedy contradicts another setting
            return {}
    return {}


def _of_loop(settings: Settings, with_dynamics: bool, given: int | None) -> Iterator[Shortfall]:
    iterations = settings.run.iterations
    n_biased = iterations - 1
    if n_biased or with_dynamics:
        yield from _without_frames(settings, lambda s: plan_of(s, 0), "sampling.ns")
    if settings.production_ns:
        yield from _without_frames(settings, lambda s: production_plan(s, 0), "production.ns")
    yield from _of_trainings(settings, with_dynamics, given)
    yield from _of_region(settings)
    if n_biased or settings.production_ns:
        yield from _of_bias(settings, settings.autoencoder.n_biased)


def _of_sample(
    settings: Settings, n_components: int | None, names: Sequence[str], n_ranges: int
) -> Iterator[Shortfall]:
    yield from _without_frames(settings, lambda s: given_plan(s, 1), "sampling.ns")
    yield from _of_region(settings)
    open_ends = [name for name in names if not settings.observables[name].known.is_periodic]
    if names:
        n_components = len(names)
    if len(open_ends) > n_ranges and not any(settings.observables[n].kind in OF_ONE_SELECTION for n in names):
        yield from _of_hot_range(settings, f"CV {', '.join(names)}: '{open_ends[-1]}'")
    if n_components is not None:
        bins, most = settings.eabf.bins, int(MOST_BINS ** (1 / n_components) * (1 + 1e-9))
        if bins**n_components > MOST_BINS:
            yield Shortfall(
                message=f"eabf.bins: {bins} for each of {n_components} components are {bins**n_components} "
                f"bins, more than {MOST_BINS}; at most {most} per component",
                changes={"eabf.bins": most},
            )
            return
        yield from _of_bias(settings, n_components)


def foresee_range(settings: Settings, what: str) -> None:
    """Refuse a CV without a range where no hot run will give it one.

    Args:
        what: the CV and its component, for the message.

    Raises:
        ForeseenError: then.
    """
    _foresee(settings, lambda tried: _of_hot_range(tried, what))


def _of_hot_range(settings: Settings, what: str) -> Iterator[Shortfall]:
    """A component without a range takes that of the hot run's frames."""
    starts, frame_ps = settings.starts, settings.sampling.frame_ps
    n = n_hot_frames(settings)
    if n >= LEAST_HOT_FRAMES:
        return
    came = f"starts.mode is '{starts.mode}', without a hot run"
    changes: Changes = {"starts.mode": "auto"}
    if starts.mode == "auto":
        came = f"{n} frames of a hot run of {starts.hot_ps:g} ps (starts.hot_ps) are too few"
        changes = {"starts.hot_ps": rounded_up(2 * LEAST_HOT_FRAMES * frame_ps)}
        if starts.candidates > LEAST_HOT_FRAMES:
            changes = {"starts.hot_ps": rounded_up(starts.candidates * frame_ps)}
    yield Shortfall(
        message=f"{what} needs a range (--range), or {LEAST_HOT_FRAMES} frames of a hot run to take it from; "
        f"{came}",
        changes=changes,
    )


def n_hot_frames(settings: Settings) -> int:
    """Frames of the hot run, should all be sound; 0 where there is none."""
    starts = settings.starts
    if starts.mode != "auto":
        return 0
    per_candidate = round(starts.hot_ps / starts.candidates / settings.sampling.frame_ps)
    return starts.candidates * max(1, per_candidate)


def _without_frames(settings: Settings, plan: Callable[[Settings], object], key: str) -> Iterator[Shortfall]:
    """A sampling whose walkers would not get a single frame."""
    try:
        plan(settings)
    except SettingsError as error:
        sampling = settings.sampling
        least = sampling.walkers * sampling.frame_ps / 1000.0
        yield Shortfall(message=str(error), changes={key: rounded_up(max(100 * least, settings.sampling.ns))})


def _of_trainings(settings: Settings, with_dynamics: bool, given: int | None) -> Iterator[Shortfall]:
    """Frames of every training that sees one iteration alone; the others see more."""
    alone = {0, 1, 1 + settings.pool.exploration} if settings.pool.mode == "mbar" else {0, 1}
    for iteration in sorted(k for k in alone if k < settings.run.iterations):
        place = f"iteration {iteration}"
        hot = 0 if iteration or not settings.starts.hot_share else n_hot_frames(settings)
        if iteration == 0 and given is not None:
            yield from _of_training(settings, place, given, _of_given(given), {}, hot)
        if iteration == 0 and not with_dynamics:
            continue
        try:
            plan = plan_of(settings, iteration)
        except SettingsError:  # told already
            continue
        total = plan.frames_per_walker * plan.n_walkers
        counted = n_counted(plan, settings.pool.discard) if iteration else total
        frozen = "without those before the frozen stages (eabf.adaptive_share {:g})"
        left_out = frozen.format(settings.eabf.adaptive_share)
        if not len(plan.stage_edges):
            left_out = f"without the first {settings.pool.discard:g} of the time (pool.discard)"
        words = (
            f"of {total} in {settings.sampling.ns:g} ns (sampling.ns), one every "
            f"{settings.sampling.frame_ps:g} ps{f', {left_out}' if iteration else ''}"
        )
        wanted = PLENTY * max(MIN_FRAMES / PLENTY, settings.training.min_effective_frames)
        longer = rounded_up(settings.sampling.ns * wanted / max(counted, 1) * (1 + plan.n_walkers / wanted))
        yield from _of_training(settings, place, counted, words, {"sampling.ns": longer}, hot)


def _of_given(n: int) -> str:
    return f"of the {n} that are given (--frames, --stride)"


def _of_training(
    settings: Settings, place: str, n: int, words: str, longer: Changes, hot: int = 0
) -> Iterator[Shortfall]:
    """Whether so many frames can train.

    Args:
        words: what they are of.
        longer: settings that give more of them; empty where there are none.
        hot: frames of the hot run that train beside them.
    """
    training, pool = settings.training, settings.pool
    kept, wanted = n, max(float(MIN_FRAMES - hot), training.min_effective_frames)
    most = min(pool.max_frames, training.max_frames)
    for key, limit in (("pool.max_frames", pool.max_frames), ("training.max_frames", training.max_frames)):
        if key == "pool.max_frames" and place == "train":
            continue
        thinned = -(-kept // max(1, -(-kept // limit)))
        if thinned < wanted <= kept:
            yield Shortfall(
                message=f"{place}: {key} = {limit} thins {kept} frames to {thinned}, fewer than the "
                f"{wanted:g} that a training needs",
                changes={key: max(kept, MIN_FRAMES)},
            )
            return
        kept = thinned
    if kept + hot < MIN_FRAMES:
        advice = "" if longer else "; give it more frames"
        yield Shortfall(
            message=f"{place}: training needs >= {MIN_FRAMES} frames, at most {kept} {words} count{advice}",
            changes=longer,
        )
    elif kept < training.min_effective_frames:
        what = (
            "training needs >= {:g} frames"
            if place in _UNBIASED
            else "reweighted training needs >= {:g} effective frames"
        )
        yield Shortfall(
            message=f"{place}: {what.format(training.min_effective_frames)} "
            f"(training.min_effective_frames), at most {kept} {words} count",
            # more frames than are kept would be thinned again
            changes=(most >= training.min_effective_frames and longer)
            or {"training.min_effective_frames": max(1, kept // PLENTY)},
        )
    elif kept < PLENTY * training.min_effective_frames and place not in _UNBIASED:
        yield Shortfall(
            message=f"{place}: {kept} frames {words} will count; with Boltzmann weights a quarter of them or "
            f"fewer may be effective, and below {training.min_effective_frames:g} "
            "(training.min_effective_frames) training ends the run",
            is_certain=False,
        )


def _of_region(settings: Settings) -> Iterator[Shortfall]:
    """A region of [delta_f] that its observable cannot enter, or cannot leave."""
    region = settings.delta_f
    if region is None:
        return
    kind = settings.observables[region.observable].kind
    if KINDS[kind].is_periodic:  # any region within a period holds some values and not all
        return
    low, high = KINDS[kind].bounds
    unit = f" {KINDS[kind].unit}" if KINDS[kind].unit else ""
    reach = f"{region.observable} ({kind}) goes from {low:.4g} to {high:.4g}{unit}"
    said = f"delta_f: {region.lower:g} < {region.observable} < {region.upper:g}"
    if region.lower >= high or region.upper <= low:
        yield Shortfall(message=f"{said} holds no frame: {reach}; give the region in that unit")
    elif region.lower < low and region.upper > high:
        yield Shortfall(
            message=f"{said} holds every frame, so that there is no rest to compare it with: {reach}"
        )


def _of_bias(settings: Settings, n_components: int) -> Iterator[Shortfall]:
    """What the weights of biased frames may not be able to do."""
    eabf, kt = settings.eabf, thermal_energy(settings.dynamics.temperature_k)
    if eabf.ceiling_kj_mol > LARGEST_SPAN * kt:
        yield Shortfall(
            message=f"eabf.ceiling_kj_mol {eabf.ceiling_kj_mol:g} is more than {LARGEST_SPAN:g} kT "
            f"({LARGEST_SPAN * kt:.4g} kJ/mol at {settings.dynamics.temperature_k:g} K), which weights of "
            "frames cannot tell; a bias that grows so large ends the run: lower the ceiling",
            is_certain=False,
        )
    if is_too_fine(eabf.bins, eabf.sigma_bins, n_components):
        yield Shortfall(
            message=f"eabf.sigma_bins {eabf.sigma_bins:g} with {eabf.bins} bins in each of {n_components} "
            "components needs too large a table for the weights, which ends the run unless the time step "
            "asks for a wider sigma: raise it",
            is_certain=False,
        )


def rounded_up(value: float) -> float | int:
    """Two significant digits, up; whole numbers as such."""
    if value <= 0:
        return 0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    result = float(f"{math.ceil(value / unit * (1 - 1e-9)) * unit:.6g}")
    return int(result) if result.is_integer() else result
