"""Thresholds by bootstrap where the answer is known, and what counts as converged."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aecv.ground.errors import TrainingError
from aecv.ground.settings import ConvergenceSettings, Settings
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.training import train as training
from aecv.molecules.spec import load_system
from aecv.numerics.kernels.encoder import Encoder
from aecv.workflow.learning import threshold
from aecv.workflow.learning.threshold import (
    Threshold,
    bootstrap_threshold,
    consensus_restart,
    score_quantile,
)
from aecv.workflow.run_folder.records import IterationRecord, converged_at, required_score

REFERENCE = np.array([[0.0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0], [0.35, 0.15, 0.05], [0.4, 0.25, 0.15]])


def settings(*more: str) -> Settings:
    quick = ("autoencoder.hidden=[20]", "autoencoder.latent=1", "training.max_epochs=8")
    return load_system("ala2", overrides=(*quick, "convergence.replicas=4", *more)).settings


def s_min(motion: np.ndarray, **other: Any) -> Threshold:
    """Threshold of frames that follow a motion about the reference, each of the same weight."""
    frames = FrameTable(positions=REFERENCE + motion, weights=np.ones(len(motion)))
    return bootstrap_threshold(frames, frames, REFERENCE, settings=settings(), power=1.0, seed=1, **other)


def test_a_curve_determines_its_coordinate_and_noise_does_not() -> None:
    """A parabola without noise: every resampled set holds the same curve. Isotropic noise has none."""
    rng, modes = np.random.default_rng(3), np.random.default_rng(7).standard_normal((2, 5, 3))
    t = rng.uniform(-1, 1, (3000, 1, 1))
    sharp = s_min(0.04 * t * modes[0] + 0.01 * t**2 * modes[1])
    vague = s_min(0.02 * rng.standard_normal((3000, 5, 3)))
    assert sharp.s_min is not None
    assert vague.s_min is not None
    assert sharp.s_min > 0.99
    assert vague.s_min < 0.6
    assert sharp.bootstrap is not None
    between = sharp.bootstrap.scores[~np.eye(4, dtype=bool)]
    assert sharp.s_min == pytest.approx(np.quantile(between, 0.1))
    assert sharp.bootstrap.scores.shape == (4, 4)


def test_the_quantile_is_over_pairs_of_different_cvs() -> None:
    scores = np.array([[1.0, 0.9, 0.8], [0.7, 1.0, 0.6], [0.5, 0.4, 1.0]])
    assert score_quantile(scores, 0.0) == 0.4
    assert score_quantile(scores, 0.5) == pytest.approx(0.65)
    assert score_quantile(scores, 1.0) == 0.9


def test_replicas_that_cannot_be_trained_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks of four collapse: a matrix of two; three: an error that says what to do."""
    made, failing = training.TrainedAutoencoder, [0, 1]

    def fail(**arguments: Any) -> Any:
        calls.append(0)
        if len(calls) - 1 in failing:
            raise TrainingError("collapsed")
        return made(**arguments)

    monkeypatch.setattr(training, "TrainedAutoencoder", fail)
    motion = 0.02 * np.random.default_rng(0).standard_normal((300, 5, 3))
    calls: list[int] = []
    found = s_min(motion)
    assert found.bootstrap is not None
    assert found.bootstrap.scores.shape == (2, 2)
    calls.clear()
    failing.append(2)
    with pytest.raises(TrainingError, match=r"two replicas that can be trained, got 1 of 4"):
        s_min(motion)


def test_thinning_keeps_frames_with_weight() -> None:
    weights = np.tile([0.0, 1.0, 2.0], 30_000)
    frames = FrameTable(positions=np.arange(90_000.0)[:, None, None], weights=weights).thinned(
        threshold.MOST_FRAMES
    )
    assert threshold.MOST_FRAMES / 2 < len(frames.weights) <= threshold.MOST_FRAMES
    assert frames.weights.min() == 1.0
    np.testing.assert_array_equal(weights[frames.chosen[:, 0, 0].astype(int)], frames.weights)


def linear_encoder(rows: np.ndarray) -> Encoder:
    reference = np.array([[0.1, 0, 0], [0, 0.2, 0], [0, 0, 0.3], [0.1, 0.1, -0.1]])
    return Encoder(reference=reference, weights=(rows,), biases=(np.arange(len(rows), dtype=float),))


def test_of_equally_good_restarts_the_one_like_the_others_is_taken() -> None:
    """Five CVs of nearly the same loss: the lowest is an outlier, one of a group in the middle is chosen."""
    rng = np.random.default_rng(2)
    base, other = rng.normal(size=(1, 12)), rng.normal(size=(1, 12))
    rows = [other, base + 0.4 * rng.normal(size=(1, 12)), base, base + 0.4 * rng.normal(size=(1, 12)), -other]
    encoders = tuple(linear_encoder(row) for row in rows)
    positions = encoders[0].reference + 0.05 * rng.normal(size=(800, 4, 3))
    frames = FrameTable(positions=positions, weights=np.ones(800))
    trained: Any = SimpleNamespace(
        totals=np.array([1.0, 1.03, 1.02, 1.04, 1.5]), restart_encoders=encoders, best_restart=0
    )
    choice = consensus_restart(trained, frames, 0.05)
    assert choice.restart == 2
    assert choice.score is not None
    assert choice.lowest is not None
    assert choice.lowest < 0.5 < choice.score < 1  # the outlier is among the good ones, and shows here
    alone = consensus_restart(trained, frames, 0.0)
    assert (alone.restart, alone.score, alone.lowest) == (0, None, None)


def record(index: int, score: float | None, s_min: float | None, replicas: int | None = 8) -> IterationRecord:
    values: dict[str, Any] = dict.fromkeys(IterationRecord.__dataclass_fields__)
    values |= {"index": index, "score": score, "s_min": s_min}
    return IterationRecord(**values | {"s_min_replicas": None if s_min is None else replicas})


def records(*pairs: tuple[float | None, float | None]) -> list[IterationRecord]:
    return [record(0, None, None), *(record(k, *pair) for k, pair in enumerate(pairs, 1))]


@pytest.mark.parametrize(
    ("pairs", "changes", "expected"),
    [
        ([(0.99, 0.98), (0.99, 0.98)], {}, 2),
        ([(0.99, 0.98), (0.97, 0.98), (0.99, 0.98)], {}, None),
        ([(0.99, 0.98), (0.97, 0.98), (0.99, 0.98)], {"consecutive": 1}, 1),
        ([(0.98, 0.98), (0.98, 0.98)], {}, 2),  # equal is enough
        ([(0.97, 0.5), (0.94, 0.5), (0.96, 0.5), (0.96, 0.5)], {}, 4),  # never below the floor
        ([(0.90, None), (0.99, 0.98), (0.99, 0.98)], {}, 3),  # no bootstrap below the floor
        ([(0.90, None), (0.99, None)], {"s_min": 0.8}, 2),  # a number counts for all
        ([(0.99, 0.98), (0.99, 0.98)], {"s_min": 0.995}, None),
        ([], {}, None),
    ],
)
def test_converged_when_enough_scores_in_a_row_reach_their_own_threshold(
    pairs: list[tuple[float, float | None]], changes: dict[str, Any], expected: int | None
) -> None:
    assert converged_at(records(*pairs), ConvergenceSettings(**changes)) == expected


def test_an_iteration_finished_under_a_number_has_no_bootstrap_of_its_own() -> None:
    """Settings may change when a run is resumed; what was measured does not."""
    given = record(1, 0.999, 0.9, replicas=None)
    assert required_score(given, ConvergenceSettings()) is None
    assert required_score(given, ConvergenceSettings(s_min=0.99)) == 0.99
    assert required_score(record(1, 0.999, 0.97), ConvergenceSettings()) == 0.97
    assert required_score(record(1, 0.999, 0.5), ConvergenceSettings(floor=0.9)) == 0.9
    assert required_score(record(0, None, None), ConvergenceSettings()) is None
