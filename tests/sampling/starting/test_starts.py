"""Building ala2 in OpenMM, choosing a platform, and finding starts in both basins of phi."""

import copy
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import unit

from aecv.ground.errors import MolecularSystemError, SettingsError, SimulationError
from aecv.ground.seeds import seed_31bit
from aecv.ground.settings import StartSettings
from aecv.molecules.spec import load_system, shipped_systems
from aecv.sampling.starting.minimising import minimise
from aecv.sampling.starting.starts import find_starts
from aecv.sampling.system.molecular_system import MolecularSystem, build, make_context
from aecv.sampling.system.platforms import REFERENCE_MAX_ATOMS, REFERENCE_MAX_ATOMS_GB, choose_platform


@pytest.fixture(scope="module")
def ala2() -> MolecularSystem:
    return build(load_system("ala2"))


def test_ala2_is_built(ala2: MolecularSystem) -> None:
    assert ala2.n_atoms == 22
    assert ala2.cv_atom_indices.tolist() == [1, 4, 6, 8, 10, 14, 16, 18]
    assert len(ala2.heavy_atom_indices) == 10
    assert ala2.masses.sum() == pytest.approx(144.17, abs=0.01)  # C6H12N2O2
    assert ala2.system.getNumConstraints() == 0
    # C7eq of amber99sb-ildn in vacuum; the structure was relaxed before its coordinates were rounded.
    phi, psi = (np.rad2deg(v[0]) for v in ala2.observables.compute(ala2.positions[None]).values())
    assert (phi, psi) == pytest.approx((-77.5, 54.1), abs=0.5)


def test_structure_is_at_its_minimum(ala2: MolecularSystem) -> None:
    context, _ = make_context(ala2, seed=1)
    before = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    positions, after = minimise(context, ala2.positions)
    assert before - 0.1 < after < before
    assert np.abs(positions - ala2.positions).max() < 0.01


def test_tiny_systems_run_on_reference(ala2: MolecularSystem) -> None:
    choice = choose_platform(ala2.system)
    assert choice.platform.getName() == "Reference"
    assert "22 atoms" in choice.reason


def _ewald(n_atoms: int) -> openmm.NonbondedForce:
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    for _ in range(n_atoms):
        force.addParticle(0.0, 0.1, 0.0)
    return force


@pytest.mark.parametrize(
    ("force", "n_atoms", "reason"),
    [
        (None, REFERENCE_MAX_ATOMS + 1, "101 atoms > 100, fastest"),
        (openmm.GBSAOBCForce(), REFERENCE_MAX_ATOMS_GB + 1, "61 atoms > 60 with generalised Born, fastest"),
        (openmm.CustomGBForce(), 3, "3 atoms, generalised Born by formulas, fastest"),
        (_ewald(3), 3, "3 atoms, a periodic box, fastest"),
    ],
)
def test_larger_and_dearer_systems_do_not(force: openmm.Force | None, n_atoms: int, reason: str) -> None:
    """Measured crossings of Reference and CPU: 116 atoms, 62 with GBSAOBCForce; with CustomGBForce CPU is
    1.7 to 5 times as fast at 22 atoms already, with PME 10 times at 1453."""
    system = openmm.System()
    for _ in range(n_atoms):
        system.addParticle(12.0)
    if force is not None:
        system.addForce(copy.deepcopy(force))
    choice = choose_platform(system)
    assert choice.platform.getName() != "Reference"
    assert reason in choice.reason


def test_requested_platform(ala2: MolecularSystem) -> None:
    choice = choose_platform(ala2.system, "cpu")
    assert (choice.platform.getName(), choice.properties) == ("CPU", {"Threads": "1"})
    assert "requested" in choice.reason
    with pytest.raises(
        SettingsError, match=r"dynamics\.platform: .*got 'Referense'; did you mean 'Reference'\?"
    ):
        choose_platform(ala2.system, "Referense")


def _run(ala2: MolecularSystem, seed: int, n_steps: int = 200) -> np.ndarray:
    context, integrator = make_context(ala2, platform="Reference", seed=seed)
    context.setVelocitiesToTemperature(300.0, seed_31bit(seed, "velocities"))
    integrator.step(n_steps)
    return np.array(context.getState(getPositions=True).getPositions(asNumpy=True))


def test_same_seed_same_positions(ala2: MolecularSystem) -> None:
    first, other, again = _run(ala2, 5), _run(ala2, 6), _run(ala2, 5)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_extra_forces_stay_out_of_the_shared_system(ala2: MolecularSystem) -> None:
    n_forces = ala2.system.getNumForces()
    force = openmm.CustomExternalForce("10*x")
    for atom in range(ala2.n_atoms):
        force.addParticle(atom, [])
    context, _ = make_context(ala2, extra_forces=[force], seed=1)
    plain, _ = make_context(ala2, seed=1)
    forces = [c.getState(getForces=True).getForces(asNumpy=True)._value for c in (context, plain)]
    np.testing.assert_allclose(forces[0] - forces[1], np.tile([-10.0, 0, 0], (22, 1)), atol=1e-9)
    assert ala2.system.getNumForces() == n_forces


@pytest.mark.parametrize("seed", [0, 7])
def test_starts_in_both_basins_of_phi(ala2: MolecularSystem, seed: int) -> None:
    """C7ax holds 2.5 % at 300 K behind 30 kJ/mol; a hot run of 300 ps at 1000 K sees it several times.

    Seed 7 missed it while the hot run could stay caught with a cis peptide bond.
    """
    settings = StartSettings(hot_ps=300.0, candidates=60)
    starts = find_starts(ala2, settings, seed)
    positions, report = starts.positions, starts.report
    phi = np.array(report.observables["phi"])
    assert positions.shape == (len(phi), 22, 3)
    assert 2 <= len(phi) <= settings.max_starts
    assert np.any((phi > 0) & (phi < 2.2))
    assert np.any(phi < 0)
    assert report.energies[0] == min(report.energies) == pytest.approx(-90.94, abs=0.05)
    assert ala2.stereo.count_changes(positions) == (0, 0)
    assert report.as_dict()["n_starts"] == len(positions)
    # every 0.1 ps a frame, but for those with a changed centre or peptide bond; they go from basin to basin
    assert 2000 < len(starts.hot_frames) <= 3000
    assert ala2.stereo.count_changes(starts.hot_frames) == (0, 0)
    hot_phi = ala2.observables.compute(starts.hot_frames)["phi"]
    assert 0.05 < np.mean((hot_phi > 0) & (hot_phi < 2.2)) < 0.5


def test_same_seed_same_starts(ala2: MolecularSystem) -> None:
    settings = StartSettings(hot_ps=20.0, candidates=10)
    first = find_starts(ala2, settings, 3)
    _run(ala2, 1)  # moves the random generator that all contexts of the process share
    again = find_starts(ala2, settings, 3)
    assert np.array_equal(first.positions, again.positions)
    assert np.array_equal(first.hot_frames, again.hot_frames)


def test_one_start(ala2: MolecularSystem) -> None:
    starts = find_starts(ala2, StartSettings(mode="one"), 0)
    report = starts.report
    assert starts.positions.shape == (1, 22, 3)
    assert starts.hot_frames.shape == (0, 22, 3)
    assert report.energies[0] == pytest.approx(-90.94, abs=0.05)
    assert report.n_candidates == 1


def test_max_starts_and_min_rmsd(ala2: MolecularSystem) -> None:
    base = StartSettings(hot_ps=300.0, candidates=60)
    two = find_starts(ala2, base.model_copy(update={"max_starts": 2}), 0)
    report = two.report
    assert len(two.positions) == 2
    assert report.n_conformers >= 3
    # The second start is the conformer farthest from the first: C5, psi about 160 degrees, before C7ax.
    assert np.rad2deg(report.observables["psi"][1]) == pytest.approx(159, abs=2)
    alike = find_starts(ala2, StartSettings(hot_ps=20.0, candidates=10, min_rmsd_nm=1.0), 0)
    assert len(alike.positions) == 1


@pytest.fixture
def own_system(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(shipped_systems()["ala2"], tmp_path / "mine"))
    text = (folder / "system.toml").read_text(encoding="utf-8")
    text = text.replace('structure = "ala2.pdb"', 'structure = "ala2.pdb"\nstarts = ["other.pdb"]')
    (folder / "system.toml").write_text(text, encoding="utf-8")
    shutil.copy(folder / "ala2.pdb", folder / "other.pdb")
    return folder


def test_given_starts(own_system: Path) -> None:
    system = build(load_system(own_system, overrides=["starts.mode=given"]))
    starts = find_starts(system, system.spec.settings.starts, 0)
    assert starts.positions.shape == (1, 22, 3)
    assert starts.report.mode == "given"


def test_given_start_with_other_atoms(own_system: Path) -> None:
    lines = (own_system / "other.pdb").read_text(encoding="utf-8").splitlines(keepends=True)
    lines = [line for line in lines if " HB3 " not in line and not line.startswith("CONECT")]
    (own_system / "other.pdb").write_text("".join(lines), encoding="utf-8")
    system = build(load_system(own_system, overrides=["starts.mode=given"]))
    with pytest.raises(MolecularSystemError, match=r"needs the 22 atoms .*got 21 atoms .* atom 14"):
        find_starts(system, system.spec.settings.starts, 0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "system.forcefield=['amber99sbildm.xml']",
            r"amber99sbildm\.xml.*did you mean 'amber99sbildn\.xml'\?",
        ),
        ("system.forcefield=['tip3p.xml']", r"needs to know every residue and file, got: .*[Tt]emplate"),
        ("system.nonbonded='PME'", r"system\.nonbonded = 'PME' needs a box"),
        ("cv.atoms='name XX'", r"cv\.atoms: 'name XX' selects none"),
    ],
)
def test_unbuildable_system(override: str, message: str) -> None:
    with pytest.raises(MolecularSystemError, match=message):
        build(load_system("ala2", overrides=[override]))


def test_unreadable_structure(own_system: Path) -> None:
    (own_system / "ala2.pdb").write_text("ATOM  garbage\n", encoding="utf-8")
    with pytest.raises(MolecularSystemError, match=r"ala2\.pdb: needs"):
        build(load_system(own_system))


def test_explosion_is_an_error(ala2: MolecularSystem) -> None:
    coarse = dataclasses.replace(ala2, spec=load_system("ala2", overrides=["dynamics.timestep_ps=0.01"]))
    with pytest.raises(SimulationError, match=r"hot run at 1000 K \(starts\.hot_temperature_k\)"):
        find_starts(coarse, StartSettings(hot_ps=5.0, candidates=5), 0)
    broken = dataclasses.replace(ala2, positions=np.full((22, 3), np.nan))
    with pytest.raises(SimulationError, match=r"structure to minimise: .*22 lost atoms"):
        find_starts(broken, StartSettings(mode="one"), 0)
