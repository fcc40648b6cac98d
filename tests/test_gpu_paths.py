"""The benchmark of the ways to the force of the CV, on platforms that every machine has, and on a GPU."""

import importlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import openmm
import pytest

from aecv.ground.errors import SettingsError, SimulationError
from aecv.molecules.spec import load_system
from aecv.sampling.dynamics.segments import place
from aecv.sampling.engines.availability import Availability
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.system.molecular_system import build
from aecv.sampling.system.platforms import choose_platform, fastest_platform

SCRIPTS = Path(__file__).parents[1] / "benchmarks"
NAMES = ("alanine_setting", "force_ways", "gpu_paths", "multiple_time_step", "soak", "torch_callback")
QUICK = "sampling.equilibration_ps=0.2"
WARM = "sampling.equilibration_ps=10"
"""Velocities of a minimised structure hold half of the heat; the thermostat gives the rest in some ps."""
SCATTER = 0.07
"""Standard deviation of the averages of 16 ps over 12 seeds: 0.069 of the spring, 0.061 of lambda's heat."""


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The benchmarks as Python imports them when it runs one: with their folder first on the path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})


@pytest.fixture
def no_torchforce(scripts: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if openmm-torch were not there; to probe it takes a process and seconds."""
    found = Availability(name="torchforce", works=False, reason="there is none")
    monkeypatch.setattr(scripts.force_ways.choice, "availability", lambda _: found)


def made(scripts: SimpleNamespace, platform: str, folder: Path, equilibration: str) -> Any:
    spec = load_system("ala2", overrides=[equilibration])
    return scripts.alanine_setting.prepared(
        spec, choose_platform(openmm.System(), platform), folder, n_frames=20
    )


@pytest.fixture(scope="module")
def setting(scripts: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return made(scripts, "Reference", tmp_path_factory.mktemp("vacuum"), WARM)


def forces_on_atoms(engine: Any, job: Any) -> np.ndarray:
    """Forces of all groups at a job's start, [kJ/mol/nm]."""
    engine.bias.begin(job)
    place(engine.context, job.state, step=0)
    return np.array(engine.context.getState(forces=True).getForces(asNumpy=True)._value)


@pytest.mark.parametrize("n", [1, 4])
def test_forces_under_multiple_steps_are_those_of_one(scripts: SimpleNamespace, setting: Any, n: int) -> None:
    """The same positions and lambda away from xi: only the moments differ at which the force acts."""
    job = setting.job(100, 100)
    job = replace(job, state=replace(job.state, lam=job.state.lam + 0.1))
    plain, slow = (
        setting.engine(NativeEngine),
        setting.engine(scripts.multiple_time_step.MultipleStepEngine, n=n),
    )
    expected = forces_on_atoms(plain, job)
    np.testing.assert_allclose(forces_on_atoms(slow, job), expected, rtol=0, atol=1e-9)
    spring = expected - forces_on_atoms(plain, setting.job(100, 100))
    assert np.abs(spring).max() > 100.0  # the spring is a part of them: kappa 0.1 grad xi
    step = slow.integrator.getStepSize()._value
    assert step == pytest.approx(n * 0.001)
    assert slow.extended.timestep_ps == pytest.approx(step)  # lambda moves with the outer step


def test_a_step_is_new_where_the_atoms_have_moved(scripts: SimpleNamespace, setting: Any) -> None:
    """Each position moves lambda once: n + 1 samples in n steps, however often a force is asked for."""
    kind = scripts.multiple_time_step.MultipleStepEngine

    def look(engine: Any, _: np.ndarray) -> None:
        # not the energy: under a CustomIntegrator on the Reference platform that draws random numbers
        engine.context.getState(forces=True)

    engine, watching = setting.engine(kind, n=2), setting.engine(kind, look, n=2)
    result, looked = (e.run(setting.job(60, 20, is_flat=True)) for e in (engine, watching))
    assert result.increment.n_lam.sum() == looked.increment.n_lam.sum() == 61
    np.testing.assert_allclose(looked.lam, result.lam, rtol=0, atol=1e-9)


def test_the_spring_keeps_its_temperature(
    scripts: SimpleNamespace, setting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kappa <(xi - lam)^2> = kT exactly; where the atoms feel half of the spring alone, it is not.

    So short an average sees gross errors alone; the script's own tables are long enough for those of a few %.
    The bound is four times the scatter over seeds; standard errors from blocks as short as these are too
    small. The wrong lambda is at kT/2 on a spring of kappa/2, coupled to atoms at kT: between 1 and 2.
    """
    steps = scripts.multiple_time_step
    stiff = setting.with_phase(0.33).without_walls()
    row = steps.averages_of_run(stiff, steps.MultipleStepEngine, 16_000, n=1)
    assert abs(row["spring"] - 1.0) < 4 * SCATTER
    assert abs(row["lam_kinetic"] - 1.0) < 4 * SCATTER
    right = steps.SlowBias.evaluate

    def half(bias: Any, state: openmm.State) -> tuple[float, np.ndarray]:
        energy, forces = right(bias, state)
        return energy, 0.5 * forces

    monkeypatch.setattr(steps.SlowBias, "evaluate", half)
    monkeypatch.setattr(steps.MultipleStepEngine, "verify_live", lambda _: None)
    wrong = steps.averages_of_run(stiff, steps.MultipleStepEngine, 16_000, n=1)
    assert wrong["spring"] - 1.0 > 4 * SCATTER


def test_a_spring_that_turns_too_far_is_reported(scripts: SimpleNamespace, setting: Any) -> None:
    """4 x 0.6 rad is beyond the limit of 2, where leapfrog diverges: a row with the reason, no crash."""
    native, row = scripts.multiple_time_step.error_rows(setting.with_phase(0.6), 2_000, multiples=(4,))
    assert (native["what"], row["what"]) == ("native", "MTS n = 4")
    assert (native["phase"], row["phase"]) == pytest.approx((0.6, 2.4))
    assert row["failed"]  # in the words of what met it first: the integrator, or the kernel
    assert "failed" not in native


def test_phases(scripts: SimpleNamespace, setting: Any) -> None:
    """The spring is as stiff as asked for, lambda's own period stays, and a free lambda is the limit."""
    stiff = setting.with_phase(0.4)
    assert stiff.phase == pytest.approx(0.4)
    ratios = np.array(stiff.extended.kappa) / stiff.extended.mass
    np.testing.assert_allclose(ratios, np.array(setting.extended.kappa) / setting.extended.mass)
    with pytest.raises(SettingsError, match=r"more than the 0\.031 of a free lambda, got 0\.01"):
        setting.with_phase(0.01)
    with pytest.raises(SettingsError, match="n needs to be 1 or more, got 0"):
        scripts.multiple_time_step.multiple_step_context(setting.system, setting.platform, n=0)


def test_table_has_all_rows(
    scripts: SimpleNamespace, setting: Any, no_torchforce: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot run stands there with its reason; unbiased MD beside itself is 1."""
    rows = scripts.gpu_paths.speed_rows(setting, 200, 1, scripts.force_ways.ways(torch_device="cpu"))
    assert [row["what"] for row in rows] == [
        "unbiased MD",
        "unbiased MD, MTSLangevin n = 1",
        "native",
        "native, MTS n = 2",
        "native, MTS n = 4",
        "PythonForce, torch on cpu",
        "torchforce",
    ]
    assert rows[0]["ratio"] == 1.0
    assert all(row["steps_per_s"] > 0 for row in rows[:-1])
    assert rows[-1]["why_not"] == "torchforce: there is none"
    scripts.gpu_paths.print_speed("here", rows)
    assert "torchforce: there is none" in capsys.readouterr().out.splitlines()[-1]


def test_table_of_errors(scripts: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that exploded has its reason below the table, without the advice for another program."""
    row = {"what": "MTS n = 4", "phase_of_dt": 0.5, "phase": 2.0}
    averages = {"spring": 1.0123, "lam_kinetic": 0.99, "atoms_kinetic": 1.0}
    errors = {f"{name}_error": 0.02 for name in averages}
    scripts.gpu_paths.print_errors([row | averages | errors, row | {"failed": "exploded near step 7; begin"}])
    *_, good, bad, why = capsys.readouterr().out.splitlines()
    assert "1.012 ±0.020" in good
    assert bad.split() == ["0.50", "MTS", "n", "=", "4", "2.00", "failed"]
    assert why == "  MTS n = 4 at 2.00: exploded near step 7"


def test_torch_in_the_callback(scripts: SimpleNamespace, setting: Any) -> None:
    """The network in torch gives the forces of the kernel."""
    job = setting.job(100, 100)
    job = replace(job, state=replace(job.state, lam=job.state.lam + 0.1))
    theirs = setting.engine(scripts.torch_callback.TorchCallbackEngine, device="cpu")
    expected = forces_on_atoms(setting.engine(NativeEngine), job)
    np.testing.assert_allclose(forces_on_atoms(theirs, job), expected, rtol=0, atol=1e-7)


def test_soak_stops_at_the_first_nan(scripts: SimpleNamespace, setting: Any) -> None:
    """A force that is NaN from the 75th step on: the looks after 25, 50 and 75 steps find all sound."""

    class Breaking(NativeEngine):
        def make_bias(self) -> Any:
            bias, force = super().make_bias()

            def evaluate(state: openmm.State) -> tuple[float, np.ndarray]:
                energy, forces = bias.evaluate(state)
                return energy, forces * (np.nan if state.getStepCount() > 75 else 1.0)

            force = openmm.PythonForce(evaluate)
            force.setParticles([int(index) for index in self.cv.atom_indices])
            return bias, force

    way = scripts.force_ways.Way
    ways = [way(name="breaks", kind=Breaking), way(name="lasts", kind=NativeEngine)]
    broken, sound = scripts.soak.soak_rows(setting, 3000, 25, ways)
    assert broken["steps"] == 75
    assert "not finite" in broken["fault"]
    assert (sound["steps"], sound["fault"]) == (3000, None)  # over the end of a segment of 100 looks
    with pytest.raises(SimulationError, match="no: there is none"):
        way(name="no", why_not="there is none").engine(setting)


def test_script(
    tmp_path: Path,
    scripts: SimpleNamespace,
    no_torchforce: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From the command line to the JSON, on the CPU platform."""
    out = tmp_path / "rows.json"
    words = "--platform CPU --steps 100 --repeats 1 --error-steps 0 --torch-device cpu --soak 100 --json"
    monkeypatch.setattr(scripts.gpu_paths, "EQUILIBRATION", QUICK)
    prepared = partial(scripts.alanine_setting.prepared, n_frames=10)
    monkeypatch.setattr(scripts.gpu_paths, "prepared", prepared)
    monkeypatch.setattr(sys, "argv", ["gpu_paths", *words.split(), str(out)])
    scripts.gpu_paths.main()
    found = json.loads(out.read_text())
    assert found["platform"] == "CPU"
    assert found["vacuum"]["atoms"] == 22
    assert len(found["vacuum"]["speed"]) == 7
    assert found["vacuum"]["soak"][0] == {"what": "native", "steps": 100, "fault": None}
    assert capsys.readouterr().out.startswith("platform CPU, OpenMM ")


def test_water_box(tmp_path: Path, scripts: SimpleNamespace) -> None:
    """The molecule keeps its atoms and its CV; waters fill the box with three atoms each, rigid at 2 fs."""
    platform = choose_platform(openmm.System(), "CPU")
    spec = scripts.alanine_setting.minimised(
        scripts.alanine_setting.water_box(tmp_path, 0.6, QUICK), platform
    )
    system = build(spec)
    assert (system.n_atoms - 22) % 3 == 0
    assert system.n_atoms > 100
    assert spec.settings.dynamics.timestep_ps == 0.002
    assert system.system.usesPeriodicBoundaryConditions()
    vacuum = build(load_system("ala2"))
    np.testing.assert_array_equal(system.cv_atom_indices, vacuum.cv_atom_indices)
    # 12 bonds with hydrogen, and three distances a water
    assert system.system.getNumConstraints() == 12 + (system.n_atoms - 22)


def gpu_platform() -> str | None:
    """The fastest platform with a device that works here; None where there is none."""
    name = fastest_platform().platform.getName()
    return None if name in ("Reference", "CPU") else name


@pytest.mark.gpu
def test_on_a_device(tmp_path: Path, scripts: SimpleNamespace) -> None:
    """Forces of the device are those of the Reference platform to single precision, and all ways last."""
    name = gpu_platform()
    if name is None:
        pytest.skip("OpenMM finds no CUDA, HIP or OpenCL platform that works here")
    setting = made(scripts, name, tmp_path, WARM)
    multiple = scripts.multiple_time_step.MultipleStepEngine
    reference = replace(setting, platform=choose_platform(openmm.System(), "Reference"))
    job = setting.job(100, 100)
    job = replace(job, state=replace(job.state, lam=job.state.lam + 0.1))
    expected = forces_on_atoms(reference.engine(NativeEngine), job)
    for kind, options in ((NativeEngine, {}), (multiple, {"n": 2})):
        found = forces_on_atoms(setting.engine(kind, **options), job)
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    rows = scripts.soak.soak_rows(setting, 2000, 100, scripts.force_ways.ways())
    ran = [row for row in rows if row["steps"]]
    assert {"native", "native, MTS n = 2", "native, MTS n = 4"} <= {row["what"] for row in ran}
    assert all(row["fault"] is None for row in ran)
