"""The native engine along phi and psi: compiled, and as a Python function through autograd."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from aecv.ground.errors import CVError, SimulationError
from aecv.models.cvs.cv import CV, shortest
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf import step_kernels
from aecv.numerics.extended_abf.kernel_memory import FORCES, part
from aecv.sampling.engines.bias_force import BiasForce
from aecv.sampling.starting.equilibration import equilibrate
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform
from tests.sampling.engines.conftest import Bench, along, job

TURN = 2.0 * np.pi


def torsions(x: torch.Tensor) -> torch.Tensor:
    """phi and psi of C N CA C N, shape (F, 5, 3)."""
    bonds = x[:, 1:] - x[:, :-1]
    columns = []
    for k in range(2):
        a, b, c = bonds[:, k], bonds[:, k + 1], bonds[:, k + 2]
        m, n = torch.linalg.cross(a, b), torch.linalg.cross(b, c)
        sine = torch.linalg.vector_norm(b, dim=-1) * (a * n).sum(dim=-1)
        columns.append(torch.atan2(sine, (m * n).sum(dim=-1)))
    return torch.stack(columns, dim=1)


def forgetful(x: torch.Tensor) -> torch.Tensor:
    """The same values; psi has lost the last atom's part of its gradient."""
    return torch.stack([torsions(x)[:, 0], torsions(torch.cat([x[:, :4], x[:, 4:].detach()], 1))[:, 1]], 1)


def of_function(function: Callable[[Any], Any]) -> CV:
    atoms = [4, 6, 8, 14, 16]  # as `build` finds them for phi and psi; see the first test
    return CV.from_function(function, atoms, cv_range=[[-np.pi, np.pi]] * 2, periodic=(True, True))


@pytest.fixture(scope="module")
def walker() -> Bench:
    """ala2 in its deepest basin; the CV and what belongs to it are to be put in."""
    system = build(load_system("ala2", overrides=["sampling.equilibration_ps=1"]))
    platform = choose_platform(system.system)
    (state,) = equilibrate(system, system.positions[None], n_walkers=1, platform=platform)
    empty = np.empty(0)
    return Bench(system, platform, None, None, empty, state, system.spec.settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["compiled", "function"])
def setting(request: pytest.FixtureRequest, walker: Bench) -> Bench:
    compiled = observable_cv(walker.system.observables, ("phi", "psi"))
    return along(walker, compiled if request.param == "compiled" else of_function(torsions))


def test_the_cv_is_phi_and_psi(setting: Bench) -> None:
    frames = setting.state.positions[None]
    values = setting.system.observables.compute(frames)
    np.testing.assert_allclose(
        setting.cv.of_frames(frames)[0], [values["phi"][0], values["psi"][0]], atol=1e-12
    )
    assert setting.extended.grid.periodic == (True, True)
    np.testing.assert_allclose(setting.extended.grid.periods, TURN)


def test_forces_are_the_derivative_of_the_energy_on_both_sides_of_the_seam(setting: Bench) -> None:
    """Lambda 0.3 rad away: once as it is, once with phi at 3.1 and lambda at 3.4 - 2 pi."""
    positions = setting.probe[3].copy()
    xi = setting.cv(positions)[0]
    turned = positions.copy()
    axis = (positions[2] - positions[1]) / np.linalg.norm(positions[2] - positions[1])
    # phi is turned by moving its first atom about the bond N-CA
    angle = -(3.1 - xi[0])
    arm = positions[0] - positions[1]
    turned[0] = positions[1] + (
        arm * np.cos(angle) + np.cross(axis, arm) * np.sin(angle) + axis * (axis @ arm) * (1 - np.cos(angle))
    )
    assert setting.cv(turned)[0, 0] == pytest.approx(3.1, abs=1e-6)
    energies = []
    for frame in (positions, turned):
        at = setting.cv(frame)[0]
        lam = setting.extended.grid.wrap(at + 0.3)
        bias = BiasForce(setting.cv, setting.extended)
        bias.begin(job(setting, state=replace(setting.state, lam=lam)))
        energy, forces = bias.evaluate(_State(frame, 0))
        energies.append(energy)
        forces = forces.copy()
        numeric = np.zeros_like(forces)
        for index in np.ndindex(*frame.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = frame.copy()
                moved[index] += sign * 1e-6
                ends.append(bias.evaluate(_State(moved, 0))[0])  # the same step: lambda stays
            numeric[index] = -(ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(forces, numeric, atol=1e-6 * np.abs(forces).max())
    assert abs(setting.extended.grid.wrap(at + 0.3)[0] - (3.4 - TURN)) < 1e-6
    np.testing.assert_allclose(energies, 0.5 * sum(setting.extended.kappa) * 0.09, rtol=1e-9)


class _State:
    """What the callback reads of an OpenMM State."""

    def __init__(self, positions: np.ndarray, step: int) -> None:
        self._positions, self._step = positions, step

    def getStepCount(self) -> int:
        return self._step

    def _getVectorAsNumpy(self, kind: int, out: np.ndarray) -> None:
        out[...] = self._positions


def test_compiled_and_function_make_the_same_run(walker: Bench) -> None:
    """300 steps of chaos enlarge rounding, 1e-16, by far less than 1e-6."""
    cvs = (observable_cv(walker.system.observables, ("phi", "psi")), of_function(torsions))
    first, second = (
        bench.engine().run(job(bench, n_steps=300)) for bench in (along(walker, cv) for cv in cvs)
    )
    np.testing.assert_allclose(first.lam, second.lam, atol=1e-6)
    np.testing.assert_allclose(first.frames, second.frames, atol=1e-5)


def test_a_frozen_bias_drives_the_molecule_through_the_seam(walker: Bench) -> None:
    """B rises by 120 kJ/mol per rad from psi = 0.3 over pi to the place 4.4 rad further, then it falls."""
    bench = along(walker, observable_cv(walker.system.observables, ("phi", "psi")))
    grid = bench.extended.grid
    assert 0.5 < bench.state.lam[1] < 1.5  # C7eq, on the slope
    way = np.mod(grid.center_points()[:, 1] - 0.3, TURN)
    potential = 120.0 * np.where(way < 4.4, way, 4.4 * (TURN - way) / (TURN - 4.4))
    result = bench.engine().run(job(bench, n_steps=4000, frame_steps=1, potential=potential))
    psi = bench.cv(result.frames[:, bench.cv.atom_indices])[:, 1]
    for series in (result.lam[:, 1], psi):
        jumps = np.abs(np.diff(series)) > np.pi
        assert jumps.sum() % 2 == 1  # once more upwards than back
        assert abs(shortest(series[-500:].mean() - (0.3 + 4.4), np.array(TURN))) < 0.7
    # a spring that took the long way would have torn psi off lambda, or the molecule apart
    assert np.abs(shortest(psi - result.lam[:, 1], np.array(TURN))).max() < 1.5


def test_a_wrong_force_of_the_kernel_is_noticed(walker: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = step_kernels.internal_step

    def half_force(*args: Any) -> float:
        energy = kernel(*args)
        part(args[1], args[2], FORCES)[...] *= 0.5
        return float(energy)

    monkeypatch.setattr(step_kernels, "internal_step", half_force)
    bench = along(walker, observable_cv(walker.system.observables, ("phi", "psi")))
    with pytest.raises(SimulationError, match=r"bias is not live: .*relative difference 5\.0e-01"):
        bench.engine().run(job(bench))


def test_a_kernel_that_differs_from_the_torch_module_is_refused(
    walker: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = along(walker, observable_cv(walker.system.observables, ("phi", "psi")))
    monkeypatch.setattr(bench.cv.module, "forward", lambda x: torsions(x.reshape(-1, 5, 3)) * (1 + 1e-6))
    with pytest.raises(CVError, match=r"kernel and TorchScript of phi, psi differ by 1\.0e-06"):
        bench.engine()


def test_a_function_that_loses_its_gradient_is_refused(walker: Bench) -> None:
    bench = along(walker, of_function(forgetful))
    with pytest.raises(CVError, match="gradient of forgetful differs from finite differences"):
        bench.engine()


def test_atoms_on_a_line_stop_the_run_with_a_reason(walker: Bench) -> None:
    bench = along(walker, observable_cv(walker.system.observables, ("phi", "psi")))
    bias = BiasForce(bench.cv, bench.extended)
    bias.begin(job(bench))
    line = np.zeros((5, 3))
    line[:, 0] = np.arange(5)
    with pytest.raises(SimulationError, match="atoms of an angle or dihedral lie on a line"):
        bias.evaluate(_State(line, 0))
