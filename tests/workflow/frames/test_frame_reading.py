"""What ails a file of frames: cut off, of other atoms, of another kind; each with advice that helps."""

import builtins
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from aecv.ground.errors import SamplingError
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.frames.frame_promises import dcd_outline
from aecv.workflow.frames.input_frames import FrameFiles, check_frames, read_frames


@pytest.fixture(scope="module")
def system() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def frames(system: MolecularSystem) -> mdtraj.Trajectory:
    shaken = system.positions + 0.004 * np.random.default_rng(5).standard_normal((40, system.n_atoms, 3))
    return mdtraj.Trajectory(shaken.astype(np.float32), system.mdtraj_topology, time=2.0 * np.arange(40) + 7)


def read(path: Path, system: MolecularSystem, **options: Path) -> Any:
    return read_frames(FrameFiles(trajectories=(path,), **options), system)


def refused(path: Path, system: MolecularSystem, **options: Path) -> str:
    with pytest.raises(SamplingError) as error:
        read(path, system, **options)
    said = str(error.value)
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("suffix", "cut", "whole"),
    [
        (".dcd", 0.5, 19),
        (".dcd", 0.999, 39),
        (".xtc", 0.51, 20),
        (".xtc", 0.999, 39),
        (".trr", 0.999, 39),
        (".trr", 0.51, 20),
        (".xyz", 0.51, 20),
        (".xyz", 0.999, 39),
        (".xyz", 0.9999, 39),
        (".mdcrd", 0.51, 20),
        (".gro", 0.9999, 39),
        (".nc", 0.7, None),
        (".pdb", 0.8, None),
        (".pdb", 0.5, None),
        (".gro", 0.5, None),
    ],
)
def test_a_file_that_was_cut_off_is_refused(
    suffix: str,
    cut: float,
    whole: int | None,
    system: MolecularSystem,
    frames: mdtraj.Trajectory,
    tmp_path: Path,
) -> None:
    """With the number of the last whole frame, where its format lets it be found; never --top."""
    path = tmp_path / f"x{suffix}"
    frames.save(str(path))
    content = path.read_bytes()
    assert read(path, system).n_frames == 40
    path.write_bytes(content[: int(cut * len(content))])
    said = refused(path, system)
    assert "--top" not in said
    if whole is not None:
        assert f"cut off or damaged after frame {whole}" in said


@pytest.mark.parametrize("name", ["x", "it's my file; touch gone"])
@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr"])
def test_the_command_that_keeps_the_whole_frames_works(
    suffix: str, name: str, system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    path = tmp_path / f"{name}{suffix}"
    frames.save(str(path))
    path.write_bytes(path.read_bytes()[:-40])
    command = refused(path, system).partition("the whole frames alone: ")[2]
    scripts = str(Path(sys.executable).parent), str(Path(mdtraj.__file__).parents[4] / "bin")
    places = {**os.environ, "PATH": os.pathsep.join((*scripts, os.environ["PATH"]))}
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=places, capture_output=True)
    assert not (tmp_path / "gone").exists()
    found = read(tmp_path / f"whole{suffix}", system)
    np.testing.assert_allclose(found.positions, frames.xyz[:39, system.cv_atom_indices], atol=6e-4)


@pytest.mark.parametrize("suffix", [".dcd", ".xtc", ".trr"])
def test_the_look_before_a_run_finds_a_file_that_was_cut_off(
    suffix: str, system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    path = tmp_path / f"x{suffix}"
    mdtraj.join([frames] * 50).save(str(path))  # the damage is not in the first piece
    content = path.read_bytes()
    check_frames(FrameFiles(trajectories=(path,)), system)
    path.write_bytes(content[:-40])
    with pytest.raises(SamplingError, match="cut off or damaged after frame 1999"):
        check_frames(FrameFiles(trajectories=(path,)), system)


@pytest.mark.parametrize("suffix", [".rst7", ".ncrst", ".gro", ".pdb", ".cif", ".pdb.gz"])
def test_restart_files_are_frames(
    suffix: str, system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    for index in range(2):
        frames[index].save(str(tmp_path / f"x{index}{suffix}"))
    found = read_frames([tmp_path / f"x{index}{suffix}" for index in range(2)], system)
    np.testing.assert_allclose(found.positions, frames.xyz[:2, system.cv_atom_indices], atol=6e-4)


@pytest.mark.parametrize(
    ("suffix", "times"),
    [
        (".xtc", True),
        (".trr", True),
        (".nc", True),
        (".gro", True),
        (".dcd", False),
        (".pdb", False),
        (".xyz", False),
    ],
)
def test_times_are_those_of_the_file_or_unknown(
    suffix: str, times: bool, system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    frames.save(str(tmp_path / f"x{suffix}"))
    found = read(tmp_path / f"x{suffix}", system)
    np.testing.assert_allclose(found.times_ps, frames.time if times else np.full(40, np.nan))


def test_a_dcd_file_tells_times_when_it_begins_late(
    system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    """Header of OpenMM: first step 500, a frame per 500 steps of 2 fs."""
    path = tmp_path / "x.dcd"
    frames.save(str(path))
    content = bytearray(path.read_bytes())
    content[12:20] = np.array([500, 500], dtype="<i4").tobytes()
    content[44:48] = np.array([0.002 / 0.0488882129], dtype="<f4").tobytes()
    path.write_bytes(content)
    np.testing.assert_allclose(read(path, system).times_ps, 1.0 + np.arange(40), rtol=1e-6)
    outline = dcd_outline(path)
    assert outline is not None
    assert (outline.promised, outline.n_frames) == (40, 40)


def test_another_number_of_atoms_asks_for_the_topology(
    system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    part = frames.atom_slice(range(12))
    for suffix in (".xtc", ".dcd", ".trr", ".nc"):
        part.save(str(tmp_path / f"x{suffix}"))
        said = refused(tmp_path / f"x{suffix}", system)
        assert "of 22 atoms, got: one of 12 atoms; name the file's own topology with --top" in said
    part[0].save(str(tmp_path / "part.pdb"))
    frames.save(str(tmp_path / "y.xtc"))
    said = refused(tmp_path / "y.xtc", system, topology=tmp_path / "part.pdb")
    assert "of 12 atoms, got: one of 22 atoms; the topology of --top belongs to another trajectory" in said


def test_what_is_no_trajectory_is_not_helped_by_a_topology(system: MolecularSystem, tmp_path: Path) -> None:
    for name, words in {
        "x.dcd": "empty, damaged or of another format",
        "x.xtc": "empty, damaged or of another format",
        "x.nc": "empty, damaged or of another format",
        "x.tpr": "ends in none of its formats",
        "x": "ends in none of its formats",
    }.items():
        (tmp_path / name).write_text("no trajectory")
        said = refused(tmp_path / name, system)
        assert words in said
        assert "--top" not in said
    (tmp_path / "folder.xtc").mkdir()
    assert "is a folder" in refused(tmp_path / "folder.xtc", system)
    (tmp_path / "empty.xtc").write_bytes(b"")
    assert "--top" not in refused(tmp_path / "empty.xtc", system)


def test_a_package_that_is_missing_is_named(
    system: MolecularSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without_tables(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "tables":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_tables)
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    said = refused(tmp_path / "x.h5", system)
    assert "it needs PyTables: pip install tables" in said
    assert "--top" not in said


@pytest.mark.parametrize("kind", ["one", "several", "str", "files"])
def test_trajectories_in_memory_and_plain_paths_are_frames(
    kind: str, system: MolecularSystem, frames: mdtraj.Trajectory, tmp_path: Path
) -> None:
    frames.save(str(tmp_path / "x.xtc"))
    given: Any = {
        "one": frames,
        "several": [frames[:10], frames[10:]],
        "str": str(tmp_path / "x.xtc"),
        "files": FrameFiles(trajectories=frames, stride=1),
    }[kind]
    check_frames(given, system)
    found = read_frames(given, system)
    np.testing.assert_allclose(found.positions, frames.xyz[:, system.cv_atom_indices], atol=6e-4)
    np.testing.assert_allclose(found.times_ps, frames.time)


def test_frames_in_memory_have_a_hash_of_their_own(frames: mdtraj.Trajectory) -> None:
    other = frames[:]
    other.xyz[3, 2, 1] += 0.1
    hashes = [FrameFiles(trajectories=item).hashes()["trajectory 0"] for item in (frames, frames[:], other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_no_frames_are_told() -> None:
    with pytest.raises(SamplingError, match="needs a trajectory, got none"):
        FrameFiles(trajectories=()).hashes()


def test_the_dcd_reader_says_nothing_in_between(
    system: MolecularSystem,
    frames: mdtraj.Trajectory,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its greeting is for developers, and standard output holds results."""
    frames.save_dcd(tmp_path / "a.dcd")
    capfd.readouterr()
    assert read(tmp_path / "a.dcd", system).n_frames == 40
    assert capfd.readouterr() == ("", "")
