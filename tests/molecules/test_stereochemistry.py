"""Chirality and peptide bonds of frames against those of the structure."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from aecv.molecules.spec import load_system
from aecv.molecules.stereochemistry import StereoReference

TRIPEPTIDE = """\
ATOM      1  N   ALA A   1       0.000   0.000   0.000  1.00  0.00           N
ATOM      2  CA  ALA A   1       1.450   0.000   0.000  1.00  0.00           C
ATOM      3  C   ALA A   1       2.000   1.420   0.000  1.00  0.00           C
ATOM      4  O   ALA A   1       1.300   2.430   0.000  1.00  0.00           O
ATOM      5  N   PRO A   2       3.330   1.500   0.000  1.00  0.00           N
ATOM      6  CD  PRO A   2       4.250   0.350   0.000  1.00  0.00           C
ATOM      7  CA  PRO A   2       4.000   2.800   0.000  1.00  0.00           C
ATOM      8  C   PRO A   2       5.500   2.700   0.000  1.00  0.00           C
ATOM      9  O   PRO A   2       6.100   1.600   0.000  1.00  0.00           O
ATOM     10  CB  PRO A   2       3.600   3.500   1.300  1.00  0.00           C
ATOM     11  CG  PRO A   2       4.700   1.000   1.300  1.00  0.00           C
END
"""


@pytest.fixture(scope="module")
def ala2() -> mdtraj.Trajectory:
    return mdtraj.load(str(load_system("ala2").structure_path))


def test_ala2_is_l_and_trans(ala2: mdtraj.Trajectory) -> None:
    stereo = StereoReference.from_structure(ala2.topology, ala2.xyz[0])
    assert stereo.handedness.tolist() == [1]
    assert stereo.trans.tolist() == [True, True]
    assert stereo.peptide_bonds.tolist() == [[1, 4, 6, 8], [8, 14, 16, 18]]


def test_changes_are_counted_per_frame(ala2: mdtraj.Trajectory) -> None:
    stereo = StereoReference.from_structure(ala2.topology, ala2.xyz[0])
    sound = ala2.xyz[0].astype(float)
    mirrored = sound * np.array([1.0, 1.0, -1.0])  # inverts the centre, keeps trans
    cis = sound.copy()  # half a turn about C-N of everything behind the second peptide bond
    axis = (sound[16] - sound[14]) / np.linalg.norm(sound[16] - sound[14])
    behind = sound[16:] - sound[14]
    cis[16:] = sound[14] + 2 * np.outer(behind @ axis, axis) - behind
    assert stereo.count_changes(np.stack([sound, mirrored, mirrored, cis])) == (2, 1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)  # a rotation, not a mirror
    assert stereo.count_changes((sound @ turn)[None]) == (0, 0)
    assert stereo.count_changes((-sound @ turn)[None]) == (1, 0)


def test_proline_counts_by_its_alpha_carbon(tmp_path: Path) -> None:
    """N of proline has two carbons; omega is CA-C-N-CA, here trans, and CA-C-N-CD is then cis."""
    path = tmp_path / "pro.pdb"
    path.write_text(TRIPEPTIDE, encoding="utf-8")
    structure = mdtraj.load(str(path))
    stereo = StereoReference.from_structure(structure.topology, structure.xyz[0])
    assert stereo.peptide_bonds.tolist() == [[1, 2, 4, 6]]
    assert stereo.trans.tolist() == [True]
    assert stereo.centres.tolist() == [[4, 6, 7, 9]]


def test_a_system_without_peptides_has_nothing_to_count() -> None:
    topology = mdtraj.Topology()
    residue = topology.add_residue("ARG", topology.add_chain())
    for name in ("A1", "A2"):
        topology.add_atom(name, mdtraj.element.argon, residue)
    stereo = StereoReference.from_structure(topology, np.zeros((2, 3)))
    assert stereo.count_changes(np.zeros((5, 2, 3))) == (0, 0)
