"""Components by importance, and the ones that are biased."""

import numpy as np
import pytest

from aecv.ground.settings import AutoencoderSettings, TrainingSettings
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.training.components import NEIGHBOURS, rank_components
from aecv.models.training.train import train_autoencoder
from aecv.models.training.training_data import Frames
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder, encode

REFERENCE = np.array([[0.0, 0, 0], [0.15, 0, 0], [0.15, 0.15, 0], [0.0, 0.15, 0.1], [0.1, 0.05, 0.2]])
QUICK = TrainingSettings(restarts=2, max_epochs=6, patience=10, validation_blocks=20)


def linear_autoencoder(z: np.ndarray, sizes: np.ndarray, order: np.ndarray):
    """Data y = sum_c sizes_c z_c u_c with orthonormal u_c, and the linear autoencoder that is exact for it.

    Returns:
        encoder, decoder and frames; component k of the encoder is z of order[k].
    """
    rng = np.random.default_rng(4)
    n, latent = z.shape
    directions = np.linalg.qr(rng.normal(size=(15, 15)))[0][:, :latent]
    y = (z * sizes) @ directions.T
    maps = (directions * sizes)[:, order]
    encoder = Encoder(
        reference=NO_REFERENCE, weights=((directions / sizes).T[order],), biases=(np.zeros(latent),)
    )
    weights = rng.uniform(0.5, 1.5, n)
    frames = Frames(
        table=y.astype(np.float32),
        rows=np.arange(n),
        weights=weights / weights.sum(),
        held_out=np.arange(n) % 2 == 0,
        mean=np.zeros(15),
        scale=1.0,
    )
    return encoder, [(maps, np.zeros(15))], frames


def test_importance_is_the_variance_that_a_component_reconstructs():
    """For orthogonal directions the loss rises by exactly sizes_c^2 var(z_c); sorting finds their order."""
    z = np.random.default_rng(1).normal(size=(8000, 4))
    sizes, order = np.array([3.0, 0.5, 2.0, 1.0]), np.array([1, 3, 0, 2])
    encoder, decoder, frames = linear_autoencoder(z, sizes, order)
    found = rank_components(encoder, decoder, frames, "auto")
    w = frames.weights[frames.held_out]
    deviations = z[frames.held_out] - np.average(z[frames.held_out], axis=0, weights=w)
    variances = np.average((deviations * sizes) ** 2, axis=0, weights=w)
    np.testing.assert_allclose(found.importances, variances[[0, 2, 3, 1]], rtol=1e-5)  # x is single precision
    assert found.loss < 1e-10
    values = encode(found.encoder, (frames.x()[:50].astype(float)).reshape(50, 5, 3))
    np.testing.assert_allclose(values, z[:50, [0, 2, 3, 1]], atol=1e-5)
    # independent components: the pair leaves the variance of the others and the noise of their means
    assert (found.biased, found.next_pair) == ((0, 1), (0, 2))
    left = (variances[3] + variances[1]) * (1 + 1 / NEIGHBOURS)
    assert found.biased_loss == pytest.approx(left, rel=0.03)


def test_two_components_that_say_the_same_are_not_the_best_pair():
    """z_1 is a function of z_0: important, but known already; z_2 brings more. |z_1| does not tell z_0."""
    z = np.random.default_rng(2).normal(size=(8000, 4))
    z[:, 1] = (z[:, 0] ** 2 - 1) / np.sqrt(2)
    encoder, decoder, frames = linear_autoencoder(z, np.array([3.0, 2.0, 1.5, 1.0]), np.array([3, 2, 1, 0]))
    found = rank_components(encoder, decoder, frames, "auto")
    assert np.all(np.diff(found.importances) < 0)
    assert (found.biased, found.next_pair) == ((0, 2), (0, 3))
    asked = rank_components(encoder, decoder, frames, (0, 1))
    assert asked.next_pair is None
    assert asked.biased_loss == pytest.approx((1.5**2 + 1.0**2) * (1 + 1 / NEIGHBOURS), rel=0.06)
    alone = rank_components(encoder, decoder, frames, (0,))
    assert alone.biased_loss == pytest.approx(asked.biased_loss, rel=0.05)


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    """Five atoms with four independent motions of falling size, and noise."""
    rng = np.random.default_rng(7)
    modes = np.linalg.qr(rng.normal(size=(15, 4)))[0].T.reshape(4, 5, 3)
    amounts = rng.normal(size=(4000, 4)) * [0.04, 0.03, 0.02, 0.01]
    return REFERENCE + np.tensordot(amounts, modes, 1) + 0.001 * rng.normal(size=(4000, 5, 3))


def trained_with(data: np.ndarray, **changes):
    autoencoder = AutoencoderSettings(hidden=(20,), latent=4, **changes)
    return train_autoencoder(
        FrameTable(data, np.ones(len(data))), REFERENCE, autoencoder=autoencoder, training=QUICK, seed=3
    )


@pytest.mark.parametrize("chosen", [(0, 3), (1,), (0, 1, 2)])
def test_the_cv_is_the_chosen_columns_of_all_components(data, chosen):
    trained = trained_with(data, bias_components=chosen)
    for encoder, own in zip(trained.restart_encoders, trained.components, strict=True):
        assert own.biased == chosen
        assert np.all(np.diff(own.importances) <= 0)
        np.testing.assert_allclose(encode(encoder, data), encode(own.encoder, data)[:, chosen], atol=1e-12)
        assert own.biased_loss > own.loss


def test_losses_of_the_components_are_those_of_the_training(data):
    """Sorting keeps encoder and decoder together: the loss of all components is the validation loss."""
    trained = trained_with(data)
    losses = [own.loss for own in trained.components]
    np.testing.assert_allclose(losses, trained.losses, rtol=1e-4)
    auto = trained_with(data, bias_components="auto")
    assert [own.biased for own in auto.components] == [own.biased for own in trained.components]
    assert all(len(own.biased) == 2 for own in auto.components)
    pair = trained.components[trained.best_restart]
    assert pair.loss < pair.biased_loss < pair.next_loss < trained.variance


def test_signs_and_order_of_the_cv_are_carried_to_all_components(data):
    own = trained_with(data, bias_components=(0, 3)).components[0]
    turned = own.in_order([1, 0], np.array([-1.0, 1.0]))
    assert turned.biased == (3, 0)
    whole, new = encode(own.encoder, data), encode(turned.encoder, data)
    np.testing.assert_allclose(new, whole * [1, 1, 1, -1], atol=1e-12)
    (w, _), (v, _) = own.decoder[0], turned.decoder[0]
    np.testing.assert_array_equal(v, w * [1, 1, 1, -1])


def test_where_all_are_biased_nothing_is_sorted(data):
    """Also where all are named: as it always was."""
    three = AutoencoderSettings(hidden=(20,), latent=3)
    named = AutoencoderSettings(hidden=(20,), latent=3, bias_components=(0, 1, 2))
    one, other = (
        train_autoencoder(
            FrameTable(data, np.ones(len(data))), REFERENCE, autoencoder=own, training=QUICK, seed=3
        )
        for own in (three, named)
    )
    assert one.components == other.components == ()
    np.testing.assert_array_equal(one.encoder.weights[-1], other.encoder.weights[-1])
    np.testing.assert_array_equal(one.encoder.weights[-1], one.restart_encoders[one.best_restart].weights[-1])
