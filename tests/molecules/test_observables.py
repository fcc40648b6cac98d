"""Selections with clear errors; dihedrals, angles and distances against mdtraj."""

import pickle
import time

import mdtraj
import numpy as np
import pytest
from numpy.typing import NDArray

from aecv.ground.errors import MolecularSystemError
from aecv.ground.observable_kinds import OF_ONE_SELECTION
from aecv.ground.settings import ObservableSettings
from aecv.molecules.observables.observable_set import ObservableSet
from aecv.molecules.selection import select_atoms
from aecv.molecules.spec import load_system

PHI = (
    "resname ACE and name C",
    "resname ALA and name N",
    "resname ALA and name CA",
    "resname ALA and name C",
)


@pytest.fixture(scope="module")
def ala2() -> mdtraj.Trajectory:
    return mdtraj.load(str(load_system("ala2").structure_path))


@pytest.fixture(scope="module")
def frames(ala2: mdtraj.Trajectory) -> NDArray[np.float64]:
    """Random distortions of the structure [nm], shape (200, 22, 3)."""
    noise = np.random.default_rng(3).normal(scale=0.05, size=(200, 22, 3))
    return ala2.xyz[0].astype(float) + noise


def test_cv_atoms_are_the_eight_of_the_paper_in_order(ala2: mdtraj.Trajectory) -> None:
    indices = select_atoms(ala2.topology, load_system("ala2").settings.cv.atoms)
    found = [(ala2.topology.atom(i).residue.name, ala2.topology.atom(i).name) for i in indices]
    assert found == [
        ("ACE", "CH3"), ("ACE", "C"), ("ALA", "N"), ("ALA", "CA"),
        ("ALA", "CB"), ("ALA", "C"), ("NME", "N"), ("NME", "C"),
    ]  # fmt: skip
    # mdtraj and OpenMM call the methyl carbon of NME "C".
    assert [ala2.topology.atom(i).element.symbol for i in indices] == ["C", "C", "N", "C", "C", "C", "N", "C"]


@pytest.mark.parametrize(
    ("selection", "exactly_one", "message"),
    [
        ("name XX", False, r"cv\.atoms: 'name XX' selects none of the 22 atoms.*ACE, ALA, NME"),
        ("name CA CB and", False, r"cv\.atoms: needs an mdtraj selection.*got 'name CA CB and'"),
        # the parser's grammar, about 2 kB, is cut after 120 letters
        (
            "mass >",
            False,
            r"^cv\.atoms: needs an mdtraj selection .* got 'mass >' \(ValueError: .{120} \.\.\.\)$",
        ),
        ("name C", True, r"exactly one atom, 'name C' gives 3 \(ACE1-C, ALA2-C, NME3-C\)"),
        ("name XX", True, r"exactly one atom, 'name XX' gives 0 \(none\)"),
    ],
)
def test_bad_selection(ala2: mdtraj.Trajectory, selection: str, exactly_one: bool, message: str) -> None:
    with pytest.raises(MolecularSystemError, match=message):
        select_atoms(ala2.topology, selection, exactly_one=exactly_one)


def test_brackets_without_end_are_refused_at_once(ala2: mdtraj.Trajectory) -> None:
    began = time.monotonic()
    with pytest.raises(MolecularSystemError, match=r"cv\.atoms: .* at most 1000 brackets, got 100000"):
        select_atoms(ala2.topology, "(" * 100_000 + "name CA" + ")" * 100_000)
    assert time.monotonic() - began < 1.0  # mdtraj's parser did not end within minutes


def test_bad_observable_names_its_atom(ala2: mdtraj.Trajectory) -> None:
    settings = {"phi": ObservableSettings(kind="dihedral", atoms=(*PHI[:3], "name C"))}
    with pytest.raises(MolecularSystemError, match=r"observables\.phi\.atoms\[3\]: .*exactly one"):
        ObservableSet.prepare(ala2.topology, settings)


def test_values_agree_with_mdtraj(ala2: mdtraj.Trajectory, frames: NDArray[np.float64]) -> None:
    settings = {
        "phi": ObservableSettings(kind="dihedral", atoms=PHI),
        "bend": ObservableSettings(kind="angle", atoms=PHI[1:]),
        "end": ObservableSettings(kind="distance", atoms=("name CB", "resname NME and name C")),
    }
    values = ObservableSet.prepare(ala2.topology, settings).compute(frames)
    trajectory = mdtraj.Trajectory(frames, ala2.topology)
    expected = {
        "phi": mdtraj.compute_dihedrals(trajectory, [[4, 6, 8, 14]])[:, 0],
        "bend": mdtraj.compute_angles(trajectory, [[6, 8, 14]])[:, 0],
        "end": mdtraj.compute_distances(trajectory, [[10, 18]])[:, 0],
    }
    for name, array in expected.items():  # mdtraj computes in float32
        np.testing.assert_allclose(np.exp(1j * values[name]), np.exp(1j * array), atol=2e-5)
    assert values["phi"].std() > 0.1


def test_a_coordinate_is_that_of_its_atom(ala2: mdtraj.Trajectory) -> None:
    settings = {
        axis: ObservableSettings(kind="coordinate", atoms=("resname ALA and name CA",), axis=axis)
        for axis in ("x", "z")
    }
    values = ObservableSet.prepare(ala2.topology, settings).compute(ala2.xyz)
    (atom,) = ala2.topology.select("resname ALA and name CA")
    np.testing.assert_array_equal(values["x"], ala2.xyz[:, atom, 0])
    np.testing.assert_array_equal(values["z"], ala2.xyz[:, atom, 2])


def test_dihedral_of_a_known_angle() -> None:
    """IUPAC: looking along the middle bond, the far end turned clockwise counts as positive."""
    angle = 0.7
    points = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, -1], [np.cos(angle), np.sin(angle), -1]]])
    observables = ObservableSet(kinds={"a": "dihedral"}, indices={"a": np.arange(4)})
    # The middle bond points along -z. A turn from x to y is clockwise seen along +z, so here it is negative.
    np.testing.assert_allclose(observables.compute(points)["a"], [-angle], atol=1e-14)


def test_wrong_shape_is_refused(ala2: mdtraj.Trajectory) -> None:
    observables = ObservableSet.prepare(ala2.topology, load_system("ala2").settings.observables)
    assert observables.names == observables.periodic_names == ("phi", "psi")
    with pytest.raises(MolecularSystemError, match=r"shape \(frames, atoms >= 17, 3\), got \(22, 3\)"):
        observables.compute(ala2.xyz[0])
    with pytest.raises(MolecularSystemError, match=r"got \(1, 8, 3\)"):
        observables.compute(ala2.xyz[:, :8])


def test_rmsd_is_that_of_mdtraj_after_superposition(ala2: mdtraj.Trajectory) -> None:
    """mdtraj sums in single precision."""
    rng = np.random.default_rng(3)
    frames = ala2.xyz + rng.normal(scale=0.05, size=(20, *ala2.xyz.shape[1:]))
    settings = {"rmsd": ObservableSettings(kind="rmsd", atoms=("mass > 2",))}
    observables = ObservableSet.prepare(ala2.topology, settings, positions=ala2.xyz[0])
    values = observables.compute(frames)["rmsd"]
    heavy = ala2.topology.select("mass > 2")
    expected = mdtraj.rmsd(mdtraj.Trajectory(frames, ala2.topology), ala2, atom_indices=heavy)
    np.testing.assert_allclose(values, expected, atol=2e-5)
    # a turn about z by 90 degrees and a shift leave nothing
    turned = ala2.xyz[:, :, [1, 0, 2]] * [-1.0, 1.0, 1.0] + 0.7
    np.testing.assert_allclose(observables.compute(turned)["rmsd"], 0.0, atol=1e-6)
    assert observables.label("rmsd") == "rmsd [nm]"
    assert observables.periodic_names == ()


@pytest.mark.parametrize(
    ("selection", "positions", "message"),
    [
        ("name CA", True, r"observables\.far: an rmsd needs at least 3 atoms to superpose, got 1"),
        ("name XX", True, r"observables\.far\.atoms\[0\]: 'name XX' selects none"),
        ("mass > 2", False, r"observables\.far: an rmsd needs the positions of the structure"),
    ],
)
def test_a_bad_rmsd_is_refused(
    ala2: mdtraj.Trajectory, selection: str, positions: bool, message: str
) -> None:
    settings = {"far": ObservableSettings(kind="rmsd", atoms=(selection,))}
    with pytest.raises(MolecularSystemError, match=message):
        ObservableSet.prepare(ala2.topology, settings, positions=ala2.xyz[0] if positions else None)


def test_an_rmsd_of_atoms_on_a_line_is_refused(ala2: mdtraj.Trajectory) -> None:
    settings = {"far": ObservableSettings(kind="rmsd", atoms=("index 0 1 2",))}
    line = np.outer(np.arange(ala2.n_atoms), [0.1, 0.0, 0.0])
    with pytest.raises(MolecularSystemError, match="needs atoms that are not on a line"):
        ObservableSet.prepare(ala2.topology, settings, positions=line)


def test_an_rmsd_has_one_selection() -> None:
    with pytest.raises(ValueError, match="an rmsd needs one selection of all its atoms, got 2"):
        ObservableSettings(kind="rmsd", atoms=("name CA", "name C"))


def test_of_many_observables_only_neighbours_are_mapped() -> None:
    def pairs(n: int) -> tuple[tuple[str, str], ...]:
        return ObservableSet(kinds=dict.fromkeys("abcdefgh"[:n], "angle"), indices={}).pairs

    assert pairs(1) == ()
    assert [len(pairs(n)) for n in (2, 3, 4)] == [1, 3, 6]
    assert pairs(5) == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))


@pytest.mark.parametrize("kind", OF_ONE_SELECTION)
def test_a_kind_of_many_atoms_is_measured_by_the_file_of_its_name(kind: str) -> None:
    """Of a peptide: a number per frame, wherever it is and however it is turned; it can be pickled."""
    structure = mdtraj.load(str(load_system("chignolin").structure_path))
    settings = {"found": ObservableSettings(kind=kind, atoms=("protein",))}
    made = ObservableSet.prepare(structure.topology, settings, positions=structure.xyz[0])
    turned = structure.xyz[0] @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) + [3.0, 1.0, -2.0]
    bent = structure.xyz[0] * [1.1, 1.0, 0.95]
    values = pickle.loads(pickle.dumps(made)).compute(np.stack([structure.xyz[0], turned, bent]))["found"]
    assert values.shape == (3,)
    assert values[0] == pytest.approx(values[1], abs=2e-6)
    assert len(made.edges("found", values, 10)) <= 11
