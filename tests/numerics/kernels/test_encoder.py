"""The compiled encoder: alignment, network, and the closed-form gradient through both."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from aecv.ground.errors import AlignmentError, CVError
from aecv.models.cvs.torchscript import EncoderModule, evaluate_with_gradient
from aecv.numerics.kernels import network, superposition
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder, align, encode, encode_gradient
from aecv.numerics.kernels.network import ACTIVATIONS, IDENTITY, TANH


def make_encoder(n_atoms: int = 8, hidden: tuple[int, ...] = (40,), d: int = 2, seed: int = 0) -> Encoder:
    rng = np.random.default_rng(seed)
    sizes = [3 * n_atoms, *hidden, d]
    return Encoder(
        reference=0.2 * rng.normal(size=(n_atoms, 3)),
        weights=tuple(rng.normal(size=(b, a)) / np.sqrt(a) * 3 for a, b in pairwise(sizes)),
        biases=tuple(0.1 * rng.normal(size=b) for b in sizes[1:]),
    )


def frames_near(encoder: Encoder, n: int, seed: int = 1, noise: float = 0.05) -> np.ndarray:
    """Frames that differ from the reference by noise, a rotation and a translation."""
    rng = np.random.default_rng(seed)
    shapes = encoder.reference + noise * rng.normal(size=(n, encoder.n_atoms, 3))
    turns = Rotation.random(n, rng=rng).as_matrix()
    return np.einsum("fab,fnb->fna", turns, shapes) + rng.normal(size=(n, 1, 3))


def reference_encode(encoder: Encoder, frames: np.ndarray) -> np.ndarray:
    """The same by SciPy's Kabsch and plain NumPy."""
    values = []
    for frame in frames:
        centred = frame - frame.mean(axis=0)
        x = Rotation.align_vectors(encoder.reference, centred)[0].apply(centred).ravel()
        for w, b in zip(encoder.weights[:-1], encoder.biases[:-1], strict=True):
            x = np.tanh(w @ x + b)
        values.append(encoder.weights[-1] @ x + encoder.biases[-1])
    return np.array(values)


@pytest.mark.parametrize(("n_atoms", "hidden", "d"), [(8, (40,), 2), (5, (), 1), (30, (20, 11), 3)])
def test_values_agree_with_an_independent_computation(n_atoms: int, hidden: tuple[int, ...], d: int) -> None:
    encoder = make_encoder(n_atoms, hidden, d)
    frames = frames_near(encoder, 50)
    np.testing.assert_allclose(encode(encoder, frames), reference_encode(encoder, frames), atol=1e-12)


@pytest.mark.parametrize(("n_atoms", "hidden", "d"), [(8, (40,), 2), (5, (), 1), (30, (20, 11), 3)])
def test_gradient_agrees_with_finite_differences(n_atoms: int, hidden: tuple[int, ...], d: int) -> None:
    encoder = make_encoder(n_atoms, hidden, d)
    frames = frames_near(encoder, 5, noise=0.1)
    _, gradient = encode_gradient(encoder, frames)
    step = 1e-5
    numeric = np.empty_like(gradient)
    for atom, axis in np.ndindex(n_atoms, 3):
        moved = np.zeros_like(frames)
        moved[:, atom, axis] = step
        numeric[..., atom, axis] = (encode(encoder, frames + moved) - encode(encoder, frames - moved)) / (
            2 * step
        )
    assert np.abs(gradient - numeric).max() < 1e-8 * np.abs(gradient).max()  # h^2 of central differences


def test_far_from_the_reference_the_fit_is_still_the_global_one() -> None:
    """Random frames, reflections among them, where a wrong quaternion or a saddle would show."""
    encoder = make_encoder()
    frames = np.random.default_rng(3).normal(size=(500, 8, 3))
    frames[::2] = -(encoder.reference + 0.02 * frames[::2])
    np.testing.assert_allclose(encode(encoder, frames), reference_encode(encoder, frames), atol=1e-9)


def test_rotations_and_translations_leave_xi_and_turn_the_gradient() -> None:
    encoder = make_encoder()
    shapes = encoder.reference + 0.05 * np.random.default_rng(4).normal(size=(1000, 8, 3))
    turns = Rotation.random(1000, rng=np.random.default_rng(5)).as_matrix()
    moved = np.einsum("fab,fnb->fna", turns, shapes) + 2.0
    xi, gradient = encode_gradient(encoder, shapes)
    xi_moved, gradient_moved = encode_gradient(encoder, moved)
    assert np.abs(xi - xi_moved).max() < 1e-12
    expected = np.einsum("fab,fcnb->fcna", turns, gradient)
    assert np.abs(gradient_moved - expected).max() < 1e-10 * np.abs(gradient).max()
    # no net force and no net torque
    assert np.abs(gradient.sum(axis=2)).max() < 1e-11 * np.abs(gradient).max()
    torque = np.cross(shapes[:, None], gradient).sum(axis=2)
    assert np.abs(torque).max() < 1e-10 * np.abs(gradient).max()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_and_their_gradients_are_those_of_torch(name: str) -> None:
    """One layer with it between two of tanh; arguments of some 9, and frames far apart, reach the tails."""
    tanh = make_encoder(hidden=(20, 30, 11))
    encoder = replace(tanh, activations=(TANH, ACTIVATIONS.index(name), TANH, IDENTITY))
    frames = frames_near(encoder, 200, noise=0.3)
    xi, gradient = encode_gradient(encoder, frames)
    expected = evaluate_with_gradient(EncoderModule(encoder), frames)
    np.testing.assert_allclose(xi, expected[0], atol=1e-12 * np.abs(xi).max())
    np.testing.assert_allclose(gradient, expected[1], atol=1e-11 * np.abs(gradient).max())
    assert (name == "tanh") == np.allclose(xi, encode(tanh, frames), atol=1e-12)


@pytest.mark.parametrize("activation", range(len(ACTIVATIONS)))
def test_activations_keep_nan_and_do_not_overflow(activation: int) -> None:
    values = np.array([np.nan, -800.0, 800.0])
    network.activate(activation, values, 3)
    assert np.isnan(values[0])
    assert np.all(np.isfinite(values[1:]))


@pytest.mark.parametrize("activations", [(0, 0), (1,), (6, 1), (-1, 1)])
def test_activations_that_no_kernel_has_are_refused(activations: tuple[int, ...]) -> None:
    with pytest.raises(CVError, match="needs an activation of 0 to 5 for each of its 2 layers"):
        replace(make_encoder(), activations=activations)


def test_aligned_frames_fit_best_and_keep_their_shape() -> None:
    encoder = make_encoder()
    frames = frames_near(encoder, 200)
    aligned = align(encoder.reference, frames)
    np.testing.assert_allclose(aligned.mean(axis=1), 0, atol=1e-14)
    pairs = np.linalg.norm(frames[:, :, None] - frames[:, None], axis=-1)
    np.testing.assert_allclose(
        np.linalg.norm(aligned[:, :, None] - aligned[:, None], axis=-1), pairs, atol=1e-13
    )
    torque = np.cross(aligned, encoder.reference).sum(axis=1)
    assert np.abs(torque).max() < 1e-13  # sum_i y_i x r_i = 0 at the optimum


def test_tanh_is_exact_to_rounding() -> None:
    x = np.concatenate([np.linspace(-30, 30, 200_001), [0.0, 1e-300, -1e-12, 700.0, -700.0]])
    values = x.copy()
    network.tanh_in_place(values, len(values))
    exact = np.tanh(x)
    assert np.abs(values - exact).max() < 5e-16
    nonzero = exact != 0
    assert np.abs(values[nonzero] / exact[nonzero] - 1).max() < 1e-15


@pytest.mark.parametrize(
    "positions",
    [
        np.outer(np.arange(8.0), [1.0, 2.0, 3.0]),  # on a line
        np.zeros((8, 3)),
        np.ones((8, 3)),
        np.full((8, 3), np.nan),
    ],
)
def test_a_fit_that_is_not_unique_is_an_error_and_never_nan(positions: np.ndarray) -> None:
    encoder = make_encoder()
    frames = np.stack([encoder.reference, positions])
    for call in (encode, encode_gradient):
        with pytest.raises(AlignmentError, match="frame 1 has no unique rotation"):
            call(encoder, frames)


def test_a_planar_reference_can_be_fitted() -> None:
    """det B = 0: the proper rotation is unique although a reflection fits as well."""
    rng = np.random.default_rng(0)
    reference = np.column_stack([rng.normal(size=(6, 2)), np.zeros(6)])
    turn = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()
    aligned = align(reference, (reference @ turn.T)[None])[0]
    np.testing.assert_allclose(aligned, reference - reference.mean(axis=0), atol=1e-13)


def test_shapes_and_numbers_are_checked() -> None:
    encoder = make_encoder()
    with pytest.raises(CVError, match=r"need shape \(n_frames, 8, 3\)"):
        encode(encoder, np.zeros((4, 7, 3)))
    with pytest.raises(CVError, match="layer 1 needs 40 inputs"):
        Encoder(
            reference=encoder.reference,
            weights=(encoder.weights[0], encoder.weights[1][:, :39]),
            biases=encoder.biases,
        )
    with pytest.raises(CVError, match="finite"):
        Encoder(
            reference=encoder.reference,
            weights=(encoder.weights[0] * np.nan, encoder.weights[1]),
            biases=encoder.biases,
        )
    with pytest.raises(AlignmentError):
        Encoder(
            reference=np.outer(np.arange(8.0), [1.0, 0.0, 0.0]),
            weights=encoder.weights,
            biases=encoder.biases,
        )


def test_the_quaternion_fit_agrees_with_an_svd_on_hard_cases() -> None:
    """Correlation matrices with nearly equal or tiny singular values."""
    rng = np.random.default_rng(6)
    for singular in ([1, 1, 1], [1, 1, 1e-3], [1, 0.5, -0.4], [3, 1e-2, 1e-3], [1e-6, 5e-7, 1e-7]):
        for _ in range(20):
            u, v = Rotation.random(2, rng=rng).as_matrix()
            s = u @ np.diag(np.array(singular, dtype=float)) @ v
            r, b, inverse = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
            assert superposition.optimal_rotation(s, r, b, inverse, np.empty((4, 4)), np.empty((4, 4)))
            np.testing.assert_allclose(r, (u @ v).T, atol=1e-9)


def plain_encoder(n_atoms: int, hidden: tuple[int, ...], d: int) -> Encoder:
    """The network of `make_encoder` without alignment."""
    if n_atoms < 3:
        rng = np.random.default_rng(7)
        sizes = [3 * n_atoms, *hidden, d]
        return Encoder(
            reference=NO_REFERENCE,
            weights=tuple(rng.normal(size=(b, a)) for a, b in pairwise(sizes)),
            biases=tuple(rng.normal(size=b) for b in sizes[1:]),
        )
    return replace(make_encoder(n_atoms, hidden, d), reference=NO_REFERENCE)


@pytest.mark.parametrize(
    ("n_atoms", "hidden", "d"), [(1, (20, 20), 1), (1, (), 2), (2, (5,), 3), (8, (40,), 2)]
)
def test_without_reference_the_network_sees_positions_as_they_are(
    n_atoms: int, hidden: tuple[int, ...], d: int
) -> None:
    encoder = plain_encoder(n_atoms, hidden, d)
    assert (encoder.n_atoms, encoder.is_aligned) == (n_atoms, False)
    frames = np.random.default_rng(8).normal(size=(40, n_atoms, 3))
    xi, gradient = encode_gradient(encoder, frames)
    expected = frames.reshape(40, -1)
    for w, b in zip(encoder.weights[:-1], encoder.biases[:-1], strict=True):
        expected = np.tanh(expected @ w.T + b)
    expected = expected @ encoder.weights[-1].T + encoder.biases[-1]
    np.testing.assert_allclose(xi, expected, atol=1e-13)
    np.testing.assert_allclose(encode(encoder, frames), expected, atol=1e-13)
    step = 1e-5
    for atom, axis in np.ndindex(n_atoms, 3):
        moved = np.zeros_like(frames)
        moved[:, atom, axis] = step
        numeric = (encode(encoder, frames + moved) - encode(encoder, frames - moved)) / (2 * step)
        # third derivatives of tanh times step^2, and rounding over the step
        assert np.abs(gradient[:, :, atom, axis] - numeric).max() < 1e-8 * max(1.0, np.abs(gradient).max())


def test_without_reference_alignment_leaves_frames_and_nan_is_an_error() -> None:
    frames = np.random.default_rng(9).normal(size=(5, 1, 3))
    np.testing.assert_array_equal(align(NO_REFERENCE, frames), frames)
    encoder = plain_encoder(1, (4,), 1)
    for bad in (np.nan, np.inf):
        broken = frames.copy()
        broken[3, 0, 1] = bad
        for call in (encode, encode_gradient):
            with pytest.raises(CVError, match="frame 3 holds NaN or infinite positions"):
                call(encoder, broken)


@pytest.mark.parametrize("n_atoms", [1, 2])
def test_a_reference_of_one_or_two_atoms_is_refused(n_atoms: int) -> None:
    with pytest.raises(CVError, match=r"n_atoms >= 3, 3\), or \(0, 3\) without alignment"):
        replace(plain_encoder(n_atoms, (4,), 1), reference=np.zeros((n_atoms, 3)))


def test_inputs_that_are_no_atoms_are_refused() -> None:
    with pytest.raises(CVError, match="layer 0 needs 6 inputs"):
        Encoder(reference=NO_REFERENCE, weights=(np.ones((1, 7)),), biases=(np.ones(1),))
