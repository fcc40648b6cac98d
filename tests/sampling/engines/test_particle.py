"""A particle on a potential as an OpenMM system: energies, forces, starts, and a bias without alignment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit
from scipy.optimize import minimize

from aecv.ground.errors import MolecularSystemError, SettingsError, SimulationError
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.molecules.spec import load_system
from aecv.numerics.extended_abf.abf import Accumulators
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder, encode
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.engines.native import NativeEngine
from aecv.sampling.starting.minimising import minimise
from aecv.sampling.starting.starts import find_starts
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.dynamics.coupling import extended_variable

TOYS = ("mueller_brown", "double_well_circle", "z_potential")
SCALE, STIFFNESS = 0.19, 500.0


@pytest.fixture(scope="module")
def mueller_brown() -> MolecularSystem:
    return build(load_system("mueller_brown"))


@pytest.mark.parametrize("name", TOYS)
def test_energy_and_forces_in_openmm(name: str) -> None:
    system = build(load_system(name))
    potential, particle = system.spec.potential, system.spec.settings.particle
    assert potential is not None
    assert particle is not None
    context, _ = make_context(system, seed=1)
    step = 1e-5
    for x, y, z in np.random.default_rng(0).uniform(-0.8, 0.8, size=(20, 3)):
        context.setPositions([[x, y, z]])
        state = context.getState(getEnergy=True, getForces=True)
        energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        force = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)[0]
        assert energy == pytest.approx(float(potential(x=x, y=y)) + 0.5 * STIFFNESS * z**2, rel=1e-10)
        around = potential(x=x + step * np.array([1, -1, 0, 0]), y=y + step * np.array([0, 0, 1, -1]))
        gradient = [(around[0] - around[1]) / (2 * step), (around[2] - around[3]) / (2 * step), STIFFNESS * z]
        np.testing.assert_allclose(force, -np.array(gradient), rtol=1e-6, atol=1e-4)


def test_minima_of_mueller_brown_are_those_of_the_literature(mueller_brown: MolecularSystem) -> None:
    """Mueller & Brown (1979): minima, and energies of minima and saddles before scaling."""
    minima = {(-0.558, 1.442): -146.700, (0.623, 0.028): -108.167, (-0.050, 0.467): -80.768}
    potential = mueller_brown.spec.potential
    assert potential is not None
    for place, energy in minima.items():
        found = minimize(lambda p: float(potential(x=p[0], y=p[1])), place, tol=1e-9)
        np.testing.assert_allclose(found.x, place, atol=1e-3)
        assert found.fun == pytest.approx(SCALE * energy, abs=SCALE * 0.002)
    for x, y, energy in ((-0.822, 0.624, -40.665), (0.212, 0.293, -72.249)):
        assert float(potential(x=x, y=y)) == pytest.approx(SCALE * energy, abs=SCALE * 0.01)


@pytest.mark.parametrize("name", TOYS)
def test_barriers_are_five_to_nine_kt_and_the_time_step_is_sound(name: str) -> None:
    """The lowest pass between the given starts, by flooding a grid; omega dt < 0.3 at every start."""
    spec = load_system(name)
    particle, potential = spec.settings.particle, spec.potential
    assert particle is not None
    assert potential is not None
    axes = [np.linspace(low, high, 241) for low, high in particle.domain_nm]
    energy = potential(x=axes[0][:, None], y=axes[1])
    cells = [
        tuple(int(np.argmin(np.abs(a - v))) for a, v in zip(axes, s, strict=True)) for s in particle.starts_nm
    ]
    order = np.argsort(energy, axis=None)
    parent = {}

    def root(cell: tuple[int, int]) -> tuple[int, int]:
        while parent[cell] != cell:
            parent[cell] = parent[parent[cell]]
            cell = parent[cell]
        return cell

    for flat in order:
        i, j = divmod(int(flat), energy.shape[1])
        parent[i, j] = (i, j)
        for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if near in parent:
                parent[root(near)] = root((i, j))
        if all(cell in parent for cell in cells) and root(cells[0]) == root(cells[1]):
            break
    kt = 0.0083144626 * spec.settings.dynamics.temperature_k
    assert 5.0 < (energy[i, j] - energy.min()) / kt < 9.0
    h = 1e-4
    for x, y in particle.starts_nm:
        line = np.array([-h, 0.0, h])
        v = potential(x=x + line[:, None], y=y + line)
        xx, yy = (v[2, 1] - 2 * v[1, 1] + v[0, 1]) / h**2, (v[1, 2] - 2 * v[1, 1] + v[1, 0]) / h**2
        xy = (v[2, 2] - v[2, 0] - v[0, 2] + v[0, 0]) / (4 * h**2)
        stiffest = max(np.linalg.eigvalsh([[xx, xy], [xy, yy]])[-1], particle.z_stiffness_kj_mol_nm2)
        assert np.sqrt(stiffest / particle.mass_da) * spec.settings.dynamics.timestep_ps < 0.3


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            "particle.potential=x^2 +* y",
            SettingsError,
            r"particle\.potential .*'x\^2 \+\* y' is no expression",
        ),
        ("particle.potential=import(x)", SettingsError, r"particle\.potential"),
        ("particle.potential=sqrt(x)", MolecularSystemError, r"particle\.potential on particle\.domain_nm"),
        ("particle.potential=x^2 - y^2", MolecularSystemError, r"particle\.domain_nm: needs to hold all"),
        ("particle.potential=100*(x^2 + y^2)/step(x - 0.1)", MolecularSystemError, r"particle\.starts_nm"),
    ],
)
def test_bad_potentials_name_the_key(change: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(load_system("mueller_brown", overrides=[change]))


def test_starts_are_the_minima_and_are_told_apart_by_distance(mueller_brown: MolecularSystem) -> None:
    settings = mueller_brown.spec.settings.starts.model_copy(update={"hot_ps": 20.0, "candidates": 20})
    starts = find_starts(mueller_brown, settings, seed=3)
    places = starts.positions[:, 0]
    assert starts.report.n_conformers == len(places) == 3
    np.testing.assert_allclose(places[0, :2], [-0.558, 1.442], atol=2e-3)
    for minimum in ([0.623, 0.028], [-0.050, 0.467]):
        assert np.abs(places[:, :2] - minimum).max(axis=1).min() < 2e-3
    for mode, n in (("one", 1), ("given", 2)):
        found = find_starts(mueller_brown, settings.model_copy(update={"mode": mode}), seed=3)
        assert len(found.positions) == n


def test_a_minimisation_whose_line_search_fails_is_begun_again(mueller_brown: MolecularSystem) -> None:
    """From here OpenMM's L-BFGS alone ends at a force of 39 kJ/mol/nm instead of 1, without a word."""
    context, _ = make_context(mueller_brown, seed=1)
    start = np.array([[-1.46, 1.57, 0.04]])
    context.setPositions(start)
    openmm.LocalEnergyMinimizer.minimize(context, 1.0, 10_000)
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    assert np.sqrt(np.mean(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer) ** 2)) > 10.0
    minimum, _ = minimise(context, start)
    np.testing.assert_allclose(minimum[0], [-0.558, 1.442, 0.0], atol=5e-3)


def _engine(system: MolecularSystem, folder: Path) -> tuple[NativeEngine, WalkerState, Accumulators]:
    rng = np.random.default_rng(1)
    encoder = Encoder(
        reference=NO_REFERENCE,
        weights=(rng.normal(size=(20, 3)), 0.5 * rng.normal(size=(1, 20))),
        biases=(0.3 * rng.normal(size=20), np.zeros(1)),
    )
    x, y = np.meshgrid(np.linspace(-1, 1, 15), np.linspace(0, 1.5, 15))
    probe = np.stack([x, y, 0.05 * x], axis=-1).reshape(-1, 1, 3)
    xi = encode(encoder, probe)
    limits = [[float(xi.min()) - 0.5, float(xi.max()) + 0.5]]
    export_cv(encoder, folder, atom_indices=[0], cv_range=limits, system="toy", system_hash="")
    cv = load_cv(folder)
    extended = extended_variable(cv, probe, system.masses, system.spec.settings)
    engine = NativeEngine(system, cv, extended, platform=choose_platform(system.system), probe=probe)
    state = WalkerState(
        positions=system.positions,
        velocities=np.zeros((1, 3)),
        box=np.zeros((3, 3)),
        lam=cv(system.positions)[0],
        lam_velocity=np.zeros(1),
    )
    return engine, state, Accumulators.zeros(extended.grid)


def test_the_bias_is_live_and_positions_that_are_not_finite_are_an_error(
    mueller_brown: MolecularSystem, tmp_path: Path
) -> None:
    """The engine itself compares kernel, cv.pt and the forces in the context, and refuses a difference."""
    engine, state, zeros = _engine(mueller_brown, tmp_path)
    seed = SegmentSeed(root=1, stage="test", walker=0, segment=0)
    result = engine.run(SegmentJob(state=state, n_steps=2000, frame_steps=10, seed=seed, accumulators=zeros))
    assert result.increment is not None
    assert result.increment.n_lam.sum() == 2000
    assert engine.is_verified
    lost = replace(state, positions=np.array([[np.nan, 0.0, 0.0]]))
    with pytest.raises(SimulationError, match=r"not finite|exploded"):
        engine.run(SegmentJob(state=lost, n_steps=100, frame_steps=10, seed=seed, accumulators=zeros))
