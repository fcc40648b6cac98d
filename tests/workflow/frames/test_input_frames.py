"""Frames that a user brings: read as they are, whole, and of the right atoms."""

import shutil
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from aecv.ground.errors import SamplingError, StoreError
from aecv.ground.files import read_json, write_json
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.frames.input_frames import FrameFiles, read_frames
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.samples import Samples
from tests.workflow.conftest import SMALL


@pytest.fixture(scope="module")
def system() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def frames(small_run: Path) -> Path:
    """1000 frames of two walkers, the unbiased iteration of the small run."""
    return small_run / "iteration_00" / "frames.dcd"


def loaded(system: MolecularSystem, frames: Path) -> mdtraj.Trajectory:
    return mdtraj.load(str(frames), top=system.mdtraj_topology)


def test_frames_are_those_of_the_run(system: MolecularSystem, frames: Path) -> None:
    """The run's own samples came from memory, these from its trajectory in Angstrom: float32 rounding."""
    known = Samples.load(frames.parent / "samples.npz")
    found = read_frames(FrameFiles(trajectories=(frames,)), system)
    np.testing.assert_allclose(found.positions, known.cv_positions, atol=2e-6)
    for name in ("phi", "psi"):
        np.testing.assert_allclose(found.observables[name], known.observables[name], atol=1e-4)
    np.testing.assert_array_equal(found.weights, np.full(known.n_frames, 1 / known.n_frames))
    assert (found.n_inverted, found.n_turned) == (known.n_inverted, known.n_turned)


@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".nc", ".h5", ".pdb"])
def test_other_formats_give_the_same(
    suffix: str, system: MolecularSystem, frames: Path, tmp_path: Path
) -> None:
    if suffix in (".h5", ".nc"):
        package = "tables" if suffix == ".h5" else "netCDF4"
        pytest.importorskip(package, reason=f"mdtraj reads {suffix} with {package}")
    few = loaded(system, frames)[:20]
    few.save(str(tmp_path / f"few{suffix}"))
    found = read_frames(FrameFiles(trajectories=(tmp_path / f"few{suffix}",)), system)
    # an .xtc keeps 0.001 nm, a .pdb 0.0001 nm
    np.testing.assert_allclose(found.positions, few.xyz[:, system.cv_atom_indices], atol=6e-4)


def test_files_follow_each_other_and_a_stride_thins_them(
    system: MolecularSystem, frames: Path, tmp_path: Path
) -> None:
    everything = loaded(system, frames)
    everything[:5].save(str(tmp_path / "a.dcd"))  # the stride does not begin anew in the second file
    everything[5:10].save(str(tmp_path / "b.dcd"))
    np.savetxt(tmp_path / "w.txt", np.arange(10.0))
    found = read_frames(
        FrameFiles(
            trajectories=(tmp_path / "a.dcd", tmp_path / "b.dcd"), weights=tmp_path / "w.txt", stride=2
        ),
        system,
    )
    chosen = np.array([0, 2, 4, 6, 8])
    np.testing.assert_allclose(found.positions, everything.xyz[chosen][:, system.cv_atom_indices], atol=2e-6)
    np.testing.assert_allclose(found.weights, chosen / 20.0)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("is_turned", [False, True])
def test_what_a_restart_wrote_twice_counts_once(
    is_turned: bool, stride: int, system: MolecularSystem, frames: Path, tmp_path: Path
) -> None:
    """Part 2 begins at frame 80 of the 0 .. 119 of part 1; numbers are those of all frames in the order
    given, and of these every n-th is taken."""
    run = loaded(system, frames)[:200]
    run.time = 50.0 + 2.0 * np.arange(200)
    parts = {"part1": range(120), "part2": range(80, 200)}
    for name, numbers in parts.items():
        run[list(numbers)].save(str(tmp_path / f"{name}.xtc"))
    given = sorted(parts, reverse=is_turned)
    read = np.concatenate([parts[name] for name in given])  # of every frame its number in the run
    weights = 1.0 + np.random.default_rng(3).random(240)
    np.savetxt(tmp_path / "w.txt", weights)
    paths = tuple(tmp_path / f"{name}.xtc" for name in given)
    files = FrameFiles(trajectories=paths, weights=tmp_path / "w.txt", stride=stride)
    found = read_frames(files, system)
    counted = np.arange(0, 240, stride)
    is_dropped = (read[counted] >= 80) & (read[counted] < 120) & ((counted < 120) != is_turned)
    counted = counted[~is_dropped]
    counted = counted[np.argsort(read[counted])]
    assert found.n_frames == len(counted) == (200 if stride == 1 else 67)
    assert (np.diff(found.times_ps) > 0).all()
    np.testing.assert_array_equal(found.kept, counted)
    np.testing.assert_allclose(found.times_ps, 50.0 + 2.0 * read[counted])
    chosen = run.xyz[read[counted]][:, system.cv_atom_indices]
    np.testing.assert_allclose(found.positions, chosen, atol=6e-4)
    np.testing.assert_allclose(found.weights, weights[counted] / weights[counted].sum(), rtol=1e-12)
    told = [note.replace(str(tmp_path), "") for note in found.notes if "count once" in note]
    assert told == ["/part1.xtc: 40 frames from 210 to 288 ps, which /part2.xtc holds as well, count once"]
    assert ("frames: their parts were put in the order of time" in found.notes) == is_turned


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("order", [("part1", "part2"), ("part2", "part1")])
def test_the_shared_restart_is_1001_frames(
    order: tuple[str, str], stride: int, system: MolecularSystem, shared_cases: Path
) -> None:
    paths = tuple(shared_cases / "frames_overlap" / f"{name}.xtc" for name in order)
    found = read_frames(FrameFiles(trajectories=paths, stride=stride), system)
    assert found.n_frames == pytest.approx(1001 / stride, abs=0 if stride == 1 else 1)
    assert (np.diff(found.times_ps) > 0).all()
    assert any("201 frames from" in note for note in found.notes)


def test_a_stride_that_takes_only_what_is_dropped_is_refused(
    system: MolecularSystem, frames: Path, tmp_path: Path
) -> None:
    """The first file lies within the second, which holds its frames as well."""
    run = loaded(system, frames)[:50]
    run.time = 2.0 * np.arange(50)
    run[:10].save(str(tmp_path / "a.xtc"))
    run.save(str(tmp_path / "b.xtc"))
    files = FrameFiles(trajectories=(tmp_path / "a.xtc", tmp_path / "b.xtc"), stride=100)
    with pytest.raises(SamplingError, match="a stride of 100 leaves none of 50; take a shorter one"):
        read_frames(files, system)


def test_molecules_that_the_box_cut_are_whole(system: MolecularSystem, frames: Path, tmp_path: Path) -> None:
    few = loaded(system, frames)[:10]
    few.unitcell_lengths, few.unitcell_angles = np.full((10, 3), 3.0), np.full((10, 3), 90.0)
    cut = few[:]
    cut.xyz = (few.xyz - few.xyz[:, :1]) % 3.0  # the first atom in the corner: the box cuts the molecule
    cut.save(str(tmp_path / "cut.dcd"))
    found = read_frames(FrameFiles(trajectories=(tmp_path / "cut.dcd",)), system)
    for name, values in system.observables.compute(few.xyz).items():
        np.testing.assert_allclose(found.observables[name], values, atol=1e-4)
    assert np.ptp(cut.xyz[:, system.cv_atom_indices], axis=1).max() > 2.0  # it was cut
    assert np.ptp(found.positions, axis=1).max() < 1.5


def test_bad_files_are_named(system: MolecularSystem, frames: Path, tmp_path: Path) -> None:
    few = loaded(system, frames)[:5]
    broken = few[:]
    broken.xyz[3, 7] = np.nan
    broken.save(str(tmp_path / "nan.dcd"))
    few.atom_slice(range(12)).save(str(tmp_path / "part.pdb"))
    few.atom_slice(range(12)).save(str(tmp_path / "part.dcd"))
    few[:1].save(str(tmp_path / "mixed.pdb"))
    lines = (tmp_path / "mixed.pdb").read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("ATOM"))
    lines[at : at + 2] = lines[at + 1], lines[at]  # a hydrogen and the carbon that it belongs to
    (tmp_path / "mixed.pdb").write_text("\n".join(lines))
    named = [line.replace(" CH3 ACE", " X1  ACE").replace(" C   ACE", " X2  ACE") for line in lines]
    (tmp_path / "nameless.pdb").write_text("\n".join(named))  # two carbons whose names tell nothing
    (tmp_path / "text.dcd").write_text("no trajectory")
    (tmp_path / "notes.txt").write_text("no trajectory")
    few.save(str(tmp_path / "few.dcd"))
    for name, weights in {
        "short": [1.0] * 4, "negative": [1, -1, 1, 1, 1], "zero": [0] * 5, "nan": [np.nan] * 5,
    }.items():  # fmt: skip
        np.save(tmp_path / f"{name}.npy", np.array(weights, dtype=float))
    (tmp_path / "words.txt").write_text("one two")

    def fails(match: str, name: str = "few.dcd", **options: Path) -> None:
        with pytest.raises(SamplingError, match=match):
            read_frames(FrameFiles(trajectories=(tmp_path / name,), **options), system)

    fails(r"needs a file of frames, there is none; did you mean 'few.dcd'", "fe.dcd")
    fails(r"nan.dcd: needs finite positions, those of frame 3 are not", "nan.dcd")
    fails(r"part.pdb: needs the 22 atoms of 'ala2', has 12", "part.pdb")
    fails(r"part.dcd: needs a trajectory that mdtraj reads, of 22 atoms", "part.dcd")
    fails(r"nameless.pdb: needs the atoms of 'ala2' in its order", "nameless.pdb")
    found = read_frames(
        FrameFiles(trajectories=(tmp_path / "mixed.pdb",)), system
    )  # its names tell the order
    np.testing.assert_allclose(found.positions, few.xyz[:1, system.cv_atom_indices], atol=1e-4)
    fails(r"text.dcd: needs a trajectory that mdtraj reads", "text.dcd")
    fails(r"notes.txt: needs a trajectory that mdtraj reads", "notes.txt")
    fails(r"few.dcd: needs a trajectory that mdtraj reads, of 12 atoms", topology=tmp_path / "part.pdb")
    fails(r"notes.txt: needs a topology that mdtraj reads", topology=tmp_path / "notes.txt")
    fails(r"short.npy: needs a weight for each of 5 frames, has 4", weights=tmp_path / "short.npy")
    fails(r"negative.npy: needs weights that are finite, not negative", weights=tmp_path / "negative.npy")
    fails(r"zero.npy: needs weights that are finite, not negative", weights=tmp_path / "zero.npy")
    fails(r"/nan.npy: needs weights that are finite, not negative", weights=tmp_path / "nan.npy")
    fails(r"words.txt: needs .npy or text with one number per frame", weights=tmp_path / "words.txt")
    fails(r"none.npy: needs a file, there is none", weights=tmp_path / "none.npy")


def test_a_run_begins_with_them(
    system: MolecularSystem, frames: Path, tmp_path: Path, without_pictures: None
) -> None:
    """Iteration 0 takes the frames and simulates nothing; a finished one needs them no more."""
    n_frames = Samples.load(frames.parent / "samples.npz").n_frames
    weights = np.where(np.arange(n_frames) < 400, 2.0, 0.0)
    np.save(tmp_path / "w.npy", weights)
    files = FrameFiles(trajectories=(frames,), weights=tmp_path / "w.npy")
    settings = (*SMALL, "production.ns=0", "run.iterations=1")
    outcome = iterate(load_system("ala2", overrides=settings), tmp_path / "run", frames=files)
    (record,) = outcome.records
    assert (record.n_frames, record.ns, record.steps_per_s) == (400, 0.0, 0.0)  # the others weigh nothing
    assert record.n_effective == pytest.approx(400)
    assert not (tmp_path / "run" / "iteration_00" / "frames.dcd").exists()
    with pytest.raises(StoreError, match=r"sampling was made from stride = 1, now it is 2"):
        iterate(
            load_system("ala2", overrides=settings),
            tmp_path / "run",
            frames=replace(files, stride=2),
            resume=True,
        )
    more = iterate(
        load_system("ala2", overrides=(*settings, "run.iterations=2")), tmp_path / "run", resume=True
    )
    assert more.records[0] == record
    assert more.records[1].ns > 0


def test_a_wrong_name_is_told_before_anything_is_done(tmp_path: Path) -> None:
    files = FrameFiles(trajectories=(tmp_path / "typo.xtc",))
    with pytest.raises(SamplingError, match=r"typo.xtc: needs a file of frames, there is none"):
        iterate(load_system("ala2", overrides=SMALL), tmp_path / "run", frames=files)
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_stopped_before_wants_the_same_frames(
    frames: Path, tmp_path: Path, without_pictures: None
) -> None:
    settings = (*SMALL, "production.ns=0", "run.iterations=1")
    files = FrameFiles(trajectories=(Path(shutil.copy(frames, tmp_path)),))
    iterate(load_system("ala2", overrides=settings), tmp_path / "run", frames=files)
    (tmp_path / "run" / "iteration_00" / "sampling.done").unlink()
    folder = tmp_path / "run" / "iteration_00"
    starts = read_json(folder / "starts.done")["outputs"]["starts.npz"]
    write_json(folder / "sampling.begun", {"starts.npz": starts} | files.hashes())
    with pytest.raises(StoreError, match=r"sampling was made from stride = 1, now it is None"):
        iterate(load_system("ala2", overrides=settings), tmp_path / "run", resume=True)
