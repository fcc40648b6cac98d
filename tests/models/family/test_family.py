"""The contract of all kinds of models: gradients, restarts, weights, exact answers, and what is exported.

A kind of the family is held against it by its name alone. Three that are made up here need what none has yet:
noise, a later frame, a column, a term of their own.
"""

import numpy as np
import pytest
import torch

from aecv.ground.errors import TrainingError
from aecv.ground.settings import AutoencoderSettings, TrainingSettings
from aecv.models.cvs.cv_files import export_cv, load_cv
from aecv.models.cvs.torchscript import evaluate, read_module
from aecv.models.family import model_of, stack_of
from aecv.models.inputs.frame_table import FrameTable
from aecv.models.networks.model import Batch, Model, Needs
from aecv.models.networks.squared_error import SquaredError
from aecv.models.networks.tanh_stack import TanhStack
from aecv.models.networks.vmap_stack import VmapStack
from aecv.models.training import train as training
from aecv.models.training.optimisation import fit, one_thread
from aecv.models.training.train import train_autoencoder
from aecv.models.training.training_data import prepare_replicas
from aecv.numerics.kernels.encoder import align, encode

N_INPUTS, N_FRAMES, N_STACKED = 15, 1200, 3
QUICK = TrainingSettings(restarts=2, max_epochs=4, patience=9, validation_blocks=20)
REFERENCE = np.array([[0.0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0], [0.35, 0.15, 0.05], [0.4, 0.25, 0.15]])


class Denoising(SquaredError):
    """Another input, by the fast gradient."""

    n_noise = N_INPUTS

    def pair(self, batch):
        return batch.x + 0.1 * batch.noise, batch.x


class Lagged(SquaredError):
    """Another target, by the fast gradient."""

    needs = Needs(lag_ps=2.0)

    def pair(self, batch):
        return batch.x, batch.later


class Tied(SquaredError):
    """A term of its own, by autograd: noise in the bottleneck, and a component that follows a column."""

    needs = Needs(lag_ps=2.0, columns=("label",))
    n_noise = 2

    def losses(self, network, batch):
        z = network.encoder(batch.x)
        square = (network.decoder(z + 0.1 * batch.noise) - batch.later).square().sum(dim=-1)
        tie = batch.mean((z[:, 0] - batch.columns["label"][:, 0]).nan_to_num().square())
        error = batch.mean(square)
        return {"total": error + 0.5 * tie, "reconstruction": error, "tie": tie}


MADE_UP = {"denoising": Denoising, "lagged": Lagged, "tied": Tied}
KINDS = [*AutoencoderSettings.models(), *MADE_UP]


def make(kind: str, **options) -> Model:
    settings = AutoencoderSettings(hidden=(12,), latent=2)
    if kind in MADE_UP:
        return MADE_UP[kind](settings, N_INPUTS, **options)
    return model_of(settings.model_copy(update={"model": kind}), N_INPUTS, **options)


def batch(model: Model, dtype=torch.float64, n_stacked=N_STACKED, n=40) -> Batch:
    """Numbers of every kind that the model needs, other ones for each network."""
    torch.manual_seed(4)

    def numbers(*shape):
        return torch.randn((n_stacked, n, *shape), dtype=torch.float64).to(dtype)

    return Batch(
        x=numbers(N_INPUTS),
        later=numbers(N_INPUTS) if model.needs.lag_ps else None,
        columns={name: numbers(1) for name in model.needs.columns},
        noise=numbers(model.n_noise) if model.n_noise else None,
    )


def networks(model: Model, n: int = N_STACKED, dtype=torch.float64) -> list[torch.nn.Module]:
    start = batch(model, n_stacked=1, n=300)
    one = Batch(
        x=start.x[0],
        later=None if start.later is None else start.later[0],
        columns={name: own[0] for name, own in start.columns.items()},
    )
    return [own.to(dtype) for own in model.networks(one, [np.random.default_rng(k) for k in range(n)])]


def part(whole: Batch, k: int) -> Batch:
    fields = {name: getattr(whole, name) for name in ("x", "weights", "later", "noise")}
    return Batch(
        **{name: None if own is None else own[k : k + 1] for name, own in fields.items()},
        columns={name: own[k : k + 1] for name, own in whole.columns.items()},
    )


def frames(model: Model, n_nonsense: int = 0) -> FrameTable:
    """Two walkers of a slow bent motion, 1 ps apart, and frames of weight zero among nothing."""
    rng, modes = np.random.default_rng(0), np.random.default_rng(7).standard_normal((2, 5, 3))
    t = np.sin(0.05 * np.arange(N_FRAMES))[:, None, None]
    x = REFERENCE + 0.04 * (t * modes[0] + t**2 * modes[1]) + 0.01 * rng.standard_normal((N_FRAMES, 5, 3))
    table = FrameTable(
        x,
        np.exp(t[:, 0, 0]),
        series=np.repeat([0, 1], N_FRAMES // 2),
        time_ps=np.tile(np.arange(N_FRAMES / 2), 2),
        columns={name: t[:, 0] for name in model.needs.columns},
    )
    return table.with_more(rng.normal(size=(n_nonsense, 5, 3)), np.zeros(n_nonsense)) if n_nonsense else table


def trained_with(model: Model, table: FrameTable, seed: int = 3):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "model_of", lambda settings, n: model)
        settings = AutoencoderSettings(hidden=(12,), latent=2)
        return train_autoencoder(table, REFERENCE, autoencoder=settings, training=QUICK, seed=seed)


@pytest.fixture(scope="module", params=KINDS)
def model(request) -> Model:
    return make(request.param)


@pytest.fixture(scope="module")
def trained(model):
    return trained_with(model, frames(model))


@pytest.mark.parametrize("stacked", [stack_of, VmapStack])
def test_the_gradient_is_that_of_finite_differences(model, stacked):
    """Along a random direction of every matrix, central, in float64."""
    stack, own, h = stacked(model, networks(model)), batch(model), 1e-5
    _, gradients = stack.losses_and_gradients(own)
    for parameter, gradient in zip(stack.parameters, gradients, strict=True):
        assert parameter.ndim == gradient.ndim == 3
        direction = torch.randn(parameter.shape, dtype=torch.float64)
        values = []
        for step in (h, -2 * h):
            parameter.add_(direction, alpha=step)
            values.append(stack.losses_and_gradients(own)[0])
        parameter.add_(direction, alpha=h)
        expected = (values[0] - values[1]) / (2 * h)
        torch.testing.assert_close((gradient * direction).sum(dim=(1, 2)), expected, rtol=1e-6, atol=1e-7)


def test_both_stacks_are_one_model(model):
    """Losses, gradients and weighted terms; where the fast gradient does not apply, of the model itself."""
    fast, general, own = stack_of(model, networks(model)), VmapStack(model, networks(model)), batch(model)
    (one, gradients), (other, expected) = fast.losses_and_gradients(own), general.losses_and_gradients(own)
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    for a, b in zip(gradients, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    weighted = Batch(**{**vars(own), "weights": torch.rand(own.x.shape[:2], dtype=torch.float64)})
    terms, same = fast.losses(weighted), general.losses(weighted)
    assert terms.keys() == same.keys()
    assert {"total", "reconstruction"} <= terms.keys()
    for name in terms:
        torch.testing.assert_close(terms[name], same[name], rtol=1e-12, atol=0)


@pytest.mark.parametrize("stacked", [stack_of, VmapStack])
def test_a_data_set_that_is_filled_up_has_no_loss_there(model, stacked):
    """Replicas' data sets are filled up with frames of weight zero: a chunk may hold nothing else."""
    own = batch(model)
    weights = torch.ones(own.x.shape[:2], dtype=torch.float64)
    weights[0] = 0.0
    terms = stacked(model, networks(model)).losses(Batch(**{**vars(own), "weights": weights}))
    assert terms["total"][0] == terms["reconstruction"][0] == 0
    assert (terms["total"][1:] > 0).all()


@pytest.mark.parametrize("stacked", [stack_of, VmapStack])
def test_networks_side_by_side_are_each_alone(model, stacked):
    several, own = networks(model), batch(model)
    losses, gradients = stacked(model, several).losses_and_gradients(own)
    for k, network in enumerate(several):
        loss, gradient = stacked(model, [network]).losses_and_gradients(part(own, k))
        torch.testing.assert_close(losses[k : k + 1], loss, rtol=1e-12, atol=0)
        for a, b in zip(gradients, gradient, strict=True):
            torch.testing.assert_close(a[k : k + 1], b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("stacked", [stack_of, VmapStack])
def test_a_network_of_the_stack_is_a_copy_with_its_numbers(model, stacked):
    """Steps of the optimiser reach it, later ones do not."""
    stack, several = stacked(model, networks(model)), networks(model)
    for parameter in stack.parameters:
        parameter[1].mul_(2.0)
    copy = stack.network(1)
    for parameter in stack.parameters:
        parameter.zero_()
    for a, b in zip(copy.parameters(), several[1].parameters(), strict=True):
        torch.testing.assert_close(a, 2.0 * b, rtol=0, atol=0)


def test_same_seed_same_arrays(model, trained):
    again, other = trained_with(model, frames(model)), trained_with(model, frames(model), seed=4)
    np.testing.assert_array_equal(again.validation_curves, trained.validation_curves)
    for a, b in zip(again.encoder.weights, trained.encoder.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(other.encoder.weights[0], trained.encoder.weights[0])


def test_frames_of_weight_zero_do_not_matter(model, trained):
    again = trained_with(model, frames(model, n_nonsense=50))
    np.testing.assert_array_equal(again.validation_curves, trained.validation_curves)


def principal_residual(x: np.ndarray, weights: np.ndarray, latent: int) -> float:
    """Variance outside the leading components, over all: the least that a linear autoencoder leaves."""
    values = np.linalg.eigvalsh(np.cov(x.T, aweights=weights, ddof=0))
    return float(values[:-latent].sum() / values.sum())


EXACT = {"ae": principal_residual}
"""Per kind what its linear setting comes to, in units of the variance."""


@pytest.mark.parametrize("kind", AutoencoderSettings.models())
@pytest.mark.parametrize("stacked", [stack_of, VmapStack])
def test_a_linear_one_reaches_its_closed_form(kind, stacked):
    if kind not in EXACT:
        pytest.skip(f"say what a linear {kind} comes to, in EXACT")
    model = make(kind, activation="linear")
    settings = QUICK.model_copy(update={"max_epochs": 10, "patience": 10})
    table = frames(model)
    everything = [np.arange(N_FRAMES)]
    (data,) = prepare_replicas(
        table, REFERENCE, replicas=everything, training=settings, seeds=[1], needs=model.needs
    )
    stack = stacked(model, networks(model, 2, torch.float32))
    with one_thread():
        result = fit(stack, [data], settings, [np.random.default_rng(0)])
    seen = ~data.held_out
    exact = EXACT[kind](data.x()[seen].astype(float), data.weights[seen], 2)
    expected = exact * np.average(
        np.mean(data.x()[seen].astype(float) ** 2, axis=1), weights=data.weights[seen]
    )
    assert result.train[:, -1] == pytest.approx(expected, rel=0.01)


def test_the_encoder_is_the_same_in_every_form(trained, tmp_path):
    """cv.pt, cv.npz and the compiled kernel, called twice: a CV has no noise."""
    table = frames(make("ae"))
    xi = encode(trained.encoder, table.positions)
    np.testing.assert_array_equal(encode(trained.encoder, table.positions), xi)
    limits = np.stack([xi.min(axis=0), xi.max(axis=0)], axis=1)
    export_cv(
        trained.encoder, tmp_path, atom_indices=np.arange(5), cv_range=limits, system="x", system_hash="y"
    )
    np.testing.assert_allclose(load_cv(tmp_path)(table.positions), xi, rtol=0, atol=1e-8)
    module, _ = read_module(tmp_path / "cv.pt")
    np.testing.assert_allclose(evaluate(module, table.positions), xi, rtol=0, atol=1e-8)


def test_decoding_what_was_encoded_gives_the_reported_loss(model, trained):
    """Of the frame a lag later where the model predicts it; noise in the loss can only add to it."""
    table = frames(model)
    (data,) = prepare_replicas(
        table, REFERENCE, replicas=[np.arange(N_FRAMES)], training=QUICK, seeds=[3], needs=model.needs
    )
    y = align(REFERENCE, table.positions)
    later = table.lagged(model.needs.lag_ps) if model.needs.lag_ps else table.index
    rows = np.flatnonzero(later >= 0)[data.held_out]
    square = np.sum(
        (trained.decode(encode(trained.encoder, table.positions[rows])) - y[later[rows]]) ** 2, (1, 2)
    )
    found = np.average(square, weights=table.weights[rows])
    if model.n_noise:
        assert 0.5 * trained.loss < found < 1.02 * trained.loss
    else:
        assert found == pytest.approx(trained.loss, rel=1e-4)


def test_what_a_model_needs_and_frames_lack_is_refused_in_words(model):
    table = frames(model)
    bare = FrameTable(table.positions, table.weights)
    if model.needs.columns:
        with pytest.raises(
            TrainingError, match=f"needs the column '{model.needs.columns[0]}'.* there is none"
        ):
            trained_with(model, bare)
    elif model.needs.lag_ps:
        with pytest.raises(
            TrainingError, match=r"pairs of frames \S+ ps apart .*no times of unbiased dynamics are known"
        ):
            trained_with(model, bare)
    else:
        assert np.isfinite(trained_with(model, bare).loss)


def test_a_squared_error_takes_the_fast_gradient_and_a_term_of_its_own_does_not():
    for kind, expected in {
        "ae": TanhStack,
        "denoising": TanhStack,
        "lagged": TanhStack,
        "tied": VmapStack,
    }.items():
        model = make(kind)
        assert type(stack_of(model, networks(model))) is expected


def test_terms_are_reported_beside_the_total():
    found = trained_with(make("tied"), frames(make("tied"))).terms
    np.testing.assert_allclose(found["total"], found["reconstruction"] + 0.5 * found["tie"], rtol=1e-6)


def test_an_unknown_kind_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match="needs one of ae"):
        AutoencoderSettings(model="aee")
