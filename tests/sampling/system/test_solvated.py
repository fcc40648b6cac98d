"""What is special about a molecule in water: frames of the solute, starts in one box, files without water."""

import shutil
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from aecv.ground.errors import CVError, MolecularSystemError, SamplingError
from aecv.models.cvs.observable_cv import observable_cv
from aecv.molecules.spec import load_system
from aecv.sampling.dynamics.jobs import SegmentJob, SegmentSeed, WalkerState
from aecv.sampling.processes.recipe import EngineRecipe
from aecv.sampling.starting.starts import given_starts
from aecv.sampling.system.images import system_box
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.sampling.system.platforms import choose_platform
from aecv.workflow.frames.input_frames import FrameFiles, read_frames


@pytest.fixture(scope="module")
def water() -> MolecularSystem:
    return build(load_system("ala2_water"))


def test_engines_keep_the_solute_alone(water: MolecularSystem) -> None:
    """22 atoms a frame of 982; the state that goes on has all."""
    engine = EngineRecipe(system=water, platform=choose_platform(water.system, "CPU")).make()
    state = WalkerState(
        positions=water.positions,
        velocities=np.zeros_like(water.positions),
        box=system_box(water.system),
        lam=np.empty(0),
        lam_velocity=np.empty(0),
    )
    seed = SegmentSeed(root=1, stage="test", walker=0, segment=0)
    result = engine.run(SegmentJob(state=state, n_steps=4, frame_steps=2, seed=seed))
    assert result.frames.shape == (2, 22, 3)
    assert result.state.positions.shape == (982, 3)
    np.testing.assert_allclose(result.frames[-1], result.state.positions[:22], atol=1e-6)


def test_heavy_atoms_are_those_of_the_solute(water: MolecularSystem) -> None:
    vacuum = build(load_system("ala2"))
    np.testing.assert_array_equal(water.heavy_atom_indices, vacuum.heavy_atom_indices)


def test_a_cv_of_waters_needs_all_frames(water: MolecularSystem) -> None:
    overrides = [
        'observables.d.kind="distance"',
        'observables.d.atoms=["resname ALA and name CA", "index 24"]',
    ]
    seen = build(load_system("ala2_water", overrides=overrides))
    assert seen.n_frame_atoms == 25
    cv = observable_cv(seen.observables, ("d",), ranges={"d": (0.0, 1.0)})
    with pytest.raises(CVError, match=r"needs atom 24, frames hold the first 22 .* sampling\.frames = "):
        water.check_atoms(cv.atom_indices, place="engine: cv")
    build(load_system("ala2_water", overrides=["frames=all"])).check_atoms(
        cv.atom_indices, place="engine: cv"
    )


def test_frames_with_and_without_the_water_are_read(water: MolecularSystem, tmp_path: Path) -> None:
    shifts = np.random.default_rng(0).normal(scale=0.01, size=(3, water.n_atoms, 3))
    everything = mdtraj.Trajectory(water.positions + shifts, water.mdtraj_topology)
    everything.save(str(tmp_path / "all.dcd"))
    everything.atom_slice(np.arange(22)).save(str(tmp_path / "solute.dcd"))
    everything.atom_slice(np.arange(30)).save(str(tmp_path / "some.dcd"))
    of_all = read_frames(FrameFiles(trajectories=(tmp_path / "all.dcd",)), water)
    of_solute = read_frames(FrameFiles(trajectories=(tmp_path / "solute.dcd",)), water)
    np.testing.assert_allclose(of_all.positions, everything.xyz[:, water.cv_atom_indices], atol=1e-5)
    np.testing.assert_array_equal(of_solute.positions, of_all.positions)
    np.testing.assert_allclose(of_solute.observables["phi"], of_all.observables["phi"], atol=1e-4)
    with pytest.raises(SamplingError, match="a trajectory that mdtraj reads, of 982 atoms"):
        read_frames(FrameFiles(trajectories=(tmp_path / "some.dcd",)), water)


def test_starts_in_another_box_are_refused(water: MolecularSystem, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(water.spec.directory, folder)
    spec = load_system(folder)
    assert len(given_starts(build(spec))) == 4
    text = (folder / "pii.pdb").read_text(encoding="utf-8")
    (folder / "pii.pdb").write_text(text.replace("22.000   22.000   22.000", "23.000   22.000   22.000"))
    with pytest.raises(
        MolecularSystemError,
        match=r"pii\.pdb: needs the box of beta\.pdb, \[\[2\.2, 0\.0, 0\.0\].* got \[\[2\.3, ",
    ):
        given_starts(build(load_system(folder)))
