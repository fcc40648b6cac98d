"""Frames held against the molecule: another order, another unit, cut molecules, another hand."""

import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from aecv.ground.errors import SamplingError
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import MolecularSystem, build
from aecv.workflow.frames.frame_fit import USUAL, FrameFit, some_of, unlike
from aecv.workflow.frames.input_frames import FrameFiles, check_frames, read_frames


@pytest.fixture(scope="module")
def system() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def right(system: MolecularSystem) -> mdtraj.Trajectory:
    """200 frames around the structure, each bond within some 0.02 nm: hotter than any simulation."""
    shaken = system.positions + 0.006 * np.random.default_rng(5).standard_normal((200, system.n_atoms, 3))
    return mdtraj.Trajectory(shaken.astype(np.float32), system.mdtraj_topology, time=np.arange(200.0) + 50)


def exchanged(frames: mdtraj.Trajectory, one: str, other: str) -> mdtraj.Trajectory:
    """Frames in which two atoms stand in each other's place, in positions and in names."""
    order = np.arange(frames.n_atoms)
    (a,), (b,) = (frames.topology.select(f"resid 1 and name {name}") for name in (one, other))
    order[[a, b]] = order[[b, a]]
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    residues = [topology.add_residue(r.name, chain, resSeq=r.resSeq) for r in frames.topology.residues]
    for index in order:
        atom = frames.topology.atom(int(index))
        topology.add_atom(atom.name, atom.element, residues[atom.residue.index])
    return mdtraj.Trajectory(frames.xyz[:, order], topology, time=frames.time)


def refused(path: Path, system: MolecularSystem, match: str, **options: Path) -> None:
    """By the look before a run as by the reading itself."""
    files = FrameFiles(trajectories=(path,), **options)
    for look in (check_frames, read_frames):
        with pytest.raises(SamplingError, match=match):
            look(files, system)


def test_another_order_is_refused_and_names_the_atoms(
    system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    exchanged(right, "CA", "CB").save(str(tmp_path / "x.xtc"))
    refused(
        tmp_path / "x.xtc",
        system,
        r"x.xtc: needs the atoms of 'ala2' in its order, 6 of 21 bonds do not fit, the first "
        r"ALA2-N - ALA2-CA \(0.2\d+ nm, should be 0.145\).*name its own topology with --top",
    )


def test_names_put_atoms_in_order_and_it_is_said(
    system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    other = exchanged(right, "CA", "CB")
    other.save(str(tmp_path / "x.xtc"))
    other[0].save(str(tmp_path / "x.gro"))
    files = FrameFiles(trajectories=(tmp_path / "x.xtc",), topology=tmp_path / "x.gro")
    found = read_frames(files, system)
    np.testing.assert_allclose(found.positions, right.xyz[:, system.cv_atom_indices], atol=6e-4)
    assert "2 atoms were put in the order of the system" in found.notes[0]
    check_frames(files, system)


def test_names_that_tell_the_wrong_order_are_not_believed(
    system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    """A topology of another program's names, in the order of the system: its bonds fit as they are."""
    right.save(str(tmp_path / "x.xtc"))
    exchanged(right, "CA", "CB")[0].save(str(tmp_path / "x.gro"))
    files = FrameFiles(trajectories=(tmp_path / "x.xtc",), topology=tmp_path / "x.gro")
    found = read_frames(files, system)
    np.testing.assert_allclose(found.positions, right.xyz[:, system.cv_atom_indices], atol=6e-4)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (9.6, r"9.\d+ times as long as those of 'ala2' \(Angstrom taken for nm\)"),
        (0.1, "0.1 times as long.*; scale its positions"),
    ],
)
def test_another_unit_is_refused(
    factor: float, words: str, system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    scaled = mdtraj.Trajectory(right.xyz * np.float32(factor), right.topology)
    scaled.save(str(tmp_path / "x.dcd"))
    refused(tmp_path / "x.dcd", system, words)


def test_cut_molecules_need_a_box(system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path) -> None:
    cut = right[:]
    cut.xyz[120:160, :6, 0] += 3.0  # as a box of 3 nm does it, in 40 of 200 frames
    cut.save(str(tmp_path / "x.dcd"))
    match = r"bonds of 40 of 200 frames are longer.*in frame 120; .* need their box"
    with pytest.raises(SamplingError, match=match):
        read_frames(FrameFiles(trajectories=(tmp_path / "x.dcd",)), system)
    cut.unitcell_lengths, cut.unitcell_angles = np.full((200, 3), 3.0), np.full((200, 3), 90.0)
    cut.save(str(tmp_path / "y.dcd"))
    found = read_frames(FrameFiles(trajectories=(tmp_path / "y.dcd",)), system)
    ranges = np.ptp(found.positions, axis=1)
    np.testing.assert_allclose(ranges, np.ptp(right.xyz[:, system.cv_atom_indices], axis=1), atol=1e-5)


def test_cut_frames_between_the_looked_at_ones_are_found(
    system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    """Frames 128 and 192 are looked at, those in between by their marks; one of them is enough."""
    for torn in (slice(130, 190), slice(150, 151)):
        cut = right[:]
        cut.xyz[torn, :6, 0] += 3.0
        cut.save(str(tmp_path / "x.dcd"))
        n_torn = len(range(200)[torn])
        match = rf"bonds of {n_torn} of 200 frames are longer.*in frame {torn.start}; .* need their box"
        refused(tmp_path / "x.dcd", system, match)


def test_frames_far_outside_the_range_of_the_looked_at_ones_are_unlike_them() -> None:
    marks = np.full((200, 3), 1.0)
    assert len(unlike(marks, some_of(200))) == 0
    marks[[7, 30, 31, 150]] += [[2.0, 0, 0], [0, -0.6, 0], [0, 0.4, 0], [0, 0, np.nan]]
    marks[64] = np.nan  # one of the looked-at ones
    assert unlike(marks, some_of(200)).tolist() == [7, 30]
    marks[128] += [2.0, 0, 0]  # with it the range holds frame 7
    assert unlike(marks, some_of(200)).tolist() == [30]


def test_a_mirror_image_is_refused_and_some_inverted_frames_are_told(
    system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    mirror = right.xyz * np.float32([1, 1, -1])
    mdtraj.Trajectory(mirror, right.topology).save(str(tmp_path / "x.dcd"))
    match = r"another isomer.*around ALA2-CA .* have the other handedness .*; give frames"
    refused(tmp_path / "x.dcd", system, match)
    few = right.xyz.copy()
    few[50:70] = mirror[50:70]
    mdtraj.Trajectory(few, right.topology).save(str(tmp_path / "y.dcd"))
    found = read_frames(FrameFiles(trajectories=(tmp_path / "y.dcd",)), system)
    assert found.n_inverted == 20
    assert "of 200 frames 20 have another chirality, 0 another cis-trans state" in found.notes[0]


def test_another_isomer_is_named_with_its_own_file(
    system: MolecularSystem, right: mdtraj.Trajectory, tmp_path: Path
) -> None:
    """The good file is longer: together less than half of the frames would be of the other hand."""
    right.save(str(tmp_path / "good.dcd"))
    bad = mdtraj.Trajectory(right.xyz[:70] * np.float32([1, 1, -1]), right.topology)
    bad.save(str(tmp_path / "bad.dcd"))
    files = FrameFiles(trajectories=(tmp_path / "good.dcd", tmp_path / "bad.dcd"))
    with pytest.raises(SamplingError, match=r"bad\.dcd: needs .* around ALA2-CA"):
        read_frames(files, system)


def test_another_hand_of_any_centre_in_some_frames_is_told(tmp_path: Path) -> None:
    """Threonine has its second centre at CB, which is no alpha carbon: nothing else counts it."""
    chain = build(load_system("chignolin"))
    fit = FrameFit(system=chain)
    topology = chain.mdtraj_topology
    beta = next(row for row in fit.centres if str(topology.atom(int(row[0]))).endswith("-CB"))
    pairs = [pair for pair in topology.bonds if beta[0] in (pair[0].index, pair[1].index)]
    (hydrogen,) = (atom.index for pair in pairs for atom in pair if atom.element.symbol == "H")
    shaken = chain.positions + 0.004 * np.random.default_rng(6).standard_normal((200, chain.n_atoms, 3))
    # CB through the plane of its heavy neighbours, the hydrogen after it
    heavy = shaken[80:, beta[1:]]
    normal = np.cross(heavy[:, 1] - heavy[:, 0], heavy[:, 2] - heavy[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    for atom in (beta[0], hydrogen):
        height = ((shaken[80:, atom] - heavy[:, 0]) * normal).sum(axis=1, keepdims=True)
        shaken[80:, atom] -= 2 * height * normal
    mdtraj.Trajectory(shaken[:100].astype(np.float32), topology).save(str(tmp_path / "x.dcd"))
    found = read_frames(tmp_path / "x.dcd", chain)
    assert found.n_inverted == 0
    (note,) = found.notes
    assert re.search(r"x.dcd: around THR\d+-CB .* have another handedness .* in 1 of 3 frames", note)
    right = mdtraj.Trajectory(shaken[:80].astype(np.float32), topology)
    right.save(str(tmp_path / "y.dcd"))
    assert read_frames(tmp_path / "y.dcd", chain).notes == ()


def test_exchanged_neighbours_change_the_hand() -> None:
    """Two neighbours of an atom in each other's place: another isomer, or exchanged names."""
    chain = build(load_system("ala2"))
    topology, positions = chain.mdtraj_topology, chain.positions
    fit = FrameFit(system=chain)
    assert len(fit.centres) == 1  # of alanine dipeptide: CA alone has three heavy neighbours
    (names,) = [[topology.atom(int(i)).name for i in row] for row in fit.centres]
    assert names == ["CA", "N", "CB", "C"]
    turned = positions.copy()
    turned[fit.centres[0, 1:]] = turned[fit.centres[0, [2, 1, 3]]]
    rows = np.zeros(1, dtype=np.int64)
    assert fit.mirrored(turned[None], rows).all()
    assert not fit.mirrored(positions[None], rows).any()
    with pytest.raises(SamplingError, match="around ALA2-CA N, CB, C have the other handedness"):
        fit.check_handedness("x.xtc", np.array([9]), 10)
    fit.check_handedness("x.xtc", np.array([5]), 10)  # half of them: told, not refused


def test_shaken_and_hot_frames_are_the_usual_ones(system: MolecularSystem, right: mdtraj.Trajectory) -> None:
    """Widths of bonds in these frames are twice those of any bond at 1000 K."""
    fit = FrameFit(system=system)
    assert fit.is_usual(right.xyz, np.arange(200))
    assert fit.misfit(right.xyz) is None
    assert not fit.torn(right.xyz).any()


def test_the_shared_cases_come_out_right(system: MolecularSystem, shared_cases: Path) -> None:
    order, wrapped = shared_cases / "frames_other_order", shared_cases / "frames_wrapped"
    for name in ("heavyfirst", "caswap"):
        refused(order / f"{name}.xtc", system, "needs the atoms of 'ala2' in its order")
    known = read_frames(FrameFiles(trajectories=(order / "right.xtc",)), system)
    for name in ("heavyfirst", "caswap"):
        files = FrameFiles(trajectories=(order / f"{name}.xtc",), topology=order / f"{name}.gro")
        found = read_frames(files, system)
        np.testing.assert_allclose(found.observables["phi"], known.observables["phi"], atol=0.05)
    refused(wrapped / "wrapped_nobox.dcd", system, r"bonds of \d+ of 1001 frames are longer")
    whole, made_whole = (
        read_frames(FrameFiles(trajectories=(wrapped / f"{name}.xtc",)), system)
        for name in ("whole", "wrapped_box")
    )
    difference = np.angle(np.exp(1j * (whole.observables["psi"] - made_whole.observables["psi"])))
    assert np.abs(difference).max() < 0.05  # 0.001 nm of the format


def test_another_programs_order_is_told_by_its_names(shared_data: Path) -> None:
    """Frames of chignolin in the order of Gromacs, with names; the order of the system is Amber's."""
    system = build(load_system("chignolin"))
    found = read_frames(shared_data / "chignolin/committor_frames/Chignolin_Aligned.pdb", system)
    assert (found.n_frames, found.n_inverted) == (109, 0)
    assert "115 atoms were put in the order of the system" in found.notes[0]


def test_a_topology_that_is_not_that_of_its_trajectory(shared_data: Path) -> None:
    """A published pair: the .pdb has C and O before the side chain, the .xtc after it."""
    topology = mdtraj.load_topology(str(shared_data / "asp7/asp7.pdb"))
    pairs = np.array([[one.index, other.index] for one, other in topology.bonds])
    start = mdtraj.load(str(shared_data / "asp7/asp7.pdb")).xyz[0].astype(float)
    lengths = np.linalg.norm(start[pairs[:, 0]] - start[pairs[:, 1]], axis=1)
    frames = mdtraj.load(str(shared_data / "asp7/asp7.xtc"), top=topology).xyz[::100]
    ratios = np.linalg.norm(frames[:, pairs[:, 0]] - frames[:, pairs[:, 1]], axis=2) / lengths
    wrong = (np.median(ratios, axis=0) < USUAL[0]) | (np.median(ratios, axis=0) > USUAL[1])
    assert wrong.sum() == 33  # of 56


@pytest.mark.parametrize(
    "files", [("unbiased-sA",), ("unbiased-sA", "unbiased-sB"), ("multithermal-deeptica",)]
)
def test_real_trajectories_are_not_refused(
    files: tuple[str, ...], system: MolecularSystem, shared_data: Path
) -> None:
    folder = shared_data / "ala2_vacuum_amber99sbildn"
    given = FrameFiles(trajectories=tuple(folder / name / "alanine.xtc" for name in files))
    check_frames(given, system)
    n_frames = {"unbiased-sA": 1001, "unbiased-sB": 1001, "multithermal-deeptica": 5001}
    assert read_frames(given, system).n_frames == sum(n_frames[name] for name in files)
