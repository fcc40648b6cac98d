"""The contract of an engine, for the compiled kernel and for the generic path through autograd."""

from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import pytest

from aecv.ground.errors import CVError, SimulationError
from aecv.ground.grid import Grid
from aecv.models.cv import CV, export_cv, load_cv
from aecv.numerics import kernels
from aecv.numerics.abf import Accumulators, couple
from aecv.numerics.encoder import Encoder
from aecv.sampling import dynamics
from aecv.sampling.dynamics import SegmentJob, SegmentSeed
from aecv.sampling.engines import native
from aecv.sampling.engines.bias_force import BiasForce
from aecv.sampling.engines.native import NativeEngine, free_force_group
from tests.engines.conftest import Bench


@pytest.fixture(params=["compiled", "generic"])
def setting(request: pytest.FixtureRequest, bench: Bench, foreign_cv: CV) -> Bench:
    """The bench with aecv's own CV, and with one of another program."""
    if request.param == "compiled":
        return bench
    xi = foreign_cv(bench.probe)
    grid = Grid(
        lower=tuple((xi.min(axis=0) - 0.1).tolist()),
        upper=tuple((xi.max(axis=0) + 0.1).tolist()),
        n_bins=(20, 20),
    )
    extended = couple(
        grid,
        kt=2.494,
        sigma=grid.widths,
        tau_ps=0.2,
        friction_per_ps=8.0,
        timestep_ps=0.001,
        full_samples=200,
    )
    lam = foreign_cv(bench.state.positions[foreign_cv.atom_indices])[0]
    return replace(bench, cv=foreign_cv, extended=extended, state=replace(bench.state, lam=lam))


def job(
    bench: Bench, *, n_steps: int = 500, frame_steps: int = 100, segment: int = 0, **other: Any
) -> SegmentJob:
    fields = {"state": bench.state, "accumulators": Accumulators.zeros(bench.extended.grid)} | other
    seed = SegmentSeed(root=7, stage="test", walker=0, segment=segment)
    return SegmentJob(n_steps=n_steps, frame_steps=frame_steps, seed=seed, **fields)


def test_one_sample_per_step_pairs_lambda_with_its_positions(setting: Bench) -> None:
    """With a frame at every step the accumulators can be computed again from the frames."""
    n_steps = 300
    result = setting.engine().run(job(setting, n_steps=n_steps, frame_steps=1))
    cv, extended = setting.cv, setting.extended
    # the step from frame n is made with the forces at frame n: the first is the start, the last is not used
    positions = np.concatenate([setting.state.positions[None], result.frames[:-1]])
    lam = np.concatenate([setting.state.lam[None], result.lam[:-1]])
    xi = cv(positions[:, cv.atom_indices])
    pull = np.array(extended.kappa) * (lam - xi)
    expected = np.zeros((extended.grid.size, 6))
    np.add.at(expected, (extended.grid.index(lam), 0), 1)
    np.add.at(expected, (extended.grid.index(lam), slice(1, 3)), pull)
    np.add.at(expected, (extended.grid.index(xi), 3), 1)
    np.add.at(expected, (extended.grid.index(xi), slice(4, 6)), pull)
    assert result.increment is not None
    assert result.increment.n_lam.sum() == n_steps
    # frames are float32: 1e-7 nm, and kappa grad xi of about 1e4 kJ/mol/nm; one at an edge may change its bin
    for columns in (slice(0, 1), slice(3, 4)):
        assert np.abs(result.increment.samples[:, columns] - expected[:, columns]).sum() <= 4
    assert np.abs(result.increment.sum_lam.sum(axis=0) - pull.sum(axis=0)).max() < 1e-2 * np.abs(pull).max()
    same = (np.abs(result.increment.samples - expected)[:, [0, 3]] == 0).all(axis=1)
    np.testing.assert_allclose(
        result.increment.samples[same], expected[same], atol=1e-3 * np.abs(pull).max() + 1e-9
    )


def test_same_seed_same_series_and_another_seed_another(setting: Bench) -> None:
    first, second = (setting.engine().run(job(setting)) for _ in range(2))
    np.testing.assert_array_equal(first.frames, second.frames)
    np.testing.assert_array_equal(first.lam, second.lam)
    third = setting.engine().run(job(setting, segment=1))
    assert np.abs(third.frames - first.frames).max() > 1e-3


def test_going_on_in_a_new_engine_is_not_stopping(setting: Bench) -> None:
    engine = setting.engine()
    first = engine.run(job(setting))
    assert first.increment is not None
    going_on = job(setting, state=first.state, accumulators=first.increment, segment=1)
    straight, resumed = engine.run(going_on), setting.engine().run(going_on)
    np.testing.assert_array_equal(straight.frames, resumed.frames)
    np.testing.assert_array_equal(straight.state.lam, resumed.state.lam)
    assert straight.increment is not None
    assert resumed.increment is not None
    np.testing.assert_array_equal(straight.increment.samples, resumed.increment.samples)


class _State:
    """What the callback reads of an OpenMM State."""

    def __init__(self, positions: np.ndarray, step: int) -> None:
        self._positions, self._step = positions, step

    def getStepCount(self) -> int:
        return self._step

    def _getVectorAsNumpy(self, kind: int, out: np.ndarray) -> None:
        out[...] = self._positions


def test_forces_are_the_derivative_of_the_energy(setting: Bench) -> None:
    lam = setting.state.lam + 0.3 * np.array(setting.extended.grid.widths)
    bias = BiasForce(setting.cv, setting.extended)
    bias.begin(job(setting, state=replace(setting.state, lam=lam)))
    positions = setting.probe[3].copy()
    forces = bias.evaluate(_State(positions, 0))[1].copy()
    step = 1e-6
    numeric = np.zeros_like(forces)
    for index in np.ndindex(*positions.shape):
        energies = []
        for sign in (1, -1):
            moved = positions.copy()
            moved[index] += sign * step
            energies.append(bias.evaluate(_State(moved, 0))[0])  # the same step: lambda stays
        numeric[index] = -(energies[0] - energies[1]) / (2 * step)
    assert np.abs(forces).max() > 1.0
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * np.abs(forces).max())
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-9 * np.abs(forces).max())
    torque = np.cross(positions, forces).sum(axis=0)
    np.testing.assert_allclose(torque, 0, atol=1e-8 * np.abs(forces).max())


def test_looking_at_energies_between_steps_changes_nothing(bench: Bench) -> None:
    straight = bench.engine().run(job(bench, n_steps=200))
    watched = bench.engine()
    advance = dynamics.advance

    def look_and_advance(context: openmm.Context, *others: Any) -> np.ndarray:
        for _ in range(3):
            context.getState(energy=True, forces=True)
        return advance(context, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dynamics, "advance", look_and_advance)
        result = watched.run(job(bench, n_steps=200))
    np.testing.assert_array_equal(straight.frames, result.frames)
    assert straight.increment is not None
    assert result.increment is not None
    np.testing.assert_array_equal(straight.increment.samples, result.increment.samples)


def test_the_bias_pushes_lambda_away(bench: Bench) -> None:
    """A strong mean force known everywhere drives lambda to the wall it points at."""
    samples = Accumulators.zeros(bench.extended.grid).samples
    samples[:, 0], samples[:, 1] = 1e6, 1e6 * 400.0
    strong = Accumulators(grid=bench.extended.grid, samples=samples)
    pushed = bench.engine().run(job(bench, n_steps=3000, accumulators=strong))
    free = bench.engine().run(job(bench, n_steps=3000))
    assert pushed.lam[-10:, 0].mean() > free.lam[-10:, 0].mean() + 5 * bench.extended.grid.widths[0]


def test_generic_path_says_that_it_is_slow(
    bench: Bench, foreign_cv: CV, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING"):
        bench.engine(foreign_cv)
    assert "autograd" in caplog.text
    assert "slower" in caplog.text


def test_a_kernel_that_differs_from_its_pt_is_refused(bench: Bench, tmp_path: Any) -> None:
    encoder = bench.cv.encoder
    assert encoder is not None
    changed = Encoder(
        reference=encoder.reference,
        weights=(encoder.weights[0], encoder.weights[1] * (1 + 1e-6)),
        biases=encoder.biases,
    )
    cv = bench.cv
    export_cv(
        changed, tmp_path, atom_indices=cv.atom_indices, cv_range=cv.cv_range, system="ala2", system_hash=""
    )
    mixed = replace(load_cv(bench.cv.source), module_path=tmp_path / "cv.pt")
    with pytest.raises(CVError, match=r"kernel and TorchScript .* differ by 1\.\de-06"):
        bench.engine(mixed)


def test_a_bias_that_the_integrator_leaves_out_is_noticed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context = native.make_context

    def without_bias(*args: Any, **kwargs: Any) -> tuple[openmm.Context, openmm.Integrator]:
        context, integrator = make_context(*args, **kwargs)
        integrator.setIntegrationForceGroups({0})
        return context, integrator

    monkeypatch.setattr(native, "make_context", without_bias)
    with pytest.raises(SimulationError, match="bias is not live"):
        bench.engine().run(job(bench))


def test_a_wrong_force_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = kernels.extended_abf_force

    def half_force(*args: Any) -> float:
        energy = kernel(*args)
        args[-1][...] *= 0.5
        return float(energy)

    monkeypatch.setattr(kernels, "extended_abf_force", half_force)
    with pytest.raises(SimulationError, match=r"bias is not live: .*relative difference 5\.0e-01"):
        bench.engine().run(job(bench))


def test_ctrl_c_inside_a_step_is_ctrl_c(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenMM turns whatever a callback raises into an exception without text."""
    engine = bench.engine()
    engine.run(job(bench))
    kernel = kernels.extended_abf_force

    def interrupted(*args: Any) -> float:
        if args[1] == 250:
            raise KeyboardInterrupt
        return float(kernel(*args))

    monkeypatch.setattr(kernels, "extended_abf_force", interrupted)
    with pytest.raises(KeyboardInterrupt):
        engine.run(job(bench))


def test_a_cv_of_a_larger_system_is_refused(bench: Bench) -> None:
    foreign = replace(bench.cv, atom_indices=bench.cv.atom_indices + 10)
    with pytest.raises(CVError, match=r"needs atom 28, 'ala2' has 22 atoms"):
        bench.engine(foreign)


def test_nan_positions_are_named(bench: Bench) -> None:
    broken = bench.state.positions.copy()
    broken[bench.cv.atom_indices[2]] = np.nan
    with pytest.raises(SimulationError, match=r"atoms are not finite \(first: CV atom 2\)"):
        bench.engine().run(job(bench, state=replace(bench.state, positions=broken)))


def test_an_exploding_run_is_caught_and_named(bench: Bench) -> None:
    wild = bench.state.velocities + 1e4
    wild[::2] *= -1.0
    with pytest.raises(SimulationError, match=r"exploded near step .* atom \d+ moved"):
        bench.engine().run(job(bench, n_steps=2000, state=replace(bench.state, velocities=wild)))


def test_dimension_and_accumulators_are_checked(bench: Bench) -> None:
    line = Grid(lower=(-1.0,), upper=(1.0,), n_bins=(10,))
    extended = couple(
        line, kt=2.5, sigma=line.widths, tau_ps=0.2, friction_per_ps=8.0, timestep_ps=0.001, full_samples=200
    )
    with pytest.raises(CVError, match="2 components, its grid 1 dimensions"):
        NativeEngine(bench.system, bench.cv, extended, platform=bench.platform, probe=bench.probe)
    with pytest.raises(SimulationError, match="needs accumulators"):
        bench.engine().run(job(bench, accumulators=None))


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
    unit or a mass of either side would show."""
    result = bench.engine().run(job(bench, n_steps=200_000, frame_steps=50))
    xi = bench.cv(result.frames[:, bench.cv.atom_indices])
    variance = np.var(xi - result.lam, axis=0)
    sigma_squared = bench.extended.kt / np.array(bench.extended.kappa)
    # 200 ps at a correlation time of about 0.1 ps: 2000 samples, 3 % of the variance
    np.testing.assert_allclose(variance / sigma_squared, 1.0, atol=0.15)
