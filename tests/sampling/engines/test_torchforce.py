"""What is special to the torchforce engine: its probe, its callback, and that it repeats the native run."""

import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openmm
import pytest
import torch

from aecv.ground.errors import CVError, SimulationError
from aecv.ground.grid import Grid
from aecv.models.cvs.cv import CV
from aecv.models.cvs.spring import SpringModule, script_springs
from aecv.sampling.dynamics import segments as dynamics
from aecv.sampling.engines import torch_plugin, torchforce
from tests.sampling.engines.conftest import Bench, couple_like, job, skip_without, with_engine


@pytest.fixture(params=[pytest.param("torchforce", marks=pytest.mark.torchforce), "callback"])
def engine_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """openmm-torch as it is installed; and its PythonTorchForce, which no release has, with OpenMM's own
    PythonForce in its place."""
    if request.param == "torchforce":
        return skip_without("torchforce")
    plugin = SimpleNamespace(PythonTorchForce=callback_force)
    monkeypatch.setattr(torchforce, "load_openmmtorch", lambda: plugin)
    return "torchforce"


def callback_force(compute: Any) -> openmm.PythonForce:
    """What PythonTorchForce does, by PythonForce: positions as a tensor, energy and forces as tensors."""

    def evaluate(state: openmm.State) -> tuple[float, np.ndarray]:
        positions = torch.tensor(dynamics.read_positions(state), requires_grad=True)
        energy, forces = compute(state, positions)
        return energy.item(), forces.double().numpy()

    return openmm.PythonForce(evaluate)


def test_it_makes_the_run_of_the_native_engine(setting: Bench) -> None:
    """100 steps of chaos enlarge rounding, 1e-16, by far less than 1e-6."""
    asked = job(setting, n_steps=100, frame_steps=10)
    theirs, ours = (
        with_engine(setting, name).engine().run(asked) for name in (setting.engine_name, "native")
    )
    np.testing.assert_allclose(theirs.lam, ours.lam, atol=1e-6)
    np.testing.assert_allclose(theirs.frames, ours.frames, atol=1e-5)
    assert theirs.increment is not None
    assert ours.increment is not None
    np.testing.assert_allclose(theirs.increment.sum_lam.sum(axis=0), ours.increment.sum_lam.sum(axis=0), 1e-4)


def test_what_goes_wrong_in_a_step_is_told(learned: Bench) -> None:
    broken = learned.state.positions.copy()
    broken[learned.cv.atom_indices[2]] = np.nan
    with pytest.raises(SimulationError, match=r"atoms are not finite \(first: CV atom 2\)"):
        learned.engine().run(job(learned, state=replace(learned.state, positions=broken)))


def test_a_failure_inside_torch_is_one_line(bench: Bench) -> None:
    """Torch's own message is the trace of a whole module; its last line is the reason."""

    def failing(x: torch.Tensor) -> torch.Tensor:
        if x.max() > 100.0:
            raise RuntimeError("Traceback of TorchScript\n  RuntimeError: failed to converge")
        return x[:, 0, 0]

    cv = CV.from_function(failing, [0], cv_range=[[0.0, 1.0]], name="failing")
    grid = Grid(lower=(0.0,), upper=(1.0,), n_bins=(10,))
    bias = torchforce.TensorBias(cv, couple_like(bench, grid))
    state = SimpleNamespace(getStepCount=lambda: 3)
    words = r"^extended ABF at step 3, lambda \[0\.\]: torch failed: RuntimeError: failed to converge$"
    with pytest.raises(SimulationError, match=words) as caught:
        bias.evaluate(state, torch.full((1, 3), 1000.0))
    assert bias.raised is caught.value


def test_the_script_is_the_springs_of_the_module(setting: Bench) -> None:
    """Energy and gradient of the TorchScript against kappa/2 (xi - lam)^2 by numpy, also across the seam."""
    cv, kappa = setting.cv, np.array(setting.extended.kappa)
    script = script_springs(cv, kappa, n_atoms=setting.system.n_atoms)
    positions = torch.tensor(setting.state.positions, requires_grad=True)
    xi, gradient = cv.with_gradient(setting.state.positions[cv.atom_indices])
    for shift in (0.0, 0.3, 6.0):
        lam = xi[0] + shift
        energy = script(positions, *torch.tensor(lam))
        (slope,) = torch.autograd.grad(energy, positions)
        turns = np.round(-shift / np.where(cv.periods > 0, cv.periods, np.inf))
        stretch = -shift - cv.periods * turns
        assert energy.item() == pytest.approx(0.5 * np.sum(kappa * stretch**2), rel=1e-6, abs=1e-12)
        expected = np.einsum("c,cia->ia", kappa * stretch, gradient[0])
        np.testing.assert_allclose(slope.numpy()[cv.atom_indices], expected, rtol=1e-6, atol=1e-6)


def test_a_python_function_is_no_torchscript(bench: Bench) -> None:
    cv = CV.from_function(lambda x: x[:, 0, 0], [0], cv_range=[[0.0, 1.0]], name="first")
    with pytest.raises(CVError, match=r"torchforce: first is a Python function, .* --engine native"):
        script_springs(cv, [1.0], n_atoms=2)
    assert SpringModule(cv, [2.0])(torch.ones(2, 3), torch.tensor(0.0)).item() == 1.0


def test_the_probe_tells_faults_apart() -> None:
    """From the lines that the other process leaves."""
    begun = '{"stage": "loading openmm-torch", "OpenMM": "8.5", "torch": "2.13"}\n'
    missing = '{"error": "ModuleNotFoundError: No module named \'openmmtorch\'"}'
    found = torch_plugin.judged(begun + missing, fault="exit")
    assert (found.works, found.reason) == (False, "openmm-torch is not installed")
    loaded = begun + '{"openmm-torch": "1.5"}\n{"stage": "a test force", "force": "TorchForce"}\n'
    found = torch_plugin.judged(loaded, fault="the process crashed (SIGSEGV)")
    assert str(found).startswith(
        "engine torchforce does not work here: openmm-torch 1.5, torch 2.13, OpenMM 8.5 do not fit each "
        "other: a test force failed: the process crashed (SIGSEGV); pip install"
    )
    assert "is 13.0, not 14" in torch_plugin.judged(loaded + '{"energy": 13.0}', fault="").reason
    works = torch_plugin.judged(loaded + '{"energy": 14.0}', fault="")
    assert (works.works, works.remedy) == (True, "")
    assert works.reason == "openmm-torch 1.5, torch 2.13, OpenMM 8.5, by TorchForce"
    noise = "{not JSON}\n{'a': 1}\n[1]\n{\n"
    assert torch_plugin.judged(noise + loaded + '{"energy": 14.0}', fault="").works
    assert works.versions == {"openmm-torch": "1.5"}
    nothing = torch_plugin.judged("", fault="no answer in 300 s")
    assert nothing.reason == "starting Python failed: no answer in 300 s"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import os; os.kill(os.getpid(), 11)",
            r"loading openmm-torch failed: the process crashed \(SIGSEGV\)",
        ),
        (
            "raise ImportError('undefined symbol: _ZN3c106detail')",
            r"loading openmm-torch failed: ImportError: undefined symbol: _ZN3c106detail",
        ),
        (
            "import openmm\n"
            "def TorchForce(module):\n"
            "    force = openmm.CustomExternalForce('2*(x^2 + y^2 + z^2)')\n"
            "    force.addParticle(0)\n"
            "    return force",
            r"the energy of a test force is 28\.0, not 14",
        ),
    ],
)
def test_a_package_that_crashes_ends_the_probe_and_not_aecv(
    text: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "openmmtorch.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    found = torch_plugin.availability()
    assert not found.works
    assert re.search(reason, found.reason), found.reason
    assert 'pip install ".[torchforce]" in the source folder' in found.remedy
