"""CVs that cannot be biased as they are given: constant, far from the starts, periodic by word alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aecv.ground.errors import CVError
from aecv.models.cvs.cv import CV
from aecv.molecules.spec import load_system
from aecv.workflow.dynamics.reach import check_behaviour, check_starts
from aecv.workflow.sample_along import sample_along
from tests.workflow.test_sample_along import round_the_circle

SHORT = (
    "production.frozen_stages=1",
    "starts.hot_ps=20",
    "starts.candidates=4",
    "sampling.equilibration_ps=0.2",
)


def radius(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0].norm(dim=1)


@pytest.mark.parametrize(
    ("function", "component", "value"),
    [
        (lambda x: torch.stack([x[:, 0, 0], 0.0 * x[:, 0, 1] + 3.0], dim=1), 2, "xi is 3 in"),
        (lambda x: (100.0 * x[:, 0, 0]).clamp(-1e-3, -1e-3), 1, "xi is -0.001 in"),
    ],
)
def test_a_constant_function_is_refused_before_the_run(
    function: object, component: int, value: str, tmp_path: Path
) -> None:
    cv = CV.from_function(function, [0], cv_range=[[-1.0, 1.0]] * component, name="same")  # type: ignore[arg-type]
    spec = load_system("double_well_circle", overrides=SHORT)
    with pytest.raises(CVError, match=rf"component {component} cannot be biased: it is constant: {value}"):
        sample_along(spec, cv, tmp_path / "run", ns=0.002)
    assert not list((tmp_path / "run").glob("along/*"))


def test_a_range_that_the_starts_are_far_from_is_refused_before_the_run(tmp_path: Path) -> None:
    """The particle is at a radius of 1 nm."""
    cv = CV.from_function(radius, [0], cv_range=[[5.0, 6.0]])
    spec = load_system("double_well_circle", overrides=SHORT)
    with pytest.raises(CVError, match=r"biased in \[5, 6\], but xi is \d\.\d+ .. 1\.\d+ where the walkers"):
        sample_along(spec, cv, tmp_path / "run", ns=0.002)
    assert not list((tmp_path / "run").glob("along/*.dcd"))


def test_half_the_width_is_as_far_as_a_start_may_lie_outside() -> None:
    cv = CV.from_function(radius, [0], cv_range=[[1.0, 2.0]])
    for r in (0.51, 1.5, 2.49):
        check_starts(cv, np.array([[[r, 0.0, 0.0]], [[0.0, 1.2, 0.0]]]))
    for r in (0.49, 2.51):
        with pytest.raises(CVError, match=r"1 of 2 of them farther outside than 0\.5 of that width"):
            check_starts(cv, np.array([[[r, 0.0, 0.0]], [[0.0, 1.2, 0.0]]]))
    check_starts(round_the_circle(), np.array([[[-1.0, 0.0, 0.0]]]))


def test_a_period_that_values_leave_is_none() -> None:
    frames = np.random.default_rng(0).normal(size=(50, 1, 3))
    check_behaviour(round_the_circle(), frames)
    check_behaviour(CV.from_function(radius, [0], cv_range=[[0.2, 0.4]]), frames)
    cv = CV.from_function(radius, [0], cv_range=[[0.2, 0.4]], periodic=(True,))
    with pytest.raises(CVError, match=r"have the period \[0\.2, 0\.4\], but xi is \d\.\d+ .. [23]\.\d+"):
        check_behaviour(cv, frames)


def test_rounding_at_the_seam_is_no_reason() -> None:
    """pi in single precision is 8.7e-8 more than pi."""
    cv = CV.from_function(
        lambda x: torch.atan2(x[:, 0, 1], x[:, 0, 0]).float(),
        [0],
        cv_range=[[-np.pi, np.pi]],
        periodic=(True,),
    )
    frames = np.array([[[-1.0, 0.0, 0.0]], [[-1.0, 1e-12, 0.0]]])
    assert cv(frames).max() > np.pi
    check_behaviour(cv, frames)
