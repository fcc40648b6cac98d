"""One record per iteration, and the run's summary of them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict

from aecv.ground.forms import Count, Number, in_form, read_form
from aecv.ground.settings import ConvergenceSettings
from aecv.ground.shown import Shown, dataframe
from aecv.workflow.run_folder.stage_records import checked


@dataclass(frozen=True, kw_only=True, repr=False)
class IterationRecord(Shown):
    """What is known of an iteration when its CV is trained.

    Attributes:
        index: 0 is the unbiased iteration.
        score: R^2 of the regression of the new CV on the old one, worst component, with Boltzmann weights, on
            this iteration's frames; None in iteration 0. `score_unweighted` is the same without weights,
            `score_nonlinear` out of sample by nearest neighbours.
        s_min: what the score had to reach when the iteration was finished; None in iteration 0, and where a
            score below convergence.floor made the bootstrap needless.
        s_min_replicas, s_min_quantile: of the bootstrap that gave s_min; None where it was a given number.
        observables: per observable, R^2 of it (of its sine and cosine where it is an angle; the worse one) on
            xi, linear and nonlinear; under "xi" the reverse: of the worse xi on all of them.
        n_effective: (sum w)^2 / sum w^2 of the frames that trained the CV; `n_frames` is their number.
        delta_f_kj_mol: of the pool; `delta_f_iteration_kj_mol` of this iteration's frames alone. None where
            it is not defined (iteration 0: its populations are those of its starts), infinite where one side
            was never seen.
        delta_f_interval, delta_f_iteration_interval: their 95 % intervals [kJ/mol]; with pool.mode "none"
            without the error of the F that the weights come from.
        passages: how often walkers went from the basins inside the region of delta_f to those outside, or
            back; `inside_share` is the share of frames inside.
        problems: what the iteration did not cover, in sentences; see `aecv.workflow.free_energies.coverage`.
        loss: validation loss of the chosen restart [nm^2]; `loss_spread` is worst over best restart;
            `explained_variance` is 1 - loss/variance; all under the weights that train, to the power
            pool.power, while n_effective is of the weights themselves. `restart_score` is the median score
            of the chosen restart with the other good ones on the same frames, `restart_lowest` the lowest
            score among those: more agreement than that between iterations cannot be expected.
        visited_bins: bins that lambda visited; `n_islands` how many unconnected regions they form.
        n_inverted, n_turned: frames with a changed chirality, or a turned peptide bond.
        ns, steps_per_s: simulated time and its speed, all walkers together, the starting of processes
            included; `wall_s` the time for everything.
        biased_components: which components of the bottleneck are the CV's, 0 the most important, in the CV's
            order; None where all are. `importances` of all components [nm^2] and `biased_loss`, the loss with
            the biased ones alone [nm^2], are those of `aecv.models.training.components.Components`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # annotated, it would be a field

    index: Count
    score: float | None
    score_unweighted: float | None
    score_nonlinear: float | None
    s_min: float | None
    s_min_replicas: int | None
    s_min_quantile: float | None
    observables: dict[str, dict[str, Number]]
    n_effective: Number
    n_frames: Count
    delta_f_kj_mol: float | None
    delta_f_interval: tuple[Number, Number] | None
    delta_f_iteration_kj_mol: float | None
    delta_f_iteration_interval: tuple[Number, Number] | None
    passages: Count | None
    inside_share: float | None
    loss: Number
    loss_spread: Number
    explained_variance: Number
    restart_score: float | None
    restart_lowest: float | None
    visited_bins: Count | None
    n_islands: Count | None
    problems: tuple[str, ...]
    n_inverted: Count
    n_turned: Count
    ns: Number
    steps_per_s: Number
    wall_s: Number
    biased_components: tuple[Count, ...] | None = None
    importances: tuple[Number, ...] | None = None
    biased_loss: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which has no infinity: "inf" and "-inf" stand for it."""
        return {key: finite_or_word(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "IterationRecord":
        """The record that `as_dict` gave; StoreError for other fields."""
        return in_form(fields, cls, source="record")

    @classmethod
    def load(cls, folder: Path, *, any_format: bool = False) -> "IterationRecord":
        """Read record.json of an iteration; arguments and errors as `read_record`."""
        return read_record(folder / "record.json", cls, any_format=any_format)


T = TypeVar("T")
_UNKNOWN: dict[str, Any] = {"problems": (), "observables": {}, "n_frames": 0, "n_inverted": 0, "n_turned": 0}
"""Fields that cannot be without a value, of formats that did not have them."""


def read_record(path: Path, form: type[T], *, any_format: bool = False) -> T:
    """What a stage wrote down, as it wrote it.

    Args:
        path: of the JSON file.
        form: a dataclass.
        any_format: whether fields that older formats did not have are unknown, and others passed over.

    Raises:
        StoreError: when the file is missing, damaged or of another form.
    """
    if any_format:
        found = read_form(path, dict[str, Any])
        known = [item.name for item in fields(form)]  # type: ignore[arg-type]
        filled = {**dict.fromkeys(known), **_UNKNOWN, **found}
        record = in_form({key: filled[key] for key in known}, form, source=str(path))
    else:
        record = read_form(path, form)
    checked(path)
    return record


def records_dataframe(records: Sequence[IterationRecord]) -> Any:
    """A pandas.DataFrame with a row per iteration.

    Raises:
        MissingPackageError: without pandas.
    """
    names = [field.name for field in fields(IterationRecord)]
    return dataframe({name: [getattr(record, name) for record in records] for name in names})


def finite_or_word(value: Any) -> Any:
    """A value as JSON takes it: infinity as a word, a tuple as a list."""
    if isinstance(value, tuple | list):
        return [finite_or_word(item) for item in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value


def required_score(record: IterationRecord, settings: ConvergenceSettings) -> float | None:
    """What an iteration's score needs to be for convergence; None where that is not known.

    A number in the settings counts for all iterations, also for those finished before it was set. With
    "bootstrap" it is the iteration's own s_min, but not less than the floor; where the score is below the
    floor no s_min was looked for, and the floor is what it has to reach. An iteration that was finished under
    a number has none.
    """
    if settings.s_min != "bootstrap":
        return float(settings.s_min)
    if record.score is not None and record.score < settings.floor and record.s_min is None:
        return settings.floor
    if record.s_min is None or record.s_min_replicas is None:
        return None
    return max(record.s_min, settings.floor)


def converged_at(records: Sequence[IterationRecord], settings: ConvergenceSettings) -> int | None:
    """First iteration with which `consecutive` scores in a row are at least what is required, or None."""
    run_length = 0
    for record in records:
        run_length = run_length + 1 if is_good(record, settings) else 0
        if run_length >= settings.consecutive:
            return record.index
    return None


def is_good(record: IterationRecord, settings: ConvergenceSettings) -> bool:
    """Whether an iteration's CV repeats the one before, and its walkers covered what is known.

    The score has to reach `required_score`, and coverage must show no problem, unless the settings leave that
    out.
    """
    required = required_score(record, settings)
    repeats = record.score is not None and required is not None and record.score >= required
    return repeats and not (settings.coverage and record.problems)
