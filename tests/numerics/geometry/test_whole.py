"""Molecules in a box are put together along a tree, whatever image every atom comes in."""

from itertools import pairwise

import numpy as np
import pytest

from aecv.ground.errors import SamplingError
from aecv.numerics.geometry.lattice import nearest_shift, reduced
from aecv.numerics.geometry.spanning_tree import SpanningTree, molecules_of, tree_of_all, tree_of_some
from aecv.numerics.geometry.whole import make_whole

BOXES = {
    "cubic": np.diag([3.0, 3.0, 3.0]),
    "rectangular": np.diag([2.0, 3.0, 4.0]),
    "dodecahedron": 3.0 * np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, np.sqrt(0.5)]]),
    "octahedron": 3.0
    * np.array([[1, 0, 0], [1 / 3, np.sqrt(8) / 3, 0], [-1 / 3, np.sqrt(2) / 3, np.sqrt(6) / 3]]),
}
BONDS = np.array([(0, 1), (1, 2), (2, 3), (2, 4), (4, 5), (6, 7), (7, 8), (9, 10)])
"""A branched molecule of six atoms, a chain of three and a pair."""


def structure() -> np.ndarray:
    """Neighbours 0.15 nm apart, the molecules 0.5 nm apart, [nm]."""
    x = np.array([0, 1, 2, 3, 2, 2, 2, 3, 4, 9, 10])
    y = np.array([0, 0, 0, 0, 1, 2, 5, 5, 5, 5, 5])
    return np.stack([0.15 * x, 0.15 * y, 0.02 * np.arange(11)], axis=1)


def cut(positions: np.ndarray, box: np.ndarray, seed: int = 0) -> np.ndarray:
    """Every atom in an image of its own, up to three boxes away."""
    shifts = np.random.default_rng(seed).integers(-3, 4, size=positions.shape)
    return positions + shifts @ box


@pytest.mark.parametrize("name", BOXES)
def test_the_image_is_the_shortest_of_all(name: str) -> None:
    """Against all images up to two boxes around the difference, for differences anywhere."""
    box, rng = BOXES[name], np.random.default_rng(1)
    grid = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3), axis=-1).reshape(-1, 3) @ box
    for fractional in rng.uniform(-0.5, 0.5, size=(300, 3)):
        inside = fractional @ box
        shortest = np.linalg.norm(inside + grid, axis=1).min()
        far = inside + rng.integers(-9, 10, size=3) @ box
        dx, dy, dz, square = nearest_shift(*far, box)
        assert np.linalg.norm(far + np.array([dx, dy, dz])) == pytest.approx(shortest, abs=1e-12)
        assert np.sqrt(square) == pytest.approx(shortest, abs=1e-12)
        cells = np.linalg.solve(box.T, (dx, dy, dz))
        np.testing.assert_allclose(cells, np.round(cells), atol=1e-9)


@pytest.mark.parametrize("name", BOXES)
def test_cut_molecules_come_out_as_they_were(name: str) -> None:
    """All but a shift of everything: the root stays where it came."""
    box, positions = BOXES[name], structure()
    tree = tree_of_some(np.arange(11), BONDS, cut(positions, box), box)
    for seed in range(5):
        given = cut(positions, box, seed)
        kept = given.copy()
        whole = make_whole(given, box, tree)
        np.testing.assert_allclose(whole - whole[0], positions - positions[0], atol=1e-12)
        np.testing.assert_array_equal(whole[0], given[0])
        np.testing.assert_array_equal(given, kept)


def test_frames_have_boxes_of_their_own_and_keep_their_precision() -> None:
    positions = structure()
    boxes = np.stack([BOXES["cubic"], 1.01 * BOXES["dodecahedron"]])
    frames = np.stack([cut(positions, box) for box in boxes]).astype(np.float32)
    tree = tree_of_some(np.arange(11), BONDS, positions, boxes[0])
    whole = make_whole(frames, boxes, tree)
    assert whole.dtype == np.float32
    # 12 nm from the origin a float32 has 1e-6 nm
    np.testing.assert_allclose(whole - whole[:, :1], np.stack([positions - positions[0]] * 2), atol=5e-6)


def test_a_box_in_any_form_is_the_same_lattice() -> None:
    skewed = np.array([[3.0, 0.0, 0.0], [2.0, 3.0, 0.0], [-4.0, 5.0, 2.0]])
    box = reduced(skewed)
    changes = box @ np.linalg.inv(skewed)
    np.testing.assert_allclose(changes, np.round(changes), atol=1e-12)
    assert np.linalg.det(changes) == pytest.approx(1.0)
    assert (np.abs(box[1:, 0]) <= 1.5).all()
    assert abs(box[2, 1]) <= 1.5
    positions = structure()
    tree = tree_of_some(np.arange(11), BONDS, positions, box)
    whole = make_whole(cut(positions, skewed), skewed, tree)
    np.testing.assert_allclose(whole - whole[0], positions - positions[0], atol=1e-12)


@pytest.mark.parametrize(
    "box", [np.zeros((3, 3)), np.diag([1.0, np.nan, 1.0]), np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])]
)
def test_no_box_is_told(box: np.ndarray) -> None:
    tree = tree_of_some([0, 1], BONDS, structure(), np.zeros((3, 3)))
    with pytest.raises(SamplingError, match=r"needs vectors a along x, .* got \[\["):
        make_whole(structure(), box, tree)
    with pytest.raises(SamplingError, match="needs one, or one for each of 1 frames, got 2"):
        make_whole(structure(), np.stack([np.eye(3)] * 2), tree)


def test_links_are_as_few_bonds_as_can_be() -> None:
    """Of some atoms: 0, 3 and 5 hang together over three bonds each; all atoms: over bonds alone."""
    positions = structure()
    some = tree_of_some([5, 0, 3, 8, 6], BONDS, positions, np.zeros((3, 3)))
    assert some.atoms[0] == 5
    links = {tuple(sorted(link)) for link in some.links.tolist()}
    assert links >= {(3, 5), (6, 8)}  # 3 bonds, and 2
    assert len(links & {(0, 3), (0, 5)}) == 1  # 3 or 4 bonds: the former
    assert (0, 3) in links
    all_of_them = tree_of_some(np.arange(6), BONDS, positions, np.zeros((3, 3)))
    assert {tuple(sorted(link)) for link in all_of_them.links.tolist()} == set(map(tuple, BONDS[:5].tolist()))


def test_molecules_hang_on_what_is_nearest_across_the_box() -> None:
    """The pair, moved by a box, is nearer to the chain than to the first molecule."""
    positions, box = structure(), BOXES["cubic"]
    positions[9:] += box[0] - 2 * box[2]
    tree = tree_of_some(np.arange(11), BONDS, positions, box)
    between = {tuple(link) for link in tree.links.tolist()} - {tuple(b) for b in BONDS.tolist()}
    assert (8, 9) in between
    assert any(parent < 6 <= child < 9 for parent, child in between)


def test_the_larger_tree_gives_the_smaller_ones_images() -> None:
    """A molecule that drifts to half the box and beyond is in the same image for both."""
    positions, box = structure(), BOXES["cubic"]
    chosen = np.array([3, 0, 8, 6])
    some = tree_of_some(chosen, BONDS, positions, box)
    everything = tree_of_all(some, BONDS, np.arange(9), positions, box)
    assert sorted(everything.atoms.tolist()) == list(range(11))
    for drift in np.linspace(0.0, 3.0, 31):
        moved = positions.copy()
        moved[6:9] += (drift, 0.3 * drift, -0.7 * drift)
        whole = make_whole(cut(moved, box), box, everything)
        own = make_whole(cut(moved, box)[chosen], box, some.among(chosen))
        np.testing.assert_allclose(whole[chosen] - whole[3], own - own[0], atol=1e-12)


def test_what_is_not_linked_stays_where_its_first_atom_is() -> None:
    positions, box = structure(), BOXES["cubic"]
    tree = tree_of_all(tree_of_some([0, 1], BONDS, positions, box), BONDS, np.arange(6), positions, box)
    given = cut(positions, box)
    whole = make_whole(given, box, tree)
    np.testing.assert_array_equal(whole[[6, 9]], given[[6, 9]])
    np.testing.assert_allclose(whole[10] - whole[9], positions[10] - positions[9], atol=1e-12)
    leading = make_whole(given[:6], box, tree.leading(6))
    np.testing.assert_array_equal(leading, whole[:6])


def test_paths_begin_on_earlier_ones() -> None:
    tree = tree_of_some(np.arange(9), BONDS, structure(), np.zeros((3, 3)))
    seen: set[int] = set()
    for k, path in enumerate(tree.paths):
        assert len(path) > 1
        assert (path[0] in seen) == (k > 0)
        seen |= set(path)
    links = {pair for path in tree.paths for pair in pairwise(path)}
    assert links == {tuple(link) for link in tree.links.tolist()}
    assert seen == set(range(9))


def test_an_atom_that_is_not_finite_spoils_no_other() -> None:
    positions, box = structure(), BOXES["cubic"]
    given = cut(positions, box)
    given[2] = np.nan
    whole = make_whole(given, box, tree_of_some(np.arange(11), BONDS, positions, box))
    assert np.isfinite(whole).all(axis=1).tolist() == [k != 2 for k in range(11)]


def test_molecules_are_what_bonds_hold_together() -> None:
    assert molecules_of(BONDS, 12).tolist() == [0] * 6 + [1] * 3 + [2] * 2 + [3]


def test_leading_atoms_hang_on_what_is_left_of_their_ancestors() -> None:
    """A water linked by its hydrogen (3), of which the oxygen (2) alone is kept: it hangs on the solute."""
    tree = SpanningTree(atoms=np.array([0, 1, 3, 2, 4]), parents=np.array([-1, 0, 1, 3, 2]))
    kept = tree.leading(3)
    assert kept.atoms.tolist() == [0, 1, 2]
    assert kept.parents.tolist() == [-1, 0, 1]
    assert tree.leading(5) is tree
