"""Training of autoencoders against exact answers: PCA, noise floors, weights, repetition."""

import mdtraj
import numpy as np
import pytest
import torch

from aecv.ground.errors import AlignmentError, TrainingError
from aecv.ground.settings import AutoencoderSettings, TrainingSettings
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.networks.layers import Mirrored, Shape
from aecv.models.networks.starts import principal_starts
from aecv.models.networks.tanh_stack import TanhStack
from aecv.models.training.device import device_of
from aecv.models.training.optimisation import fit, rows_of
from aecv.models.training.train import train_autoencoder, train_replicas
from aecv.models.training.training_data import (
    Frames,
    block_bootstrap,
    prepare_replicas,
    systematic_resample,
    validation_blocks,
)
from aecv.numerics.kernels.encoder import align, encode
from tests.models.random_start import random_start

ONE = AutoencoderSettings(hidden=(20,), latent=1)
QUICK = TrainingSettings(restarts=2, max_epochs=12, patience=12, validation_blocks=20)
REFERENCE = np.array([[0.0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0], [0.35, 0.15, 0.05], [0.4, 0.25, 0.15]])
NOISE_NM = 0.004


def stacked(starts, activation="tanh") -> TanhStack:
    networks = [Mirrored(start, activation=activation) for start in starts]
    return TanhStack(networks, lambda batch: (batch.x, batch.x))


def prepare(x, w, reference, *, training, seed) -> Frames:
    """Training data of all frames."""
    everything = [np.arange(len(w))]
    table = FrameTable(x, w)
    return prepare_replicas(table, reference, replicas=everything, training=training, seeds=[seed])[0]


def molecule(n_frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A curved one-dimensional motion with noise, each frame turned and moved at random.

    Returns the parameter of the curve, shape (F,), and positions [nm], shape (F, 5, 3).
    """
    rng = np.random.default_rng(seed)
    modes = np.random.default_rng(7).standard_normal((2, 5, 3))
    t = np.repeat(rng.uniform(-1, 1, n_frames // 10 + 1), 10)[:n_frames]
    curve = 0.04 * (t[:, None, None] * modes[0] + t[:, None, None] ** 2 * modes[1])
    q, _ = np.linalg.qr(rng.standard_normal((n_frames, 3, 3)))
    q *= np.linalg.det(q)[:, None, None]
    x = REFERENCE + curve + NOISE_NM * rng.standard_normal((n_frames, 5, 3))
    return t, x @ q + rng.standard_normal((n_frames, 1, 3))


def spread(x: np.ndarray) -> float:
    """Sum of squares about the mean."""
    return float(np.sum((x - x.mean(axis=0)) ** 2))


def principal_residual(x: np.ndarray, weights: np.ndarray, n: int) -> float:
    """Part of the weighted variance outside the leading n principal components."""
    values = np.linalg.eigvalsh(np.cov(x.T, aweights=weights, ddof=0))
    return float(1 - values[-n:].sum() / values.sum())


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    t, x = molecule(4000, 1)
    return t, x, np.exp(t)


@pytest.fixture(scope="module")
def trained(data):
    _, x, w = data
    return train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=QUICK, seed=3)


def test_linear_autoencoder_reaches_the_principal_component_residual(data):
    _, x, w = data
    settings = QUICK.model_copy(update={"max_epochs": 25, "patience": 25, "restarts": 3})
    frames = prepare(x, w, REFERENCE, training=settings, seed=1)
    shape = Shape(n_inputs=15, hidden=(20,), latent=2)
    starts = [random_start(shape, np.random.default_rng(k)) for k in range(3)]
    result = fit(
        stacked(starts, activation="linear"),
        [frames],
        settings,
        [np.random.default_rng(0)],
    )
    train = ~frames.held_out
    x_train, w_train = frames.x()[train].astype(float), frames.weights[train]
    values = np.linalg.eigvalsh(np.cov(x_train.T, aweights=w_train, ddof=0))
    exact = values[:-2].sum() / len(values)
    assert result.train[:, -1] == pytest.approx(exact, rel=0.003)
    assert np.all(result.train[:, 0] > 1.5 * exact)


def test_curved_motion_is_learned_to_its_noise(data, trained):
    """The optimal reconstruction is E[Y | xi]: what is left is the noise, less what alignment removes."""
    t, x, w = data
    floor = NOISE_NM**2 * (15 - 6 - 1)
    assert 0.95 * floor < trained.loss < 1.25 * floor
    aligned = align(REFERENCE, x).reshape(len(x), -1)
    assert trained.fraction_of_variance < 0.6 * principal_residual(aligned, w, 1)
    xi = encode(trained.encoder, x)[:, 0]
    assert abs(np.corrcoef(np.argsort(np.argsort(xi)), np.argsort(np.argsort(t)))[0, 1]) > 0.99


def test_reported_losses_are_those_of_encoder_and_decoder(data, trained):
    """Folding of both normalisations is exact: positions to xi to positions gives the training's own loss."""
    _, x, w = data
    frames = prepare(x, w, REFERENCE, training=QUICK, seed=3)
    square = np.sum((trained.decode(encode(trained.encoder, x)) - align(REFERENCE, x)) ** 2, axis=(1, 2))
    held_out = frames.held_out
    assert np.average(square[held_out], weights=w[held_out]) == pytest.approx(trained.loss, rel=1e-4)
    train_loss = trained.train_losses[trained.best_restart]
    assert np.average(square[~held_out], weights=w[~held_out]) == pytest.approx(train_loss, rel=1e-4)


def test_every_encoder_has_zero_weighted_mean_and_unit_deviation(data, trained):
    _, x, w = data
    assert len(trained.restart_encoders) == QUICK.restarts
    for encoder in trained.restart_encoders:
        xi = encode(encoder, x)
        mean = np.average(xi, weights=w, axis=0)
        assert mean == pytest.approx(0, abs=1e-5)
        assert np.average((xi - mean) ** 2, weights=w, axis=0) == pytest.approx(1, abs=1e-5)


def test_best_weights_are_kept_and_the_best_restart_wins(trained):
    np.testing.assert_allclose(trained.losses, trained.validation_curves.min(axis=1), rtol=1e-12)
    assert trained.best_restart == np.argmin(trained.losses)
    assert trained.train_curves.shape == trained.validation_curves.shape == (2, trained.n_epochs)


def test_same_seed_same_arrays_other_seed_others(data, trained):
    _, x, w = data
    again = train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=QUICK, seed=3)
    other = train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=QUICK, seed=4)
    np.testing.assert_array_equal(again.validation_curves, trained.validation_curves)
    for a, b in zip(again.encoder.weights, trained.encoder.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(other.encoder.weights[0], trained.encoder.weights[0])


def test_frames_of_weight_zero_and_the_scale_of_weights_do_not_matter(data, trained):
    _, x, w = data
    nonsense = np.concatenate([x, np.full((500, 5, 3), 3.0), np.full((5, 5, 3), np.nan)])
    weights = 8 * np.concatenate([w, np.zeros(505)])
    again = train_autoencoder(
        FrameTable(nonsense, weights), REFERENCE, autoencoder=ONE, training=QUICK, seed=3
    )
    np.testing.assert_array_equal(again.losses, trained.losses)


def test_weights_decide_what_is_learned():
    """Two motions, one weighted a hundred times less: a single component must follow the heavy one."""
    rng = np.random.default_rng(5)
    modes = np.random.default_rng(8).standard_normal((2, 5, 3))
    which, s = np.repeat(rng.integers(0, 2, 400), 10), rng.uniform(-1, 1, 4000)
    x = REFERENCE + 0.03 * s[:, None, None] * modes[which]
    lost = {}
    for heavy in (0, 1):
        w = np.where(which == heavy, 1.0, 0.01)
        result = train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=QUICK, seed=1)
        aligned = align(REFERENCE, x)
        square = np.sum((result.decode(encode(result.encoder, x)) - aligned) ** 2, axis=(1, 2))
        lost[heavy] = [square[which == k].sum() / spread(aligned[which == k]) for k in (0, 1)]
    assert lost[0][0] < 0.02
    assert lost[1][1] < 0.02
    for heavy in (
        0,
        1,
    ):  # one bent curve may come near the light motion as well
        assert lost[heavy][1 - heavy] > max(0.03, 50 * lost[heavy][heavy])


def test_early_stopping_ends_a_training_that_only_learns_noise():
    rng = np.random.default_rng(0)
    x = REFERENCE + 0.01 * rng.standard_normal((120, 5, 3))
    settings = TrainingSettings(restarts=2, max_epochs=200, patience=5, learning_rate=0.01)
    result = train_autoencoder(
        FrameTable(x, np.ones(120)), REFERENCE, autoencoder=AutoencoderSettings(), training=settings, seed=1
    )
    assert result.n_epochs < 100
    assert np.all(result.train_losses < result.losses)


def test_restarts_agree_from_the_principal_start(data):
    """Latent spaces of independent restarts are one linear map away from each other."""
    _, x, w = data
    many = QUICK.model_copy(update={"restarts": 4})
    result = train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=many, seed=11)
    xi = np.array([encode(encoder, x)[:, 0] for encoder in result.restart_encoders])
    assert np.min(np.corrcoef(xi) ** 2) > 0.98
    assert result.losses.max() < 1.1 * result.losses.min()


def test_principal_start_begins_at_the_principal_components(data):
    _, x, w = data
    frames = prepare(x, w, REFERENCE, training=QUICK, seed=1)
    sample = frames.x().astype(float)
    shape = Shape(n_inputs=15, hidden=(40,), latent=2)
    (start,) = principal_starts(sample, shape, [np.random.default_rng(0)])
    network = Mirrored(start)
    with torch.no_grad():
        loss = float((network(torch.from_numpy(frames.x())) - torch.from_numpy(frames.x())).square().mean())
    assert loss < 1.1 * principal_residual(sample, np.ones(len(sample)), 2)


def test_leading_components_of_many_inputs_are_those_of_all(monkeypatch):
    """Lanczos against the whole decomposition, on coordinates that have nothing along (1, 1, ...)."""
    sample = np.random.default_rng(3).standard_normal((400, 60)) * np.linspace(3, 0.1, 60)
    sample -= sample.mean(axis=1, keepdims=True)
    shape = Shape(n_inputs=60, hidden=(8,), latent=3)
    exact = principal_starts(sample, shape, [np.random.default_rng(k) for k in range(2)])
    monkeypatch.setattr("aecv.models.networks.starts.MOST_EXACT", 59)
    found = principal_starts(sample, shape, [np.random.default_rng(k) for k in range(2)])
    for one, other in zip(exact, found, strict=True):
        for (w, b), (u, v) in zip(one, other, strict=True):
            np.testing.assert_allclose(w, u, atol=1e-9)
            np.testing.assert_allclose(b, v, atol=1e-9)


def test_large_tables_in_single_precision_and_parts_are_the_small_one(data, monkeypatch):
    """Alignment, mean and scale by parts of 100 frames, stored in float32: rounding of 1e-7 and no more."""
    _, x, w = data
    small = prepare(x, w, REFERENCE, training=QUICK, seed=1)
    for place in ("aecv.numerics.kernels.encoder", "aecv.models.training.training_data"):
        monkeypatch.setattr(f"{place}.MOST_NUMBERS", 1500)
    large = prepare(x, w, REFERENCE, training=QUICK, seed=1)
    assert (small.table.dtype, large.table.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(large.mean, small.mean, atol=1e-7)
    assert large.scale == pytest.approx(small.scale, rel=1e-6)
    np.testing.assert_allclose(large.x(), small.x(), atol=2e-6)
    x = x.copy()
    x[3123] = np.nan
    with pytest.raises(AlignmentError, match="frame 3123 "):
        align(REFERENCE, x)


def test_replicas_share_one_table(data):
    _, x, w = data
    halves = [np.arange(2000), np.arange(1000, 4000)]
    first, second = prepare_replicas(
        FrameTable(x, w), REFERENCE, replicas=halves, training=QUICK, seeds=[1, 2]
    )
    assert first.table is second.table
    assert rows_of([first, second], held_out=False).table.data_ptr() == first.table.ctypes.data


def wide(n_frames: int) -> np.ndarray:
    """Frames of 90 atoms: 270 inputs, more than the side of a matrix from which networks train one by one."""
    rng = np.random.default_rng(5)
    t = np.sin(np.arange(n_frames) / 30)[:, None, None]
    return (
        rng.standard_normal((90, 3))
        + t * rng.standard_normal((90, 3))
        + rng.standard_normal((n_frames, 90, 3))
    )


@pytest.mark.parametrize("n_threads", [2, 5])
def test_wide_networks_are_the_same_on_any_number_of_threads(n_threads):
    frames = FrameTable(wide(400), np.ones(400))
    quick = QUICK.model_copy(update={"restarts": 3, "max_epochs": 2})
    one, many = (
        train_autoencoder(frames, frames.positions[0], autoencoder=ONE, training=quick, seed=1, n_threads=n)
        for n in (1, n_threads)
    )
    np.testing.assert_array_equal(one.validation_curves, many.validation_curves)
    for ours, theirs in zip(one.restart_encoders, many.restart_encoders, strict=True):
        np.testing.assert_array_equal(ours.parameters, theirs.parameters)


def test_wide_replicas_are_trainings_of_their_own_frames():
    """One by one nothing rounds differently, so replicas of one size are bitwise what they are alone."""
    frames = FrameTable(wide(600), np.ones(600))
    quick = QUICK.model_copy(update={"max_epochs": 2})
    replicas, how = [np.arange(400), np.arange(200, 600)], {"autoencoder": ONE, "training": quick}
    found = train_replicas(frames, frames.positions[0], replicas=replicas, seeds=[1, 2], **how)
    for replica, seed, trained in zip(replicas, (1, 2), found, strict=True):
        alone = train_autoencoder(frames.at(replica), frames.positions[0], seed=seed, **how)
        np.testing.assert_array_equal(trained.losses, alone.losses)
        np.testing.assert_array_equal(trained.train_losses, alone.train_losses)


def test_cuda_is_refused_where_there_is_none(data, monkeypatch):
    _, x, w = data
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    asked = QUICK.model_copy(update={"device": "cuda"})
    with pytest.raises(TrainingError, match=r"training.device: cuda needs a CUDA GPU.*leave --device out"):
        train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=asked, seed=1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA GPU")
@pytest.mark.parametrize("n_atoms", [5, 90])
def test_a_gpu_learns_what_a_cpu_learns(n_atoms):
    """Other rounding, amplified by training: losses agree as those of two restarts do."""
    frames = FrameTable(wide(2000)[:, :n_atoms], np.ones(2000))
    on_cpu, on_gpu = (
        train_autoencoder(
            frames,
            frames.positions[0],
            autoencoder=ONE,
            training=QUICK.model_copy(update={"device": device}),
            seed=1,
        )
        for device in ("cpu", "cuda")
    )
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=0.02)
    assert on_gpu.validation_curves[:, 0] == pytest.approx(on_cpu.validation_curves[:, 0], rel=0.02)


def test_restarts_do_not_touch_each_other(data):
    """A diverging neighbour in the stack changes nothing."""
    _, x, w = data
    frames = prepare(x, w, REFERENCE, training=QUICK, seed=1)
    shape = Shape(n_inputs=15, hidden=(8,), latent=1)
    start = random_start(shape, np.random.default_rng(0))
    broken = [(np.full_like(a, np.nan), b) for a, b in start]
    healthy = fit(stacked([start, start]), [frames], QUICK, [np.random.default_rng(1)])
    beside = fit(stacked([start, broken]), [frames], QUICK, [np.random.default_rng(1)])
    assert beside.best[0] == healthy.best[0]
    assert np.isinf(beside.best[1])


def test_a_replica_of_all_frames_is_the_ordinary_training(data, trained):
    _, x, w = data
    (replica,) = train_replicas(
        FrameTable(x, w), REFERENCE, replicas=[np.arange(len(x))], autoencoder=ONE, training=QUICK, seeds=[3]
    )
    np.testing.assert_array_equal(replica.validation_curves, trained.validation_curves)
    np.testing.assert_array_equal(replica.encoder.weights[0], trained.encoder.weights[0])


def test_a_replica_of_half_the_frames_is_a_training_on_that_half(data):
    """Beside another one in the stack: products of another size round differently, training amplifies it."""
    _, x, w = data
    calm = QUICK.model_copy(update={"learning_rate": 0.005})
    halves = [np.arange(2000), np.arange(2000, 4000)]
    both = train_replicas(
        FrameTable(x, w), REFERENCE, replicas=halves, autoencoder=ONE, training=calm, seeds=[5, 6]
    )
    for half, seed, replica in zip(halves, (5, 6), both, strict=True):
        alone = train_autoencoder(
            FrameTable(x[half], w[half]), REFERENCE, autoencoder=ONE, training=calm, seed=seed
        )
        np.testing.assert_allclose(replica.losses, alone.losses, rtol=0.01)
        np.testing.assert_allclose(replica.train_curves[:, 0], alone.train_curves[:, 0], rtol=1e-3)
        assert replica.variance == alone.variance
        assert replica.n_validation == alone.n_validation
        same = np.corrcoef(encode(replica.encoder, x)[:, 0], encode(alone.encoder, x)[:, 0])[0, 1]
        assert same**2 > 0.999


def test_copies_of_a_frame_are_weight(data):
    """A frame that is there twice counts as one of twice the weight; one of weight zero as none."""
    _, x, w = data
    twice = prepare_replicas(
        FrameTable(x, w), REFERENCE, replicas=[np.repeat(np.arange(1000), 2)], training=QUICK, seeds=[1]
    )[0]
    once = prepare(x[:1000], 2 * w[:1000], REFERENCE, training=QUICK, seed=1)
    np.testing.assert_allclose(twice.mean, once.mean, rtol=1e-12)
    np.testing.assert_allclose(twice.scale, once.scale, rtol=1e-12)
    np.testing.assert_allclose(twice.weights[::2] + twice.weights[1::2], once.weights, rtol=1e-12)
    some = np.where(np.arange(4000) % 2 == 0, w, 0.0)
    half = prepare_replicas(
        FrameTable(x, some), REFERENCE, replicas=[np.arange(1000)], training=QUICK, seeds=[1]
    )[0]
    np.testing.assert_array_equal(
        half.x(), prepare(x[:1000:2], w[:1000:2], REFERENCE, training=QUICK, seed=1).x()
    )


def test_held_out_frames_of_every_set_have_the_loss_of_their_own_networks(data):
    """Sets of different sizes in one table: the filling counts nothing."""
    _, x, w = data
    parts = [np.arange(1000), np.arange(1000, 3500)]
    sets = prepare_replicas(FrameTable(x, w), REFERENCE, replicas=parts, training=QUICK, seeds=[1, 2])
    shape = Shape(n_inputs=15, hidden=(8,), latent=1)
    starts = [random_start(shape, np.random.default_rng(k)) for k in range(4)]
    losses = rows_of(sets, held_out=True).losses(stacked(starts))["total"]
    for k, frames in enumerate(sets):
        inputs = torch.from_numpy(frames.x()[frames.held_out])
        with torch.no_grad():
            outputs = torch.stack([Mirrored(start)(inputs) for start in starts[2 * k : 2 * k + 2]])
        squares = (outputs - inputs).square().mean(dim=2).double().numpy()
        expected = np.average(squares, weights=frames.weights[frames.held_out], axis=1)
        np.testing.assert_allclose(losses[2 * k : 2 * k + 2], expected, rtol=1e-6)


def test_blocks_are_resampled_whole_and_on_average_once():
    n_frames, n_blocks = 1003, 50
    block = np.arange(n_frames) * n_blocks // n_frames
    total = np.zeros(n_blocks)
    for seed in range(400):
        index = block_bootstrap(n_frames, n_blocks, np.random.default_rng(seed))
        copies = np.bincount(index, minlength=n_frames)
        for k in range(n_blocks):
            assert len(set(copies[block == k])) == 1
        assert np.all(np.diff(index) >= 0)
        drawn = copies[np.searchsorted(block, np.arange(n_blocks))]
        assert drawn.sum() == n_blocks
        total += drawn
    # Binomial(400 * 50, 1/50): mean 400, standard deviation 19.8
    assert np.abs(total - 400).max() < 4.5 * 19.8


def test_validation_blocks_are_contiguous_and_spread():
    held_out = validation_blocks(1000, 50, 0.2, np.random.default_rng(0))
    assert held_out.sum() == 200
    starts = np.flatnonzero(np.diff(held_out.astype(int)) == 1) + 1
    assert np.all(starts % 20 == 0)
    assert np.all(held_out.reshape(10, 100).sum(axis=1) == 20)


def test_systematic_resampling_repeats_frames_as_often_as_their_weights_say():
    w = np.random.default_rng(0).exponential(size=50)
    drawn = np.bincount(systematic_resample(np.cumsum(w), 5000, np.random.default_rng(1)), minlength=50)
    assert np.all(np.abs(drawn - 5000 * w / w.sum()) < 1)
    every = systematic_resample(np.cumsum(np.ones(64)), 64, np.random.default_rng(2))
    np.testing.assert_array_equal(np.sort(every), np.arange(64))


def test_number_of_threads_is_restored(data):
    _, x, w = data
    torch.set_num_threads(2)
    short = QUICK.model_copy(update={"max_epochs": 1})
    seen = []
    train_autoencoder(
        FrameTable(x, w),
        REFERENCE,
        autoencoder=ONE,
        training=short,
        seed=1,
        on_epoch=lambda: seen.append(torch.get_num_threads()),
    )
    assert seen == [1]
    assert torch.get_num_threads() == 2


def test_bad_input_says_what_is_needed(data):
    _, x, w = data

    def attempt(x, w, **changes):
        settings = QUICK.model_copy(update=changes)
        return train_autoencoder(FrameTable(x, w), REFERENCE, autoencoder=ONE, training=settings, seed=1)

    damaged = x.copy()
    damaged[7, 2, 1] = np.nan
    with pytest.raises(TrainingError, match=r"finite, got NaN or infinity in 1 of 4000"):
        attempt(damaged, w)
    with pytest.raises(TrainingError, match=r">= 100 frames with positive weight, got 99"):
        attempt(x, np.where(np.arange(len(w)) < 99, w, 0))
    with pytest.raises(TrainingError, match="not negative"):
        attempt(x, -w)
    with pytest.raises(TrainingError, match=r"coordinates \(F, 5, 3\)"):
        attempt(x[:, :4], w)
    with pytest.raises(TrainingError, match="need to vary"):
        attempt(np.repeat(x[:1], 200, axis=0), np.ones(200))
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        attempt(x, w, learning_rate=1e30)


def test_alanine_dipeptide_beats_principal_components(shared_data):
    """Both basins of alanine dipeptide: 5000 frames at many temperatures, the 8 atoms of the backbone."""
    folder = shared_data / "ala2_vacuum_amber99sbildn" / "multithermal-deeptica"
    trajectory = mdtraj.load(str(folder / "alanine.xtc"), top=str(folder / "alanine.gro"))
    atoms = trajectory.topology.select("mass > 2 and not name O")
    x = trajectory.xyz[:, atoms].astype(float)
    settings = TrainingSettings(restarts=2, max_epochs=10)
    result = train_autoencoder(
        FrameTable(x, np.ones(len(x))), x[0], autoencoder=AutoencoderSettings(), training=settings, seed=1
    )
    residual = principal_residual(align(x[0], x).reshape(len(x), -1), np.ones(len(x)), 2)
    assert result.fraction_of_variance < 0.75 * residual
