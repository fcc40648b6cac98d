"""Helicity and radius of gyration of made-up chains with known answers."""

import mdtraj
import numpy as np
import pytest
from numpy.typing import NDArray

from aecv.ground.errors import MolecularSystemError
from aecv.ground.settings import ObservableSettings
from aecv.molecules.observables.observable_set import ObservableSet

HELIX, EXTENDED = (-57.0, -47.0), (-139.0, 135.0)
"""Ideal alpha helix and antiparallel sheet, phi and psi [degree]."""


def chain(n_residues: int, *, broken_after: int | None = None) -> mdtraj.Topology:
    """Backbone N, CA, C of residues in a row; without the bond behind one of them where asked."""
    topology = mdtraj.Topology()
    strand = topology.add_chain()
    before = None
    for k in range(n_residues):
        residue = topology.add_residue("ALA", strand)
        for name, element in (("N", "N"), ("CA", "C"), ("C", "C")):
            atom = topology.add_atom(name, mdtraj.element.Element.getBySymbol(element), residue)
            if before is not None and not (name == "N" and k - 1 == broken_after):
                topology.add_bond(before, atom)
            before = atom
    return topology


def backbone(torsions: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Positions [nm] of N, CA, C with phi and psi per residue [degree], omega 180; shape (3 n, 3)."""
    lengths = {0: 0.133, 1: 0.146, 2: 0.152}  # of the bond to N, CA, C
    placed = [np.zeros(3), np.array([0.146, 0.0, 0.0]), np.array([0.2, 0.142, 0.0])]
    for k in range(3, 3 * len(torsions)):
        residue, atom = divmod(k, 3)
        turn = np.deg2rad([torsions[residue - 1][1], 180.0, torsions[residue][0]][atom])
        third, second, first = placed[-3:]
        along = (first - second) / np.linalg.norm(first - second)
        normal = np.cross(second - third, along)
        normal /= np.linalg.norm(normal)
        bend = np.deg2rad(115.0)
        local = [-np.cos(bend), np.sin(bend) * np.cos(turn), np.sin(bend) * np.sin(turn)]
        frame = np.stack([along, np.cross(normal, along), normal], axis=1)
        placed.append(first + lengths[atom] * frame @ np.array(local))
    return np.array(placed)


def of(kinds: str, *, n: int = 12, atoms: str = "all", broken_after: int | None = None) -> ObservableSet:
    settings = {"it": ObservableSettings.model_validate({"kind": kinds, "atoms": (atoms,)})}
    return ObservableSet.prepare(chain(n, broken_after=broken_after), settings)


def share(letters: str, **where: object) -> float:
    """Helicity of a chain with h and e for helical and extended; the ends have no phi or no psi."""
    torsions = [HELIX if letter == "h" else EXTENDED for letter in letters]
    found = of("helicity", n=len(letters), **where)  # type: ignore[arg-type]
    return float(found.compute(backbone(torsions)[None])["it"][0])


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("hhhhhhhhhhhh", 1.0),
        ("eeeeeeeeeeee", 0.0),
        ("ehhheehhhhee", 7 / 10),  # two runs
        ("ehheehhehhee", 0.0),  # runs of two do not count
        ("hhheeeeeehhh", 0.0),  # the ends have no phi or no psi: two are left
        ("hhhheeeeeeee", 3 / 10),
    ],
)
def test_helical_runs_of_three_or_more_count(letters: str, expected: float) -> None:
    assert share(letters) == pytest.approx(expected, abs=1e-12)


def test_runs_end_at_a_gap_of_the_chain_and_of_the_selection() -> None:
    """Of ten residues, four before the gap and four behind it have both dihedrals."""
    assert share("hhhhhhhhhhhh", broken_after=5) == pytest.approx(1.0)
    # at a gap after the third residue only one residue in front has both: no run
    assert share("hhhhhhhhhhhh", broken_after=2) == pytest.approx(7 / 8)
    # residues 1, 2 and 4 to 6: the first two are no run
    assert share("hhhhhhhhhhhh", atoms="resid 1 2 4 5 6") == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("torsions", "expected"),
    [((-99.0, -8.0), 1.0), ((-31.0, -66.0), 1.0), ((-101.0, -40.0), 0.0), ((-60.0, -6.0), 0.0),
     ((-29.0, -40.0), 0.0), ((-60.0, -68.0), 0.0), ((57.0, 47.0), 0.0)],
)  # fmt: skip
def test_the_windows(torsions: tuple[float, float], expected: float) -> None:
    values = of("helicity").compute(backbone([torsions] * 12)[None])["it"]
    assert values[0] == expected


def test_frames_are_computed_together_as_one_by_one() -> None:
    rng = np.random.default_rng(2)
    letters = rng.choice(2, size=(30, 12))
    frames = np.stack([backbone([(HELIX, EXTENDED)[k] for k in row]) for row in letters])
    found = of("helicity")
    together = found.compute(frames)["it"]
    np.testing.assert_array_equal(together, [found.compute(frame[None])["it"][0] for frame in frames])
    assert 0.0 < together.mean() < 1.0


def test_its_free_energy_has_a_bin_per_value() -> None:
    """Ten residues take eleven values; of fewer bins each has the same number of them."""
    found = of("helicity")
    edges = found.edges("it", np.zeros(3), 90)
    np.testing.assert_allclose(0.5 * (edges[1:] + edges[:-1]), np.arange(11) / 10, atol=1e-12)
    coarse = found.edges("it", np.zeros(3), 6)
    assert np.histogram(np.arange(11) / 10, coarse)[0].tolist() == [2, 2, 2, 2, 2, 1]
    assert found.label("it") == "it"


def test_too_few_residues_are_refused() -> None:
    with pytest.raises(MolecularSystemError, match=r"observables\.it: a helicity needs at least 3 .* got 2;"):
        of("helicity", atoms="resid 0 to 2")
    with pytest.raises(ValueError, match="a helicity needs one selection of all its atoms, got 2"):
        ObservableSettings(kind="helicity", atoms=("resid 1", "resid 2"))


def test_radius_of_gyration_of_two_masses() -> None:
    """C and N at a distance d: their centre divides it by mass, and Rg = d sqrt(m1 m2) / (m1 + m2)."""
    found = of("radius_of_gyration", n=1, atoms="name N or name C")
    distance, nitrogen, carbon = 0.7, 14.00672, 12.01078
    points = np.array([[[0.3, 0.0, 0.0], [9.0, 9.0, 9.0], [0.3, distance, 0.0]]])
    expected = distance * np.sqrt(nitrogen * carbon) / (nitrogen + carbon)
    assert found.compute(points)["it"][0] == pytest.approx(expected, rel=1e-9)
    assert found.label("it") == "it [nm]"


def test_radius_of_gyration_is_that_of_the_distances_wherever_the_molecule_is() -> None:
    """Rg^2 = sum_ij m_i m_j d_ij^2 / (2 M^2), Lagrange's identity, which has no centre."""
    frames = np.random.default_rng(1).normal(size=(5, 12, 3))
    masses = np.array([atom.element.mass for atom in chain(4).atoms])
    squares = np.square(frames[:, :, None] - frames[:, None]).sum(axis=3)
    expected = np.sqrt(np.einsum("i,j,fij->f", masses, masses, squares) / 2.0) / masses.sum()
    shifted = frames + np.array([3.0, -2.0, 1.0])
    found = of("radius_of_gyration", n=4).compute(shifted)["it"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_one_atom_has_no_radius_of_gyration() -> None:
    with pytest.raises(MolecularSystemError, match=r"needs at least 2 atoms with masses, got 1 of 1"):
        of("radius_of_gyration", atoms="name CA and resid 0")
