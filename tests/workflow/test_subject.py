"""Molecules of which a topology and frames are all there is: no system folder, no force field, no OpenMM."""

import json
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from aecv.ground.errors import MolecularSystemError, SamplingError, SettingsError
from aecv.molecules.spec import load_system
from aecv.molecules.subject import Subject
from aecv.workflow.frames.input_frames import FrameFiles, check_frames, read_frames
from aecv.workflow.frames.input_weights import Weights
from aecv.workflow.frames.own_topology import read_subject

HEAVY = "not element H"
N_FRAMES = 240


@pytest.fixture(scope="module")
def moving() -> mdtraj.Trajectory:
    """Alanine dipeptide that bends along two waves, with thermal noise far below the length of a bond."""
    structure = mdtraj.load(load_system("ala2").structure_path)
    rng = np.random.default_rng(3)
    shape = structure.xyz[0]
    waves = np.stack([np.sin(4 * shape[:, [1]] + phase) * [0, 0, 0.02] for phase in (0.0, 1.5)])
    moved = shape + np.einsum("fk,kad->fad", rng.normal(size=(N_FRAMES, 2)), waves)
    moved = moved + rng.normal(scale=0.002, size=moved.shape)
    return mdtraj.Trajectory(moved.astype(np.float32), structure.topology, time=2.0 + np.arange(N_FRAMES))


@pytest.fixture(scope="module")
def folder(moving: mdtraj.Trajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x.pdb and all.xtc of it, heavy.xtc of its heavy atoms alone."""
    made = tmp_path_factory.mktemp("molecule")
    moving[0].save_pdb(str(made / "x.pdb"))
    moving.save(str(made / "all.xtc"))
    moving.atom_slice(moving.topology.select(HEAVY)).save(str(made / "heavy.xtc"))
    return made


def subject(folder: Path, name: str = "all.xtc", top: str = "x.pdb", atoms: str = HEAVY) -> Subject:
    return read_subject(FrameFiles(trajectories=folder / name, topology=folder / top), atoms=atoms)


WITHOUT_OPENMM = """
import json, sys
for name in ("openmm", "simtk"):
    sys.modules[name] = None  # an import of it fails
from click.testing import CliRunner
from aecv.commands.cli import main

def run(*words):
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.output, "torch" in sys.modules

quick = ("--set", "training.max_epochs=3", "--set", "training.restarts=2",
         "--set", "training.min_effective_frames=20", "--seed", "5")
x = ("--top", "x.pdb")
json.dump({
    "misfit": run("train", "--frames", "all.xtc", "--top", "y.pdb", "--atoms", "name CA C N", "--out", "n"),
    "train": run("train", "--frames", "all.xtc", *x, "--atoms", "not element H", "--out", "cv", *quick),
    "part": run("train", "--frames", "heavy.xtc", *x, "--atoms", "not element H", "--out", "part", *quick),
    "apply": run("apply", "cv", "all.xtc", *x, "--out", "all.npy", "--picture", "all.png"),
    "some": run("apply", "cv", "heavy.xtc", *x, "--out", "heavy.npy"),
    "score": run("score", "part", "cv", "--frames", "heavy.xtc", *x, "--json"),
    "lost": run("apply", "cv", "all.xtc", "--out", "lost.npy"),
}, open("said.json", "w"))
"""


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, tuple[int, str, bool]]:
    """Exit code, words, and whether PyTorch was loaded, of commands where OpenMM cannot be imported."""
    mdtraj.load(str(folder / "x.pdb")).atom_slice(range(12)).save_pdb(str(folder / "y.pdb"))
    subprocess.run([sys.executable, "-c", WITHOUT_OPENMM], cwd=folder, check=True, timeout=300)
    found: dict[str, tuple[int, str, bool]] = json.loads((folder / "said.json").read_text())
    return found


def test_train_apply_and_score_need_no_openmm(said: dict[str, tuple[int, str, bool]], folder: Path) -> None:
    for name in ("train", "part", "apply", "some", "score"):
        assert said[name][0] == 0, said[name][1]
    assert "CV of 'not element H' of x: 2 components, of 30 coordinates of 10 atoms" in said["train"][1]
    assert (folder / "all.png").is_file()
    assert (folder / "cv" / "latent_map.png").is_file()
    assert json.loads((folder / "cv" / "frames.json").read_text())["system"] == "x"


def test_the_chosen_atoms_alone_are_enough(said: dict[str, tuple[int, str, bool]], folder: Path) -> None:
    """xi of a file of all atoms and of one of the chosen atoms is the same, and so is what they train."""
    assert said["some"][0] == 0
    of_all, of_heavy = np.load(folder / "all.npy"), np.load(folder / "heavy.npy")
    np.testing.assert_allclose(of_all, of_heavy, atol=1e-6)
    score = json.loads(said["score"][1])
    assert score["score"] == pytest.approx(1.0, abs=1e-6)  # same seed, same frames: the same CV
    assert score["n_frames"] == N_FRAMES


def test_what_does_not_fit_is_told_before_anything_heavy_is_loaded(
    said: dict[str, tuple[int, str, bool]],
) -> None:
    code, words, has_torch = said["misfit"]
    assert code == 1
    assert not has_torch
    assert "of 12 atoms, got: one of 22 atoms; the topology of --top belongs to another trajectory" in words


def test_a_cv_without_its_atoms_says_what_names_them(said: dict[str, tuple[int, str, bool]]) -> None:
    code, words, _ = said["lost"]
    assert code == 1
    assert "'x', on which it was learned, is none that comes with aecv" in words
    assert "(--top)" in words


@pytest.mark.parametrize(
    ("atoms", "match"),
    [
        ("name XX", "--atoms: 'name XX' selects none of the 22 atoms; the structure's residues are ACE, ALA"),
        ("nam CA", "--atoms: needs an mdtraj selection such as"),
        ("name CA", "--atoms: needs at least 3 atoms to superpose frames on each other, got 1; widen"),
    ],
)
def test_a_selection_that_selects_nothing_of_use_is_refused(atoms: str, match: str, folder: Path) -> None:
    with pytest.raises(MolecularSystemError, match=match):
        subject(folder, atoms=atoms)


def test_without_names_of_atoms_a_topology_is_asked_for(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"all.xtc: needs a topology that names its atoms; give it with"):
        read_subject(folder / "all.xtc", atoms=HEAVY)


def test_settings_of_forces_and_particles_are_refused_in_words(folder: Path) -> None:
    files = FrameFiles(trajectories=folder / "all.xtc", topology=folder / "x.pdb")
    with pytest.raises(SettingsError, match=r"leave cv.align true"):
        read_subject(files, atoms=HEAVY, overrides=("cv.align=false",))


def test_a_bias_needs_its_temperature(folder: Path) -> None:
    """No system says it, and the default of the settings would make other weights in silence."""
    bias = Weights(source="COLVAR", bias=["opes.bias"])
    files = FrameFiles(trajectories=folder / "all.xtc", topology=folder / "x.pdb", weights=bias)
    with pytest.raises(SettingsError, match=r"temperature of the biased run.*--bias-temperature"):
        read_subject(files, atoms=HEAVY)


@pytest.mark.parametrize("ending", [".gro", ".cif", ".psf"])
def test_other_topologies_name_the_same_atoms(ending: str, moving: mdtraj.Trajectory, folder: Path) -> None:
    """The molecule is the same by its hash; without positions it is held against the first frame."""
    path = folder / f"x{ending}"
    if ending == ".psf":
        write_psf(path, moving.topology)
    elif ending == ".gro":
        moving[0].save_gro(str(path))
    else:
        write_cif(path, moving[0])
    made = subject(folder, top=path.name)
    assert made.spec.hash == subject(folder).spec.hash
    np.testing.assert_array_equal(made.cv_atom_indices, moving.topology.select(HEAVY))
    np.testing.assert_allclose(made.positions, moving.xyz[0], atol=2e-3)
    assert any("has no positions" in note for note in made.unchecked) == (ending == ".psf")
    found = read_frames(FrameFiles(trajectories=folder / "all.xtc", topology=path), made)
    assert found.n_frames == N_FRAMES
    assert len(made.bonds.pairs) == 21


def write_psf(path: Path, topology: mdtraj.Topology) -> None:
    atoms = [
        f"{a.serial or a.index + 1:8d} A    {a.residue.resSeq:<4d} {a.residue.name:<4s} {a.name:<4s} "
        f"{a.element.symbol:<4s} {0:10.6f} {a.element.mass:13.4f} {0:11d}"
        for a in topology.atoms
    ]
    pairs = [f"{a.index + 1:8d}{b.index + 1:8d}" for a, b in topology.bonds]
    rows = ["".join(pairs[at : at + 4]) for at in range(0, len(pairs), 4)]
    head = ["PSF", "", "       1 !NTITLE", " REMARKS written by a test", "", f"{len(atoms):8d} !NATOM"]
    path.write_text("\n".join([*head, *atoms, "", f"{len(pairs):8d} !NBOND: bonds", *rows, ""]) + "\n")


def write_cif(path: Path, frame: mdtraj.Trajectory) -> None:
    names = (
        "group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
        "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
        "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num",
    )  # fmt: skip
    rows = [
        f"ATOM {a.index + 1} {a.element.symbol} {a.name} . {a.residue.name} A 1 {a.residue.resSeq} ? "
        f"{10 * x:.3f} {10 * y:.3f} {10 * z:.3f} 1.0 0.0 {a.residue.resSeq} A 1"
        for a, (x, y, z) in zip(frame.topology.atoms, frame.xyz[0], strict=True)
    ]
    head = ["data_x", "loop_", *(f"_atom_site.{name}" for name in names)]
    path.write_text("\n".join([*head, *rows, "#", ""]))


def test_molecules_that_the_box_cut_are_whole(
    moving: mdtraj.Trajectory, folder: Path, tmp_path: Path
) -> None:
    """In the structure and in the frames; as whole as without a box, up to rotation none, so distances."""
    boxed = moving[:20]
    boxed.unitcell_lengths, boxed.unitcell_angles = np.full((20, 3), 2.5), np.full((20, 3), 90.0)
    cut = boxed[:]
    cut.xyz = (boxed.xyz - boxed.xyz[:, :1]) % 2.5
    cut.save(str(tmp_path / "cut.xtc"))
    cut[0].save_gro(str(tmp_path / "cut.gro"))
    files = FrameFiles(trajectories=tmp_path / "cut.xtc", topology=tmp_path / "cut.gro")
    made = read_subject(files, atoms=HEAVY)
    assert np.ptp(cut.xyz, axis=1).max() > 2.0  # it was cut
    chosen = moving.topology.select(HEAVY)
    for whole, plain in (
        (made.positions[chosen][None], moving.xyz[:1, chosen]),
        (read_frames(files, made).positions, moving.xyz[:20, chosen]),
    ):
        np.testing.assert_allclose(spread(whole), spread(plain), atol=5e-3)


def spread(frames: np.ndarray) -> np.ndarray:
    """Distances between all atoms [nm], shape (n_frames, n, n)."""
    return np.asarray(np.linalg.norm(frames[:, :, None] - frames[:, None], axis=-1))


def swapped(run: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """The methyl carbon and the carbonyl carbon of ACE changed places, without names."""
    order = np.arange(run.n_atoms)
    one, other = run.topology.select("resname ACE and element C")
    order[[one, other]] = other, one
    made = run[:]
    made.xyz = run.xyz[:, order]
    return made


def scaled(run: mdtraj.Trajectory, factor: float) -> mdtraj.Trajectory:
    made = run[:]
    made.xyz = run.xyz * factor
    return made


def reflected(run: mdtraj.Trajectory) -> mdtraj.Trajectory:
    made = run[:]
    made.xyz = run.xyz * np.float32([1, 1, -1])
    return made


def torn(run: mdtraj.Trajectory) -> mdtraj.Trajectory:
    made = run[:]
    made.xyz = run.xyz % 0.6  # as a box of that edge, which the file does not have
    return made


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (swapped, "bonds do not fit"),
        (lambda run: scaled(run, 10.0), "Angstrom taken for nm"),
        (lambda run: scaled(run, 0.1), "nm taken for Angstrom"),
        (reflected, "other handedness|mirror image|another isomer"),
        (torn, "needs whole molecules|do not fit"),
    ],
)
def test_frames_are_held_against_the_structure_as_those_of_a_system(
    change: object, match: str, moving: mdtraj.Trajectory, folder: Path, tmp_path: Path
) -> None:
    assert callable(change)
    change(moving).save(str(tmp_path / "bad.dcd"))
    files = FrameFiles(trajectories=tmp_path / "bad.dcd", topology=folder / "x.pdb")
    made = read_subject(files, atoms=HEAVY)
    for look in (check_frames, read_frames):
        with pytest.raises(SamplingError, match=match):
            look(files, made)


def test_other_numbers_of_atoms_are_refused(moving: mdtraj.Trajectory, folder: Path, tmp_path: Path) -> None:
    """Neither all atoms nor the chosen ones."""
    moving.atom_slice(range(15)).save(str(tmp_path / "some.xtc"))
    files = FrameFiles(trajectories=tmp_path / "some.xtc", topology=folder / "x.pdb")
    with pytest.raises(SamplingError, match="of 22 atoms, got: one of 15 atoms"):
        check_frames(files, read_subject(files, atoms=HEAVY))


def test_equal_chains_are_told_apart_by_the_selection(moving: mdtraj.Trajectory, tmp_path: Path) -> None:
    """Two molecules of the same names, each with bonds of its own."""
    other = moving[:]
    other.xyz = moving.xyz + np.float32([1.5, 0, 0])
    both = moving.stack(other)
    both[0].save_pdb(str(tmp_path / "two.pdb"))
    both.save(str(tmp_path / "two.xtc"))
    files = FrameFiles(trajectories=tmp_path / "two.xtc", topology=tmp_path / "two.pdb")
    second = read_subject(files, atoms=f"chainid 1 and {HEAVY}")
    found = read_frames(files, second)
    assert second.cv_atom_indices.min() >= moving.n_atoms
    np.testing.assert_allclose(found.positions, other.xyz[:, moving.topology.select(HEAVY)], atol=2e-3)
    assert len(read_subject(files, atoms=HEAVY).cv_atom_indices) == 20


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pdb and ca.dcd: alpha carbons of a helix of twelve residues, 0.38 nm from one to the next."""
    made = tmp_path_factory.mktemp("traces")
    turn = np.deg2rad(100) * np.arange(12)
    helix = np.stack([0.23 * np.cos(turn), 0.23 * np.sin(turn), 0.15 * np.arange(12)], axis=1)
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(12):
        topology.add_atom("CA", mdtraj.element.carbon, topology.add_residue("ALA", chain))
    noise = np.random.default_rng(1).normal(scale=0.02, size=(50, 12, 3))
    run = mdtraj.Trajectory((helix + noise).astype(np.float32), topology)
    mdtraj.Trajectory(helix.astype(np.float32), topology).save_pdb(str(made / "ca.pdb"))
    run.save(str(made / "ca.dcd"))
    scaled(run, 10.0).save(str(made / "scaled.dcd"))
    shuffled = run[:]
    shuffled.xyz[:, [2, 5]] = shuffled.xyz[:, [5, 2]]
    shuffled.save(str(made / "shuffled.dcd"))
    return made


def test_alpha_carbons_alone_are_held_against_their_chain(traces: Path) -> None:
    """What follows what tells unit and order without a bond; that handedness is not told is said."""
    made = subject(traces, "ca.dcd", "ca.pdb", "name CA")
    assert len(made.bonds.pairs) == 11
    found = read_frames(FrameFiles(trajectories=traces / "ca.dcd", topology=traces / "ca.pdb"), made)
    assert any("handedness is not checked" in note for note in found.notes)
    for name, match in (("scaled", "Angstrom taken for nm"), ("shuffled", "bonds do not fit")):
        files = FrameFiles(trajectories=traces / f"{name}.dcd", topology=traces / "ca.pdb")
        with pytest.raises(SamplingError, match=match):
            check_frames(files, made)
