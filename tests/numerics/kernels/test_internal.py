"""Compiled internal coordinates: values against plain formulas, gradients against finite differences."""

import numpy as np
import pytest

from aecv.ground.errors import CVError
from aecv.molecules.geometry import angles, dihedrals, distances
from aecv.numerics.kernels.internal import InternalCoordinates, internal_gradient, internal_values

ALL = InternalCoordinates(
    kinds=("dihedral", "angle", "distance"),
    atoms=((4, 1, 0, 3), (2, 5, 1), (0, 3)),
    axes=(None, None, None),
    n_atoms=6,
)
FRAMES = np.random.default_rng(0).normal(size=(30, 6, 3))


def single(kind: str, n_atoms: int) -> InternalCoordinates:
    atoms = {"dihedral": (0, 1, 2, 3), "angle": (0, 1, 2), "distance": (0, 1), "coordinate": (0,)}[kind]
    axis = 2 if kind == "coordinate" else None
    return InternalCoordinates(kinds=(kind,), atoms=(atoms,), axes=(axis,), n_atoms=n_atoms)


def test_values_are_those_of_the_observables() -> None:
    xi = internal_values(ALL, FRAMES)
    np.testing.assert_allclose(xi[:, 0], dihedrals(FRAMES[:, [4, 1, 0, 3]]), atol=1e-14)
    np.testing.assert_allclose(xi[:, 1], angles(FRAMES[:, [2, 5, 1]]), atol=1e-14)
    np.testing.assert_allclose(xi[:, 2], distances(FRAMES[:, [0, 3]]), atol=1e-14)
    np.testing.assert_array_equal(internal_values(single("coordinate", 6), FRAMES)[:, 0], FRAMES[:, 0, 2])


@pytest.mark.parametrize("degrees", [-170.0, -90.0, -1e-3, 0.0, 60.0, 179.999])
def test_iupac_sign_of_a_dihedral(degrees: float) -> None:
    """Looking along the middle bond the rear bond is turned clockwise by the dihedral."""
    turn = np.radians(degrees)
    frame = np.array(
        [[0.1, 0, -0.05], [0, 0, 0], [0, 0, 0.15], [0.1 * np.cos(turn), 0.1 * np.sin(turn), 0.2]]
    )
    assert internal_values(single("dihedral", 4), frame[None])[0, 0] == pytest.approx(turn, abs=1e-14)


def differences(coordinates: InternalCoordinates, frames: np.ndarray, h: float = 1e-6) -> np.ndarray:
    numeric = np.empty((len(frames), coordinates.n_components, *frames.shape[1:]))
    for atom, axis in np.ndindex(*frames.shape[1:]):
        step = np.zeros(frames.shape[1:])
        step[atom, axis] = h
        difference = internal_values(coordinates, frames + step) - internal_values(coordinates, frames - step)
        if coordinates.kinds[0] == "dihedral":
            difference[:, 0] = (difference[:, 0] + np.pi) % (2 * np.pi) - np.pi  # across the seam
        numeric[:, :, atom, axis] = difference / (2 * h)
    return numeric


def test_gradients_are_finite_differences() -> None:
    xi, gradient = internal_gradient(ALL, FRAMES)
    np.testing.assert_array_equal(xi, internal_values(ALL, FRAMES))
    np.testing.assert_allclose(gradient, differences(ALL, FRAMES), atol=1e-7)
    _, gradient = internal_gradient(single("coordinate", 6), FRAMES)
    expected = np.zeros_like(gradient)
    expected[:, 0, 0, 2] = 1.0
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("turn", [0.0, np.pi, np.pi - 1e-9, -np.pi / 2])
def test_a_dihedral_has_its_gradient_everywhere_on_the_circle(turn: float) -> None:
    """Also where its sine is 0, at the seam, where formulas by the cosine divide by zero."""
    frame = np.array(
        [[0.1, 0, -0.05], [0, 0, 0], [0, 0, 0.15], [0.1 * np.cos(turn), 0.1 * np.sin(turn), 0.2]]
    )
    coordinates = single("dihedral", 4)
    _, gradient = internal_gradient(coordinates, frame[None])
    np.testing.assert_allclose(gradient, differences(coordinates, frame[None], 1e-7), atol=1e-5)
    ends = np.linalg.norm(gradient[0, 0, [0, 3]], axis=1)
    np.testing.assert_allclose(ends, 10.0, rtol=1e-6)  # one over 0.1 nm, their distance from the axis


def test_translations_and_rotations_do_no_work() -> None:
    _, gradient = internal_gradient(ALL, FRAMES)
    torque = np.cross(FRAMES[:, None], gradient).sum(axis=2)
    np.testing.assert_allclose(gradient.sum(axis=2), 0.0, atol=1e-12)
    np.testing.assert_allclose(torque, 0.0, atol=1e-11)


def test_undefined_places_are_named() -> None:
    line = np.zeros((4, 3))
    line[:, 0] = np.arange(4)
    for kind in ("angle", "dihedral"):
        with pytest.raises(CVError, match="not defined in frame 1: atoms of it coincide or lie on a line"):
            internal_values(single(kind, 4), np.array([FRAMES[0, :4], line]))
    with pytest.raises(CVError, match="not defined in frame 0"):
        internal_values(single("distance", 4), np.zeros((1, 4, 3)))
    with pytest.raises(CVError, match="holds NaN"):
        internal_values(ALL, np.full((1, 6, 3), np.nan))
    with pytest.raises(CVError, match=r"need shape \(n_frames, 6, 3\)"):
        internal_values(ALL, FRAMES[:, :5])


def test_bad_definitions_are_refused() -> None:
    def make(kind: str, atoms: tuple[int, ...], axis: int | None = None) -> InternalCoordinates:
        return InternalCoordinates(kinds=(kind,), atoms=(atoms,), axes=(axis,), n_atoms=5)

    with pytest.raises(CVError, match="one of distance, angle, dihedral, coordinate"):
        make("torsion", (0, 1, 2, 3))
    for atoms in ((0, 1), (0, 1, 1), (0, 1, 5)):
        with pytest.raises(CVError, match="'angle' needs 3 different atoms"):
            make("angle", atoms)
    with pytest.raises(CVError, match="an axis 0, 1 or 2"):
        make("coordinate", (0,))
    with pytest.raises(CVError, match="1 to 3 components"):
        InternalCoordinates(kinds=(), atoms=(), axes=(), n_atoms=5)
