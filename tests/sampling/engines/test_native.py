"""What is special to the native engine: the callback, the compiled kernel, the path through autograd."""

from typing import Any

import numpy as np
import openmm
import pytest

from aecv.ground.errors import SimulationError
from aecv.models.cvs.cv import CV
from aecv.numerics.extended_abf import step_kernels
from aecv.numerics.extended_abf.kernel_memory import FORCES, part
from aecv.sampling.engines.bias_force import BiasForce
from aecv.sampling.engines.checks import free_force_group
from tests.sampling.engines.conftest import Bench, job


def test_generic_path_says_that_it_is_slow(
    bench: Bench, foreign_cv: CV, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        bench.engine(foreign_cv)
    assert "autograd" in caplog.text
    assert "slower" in caplog.text


def test_a_wrong_force_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = step_kernels.encoder_step

    def half_force(*args: Any) -> float:
        energy = kernel(*args)
        part(args[1], args[2], FORCES)[...] *= 0.5
        return float(energy)

    monkeypatch.setattr(step_kernels, "encoder_step", half_force)
    with pytest.raises(SimulationError, match=r"bias is not live: .*relative difference 5\.0e-01"):
        bench.engine().run(job(bench))


def test_ctrl_c_inside_a_step_is_ctrl_c(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMM turns whatever a callback raises into an exception without text."""
    kernel = step_kernels.encoder_step

    def interrupted(*args: Any) -> float:
        if args[0] == 250:
            raise KeyboardInterrupt
        return float(kernel(*args))

    monkeypatch.setattr(step_kernels, "encoder_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.engine().run(job(bench))


def test_ctrl_c_on_the_way_into_a_step_is_no_explosion(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal may come in OpenMM's own Python, before the callback that would remember it."""
    evaluate, calls = BiasForce.evaluate, []

    def interrupted(self: BiasForce, state: openmm.State) -> Any:
        calls.append(None)
        if len(calls) == 100:
            raise KeyboardInterrupt
        return evaluate(self, state)

    monkeypatch.setattr(BiasForce, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench.engine().run(job(bench))


def test_free_force_group_is_not_one_of_the_system() -> None:
    system = openmm.System()
    for group in (31, 30, 0):
        force = openmm.CustomExternalForce("0")
        force.setForceGroup(group)
        system.addForce(force)
    assert free_force_group(system) == 29
    for group in range(32):
        force = openmm.CustomExternalForce("0")
        force.setForceGroup(group)
        system.addForce(force)
    with pytest.raises(SimulationError, match="all 32 force groups"):
        free_force_group(system)


def test_xi_stays_around_lambda_with_the_spread_of_the_spring(bench: Bench) -> None:
    """In equilibrium xi - lambda has variance kT/kappa = sigma^2 where F is smooth over sigma: a slip in a
    unit or in kappa would show."""
    result = bench.engine().run(job(bench, n_steps=200_000, frame_steps=50))
    xi = bench.cv(result.frames[:, bench.cv.atom_indices])
    variance = np.var(xi - result.lam, axis=0)
    sigma_squared = bench.extended.kt / np.array(bench.extended.kappa)
    # 200 ps at a correlation time of about 0.1 ps: 2000 samples, 3 % of the variance
    np.testing.assert_allclose(variance / sigma_squared, 1.0, atol=0.15)
