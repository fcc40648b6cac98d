"""SOAP and the written-out gradient of stacked autoencoders, against autograd and against exact minima."""

import numpy as np
import pytest
import torch

from aecv.models.networks.layers import Mirrored, Shape
from aecv.models.networks.model import Batch
from aecv.models.networks.tanh_stack import TanhStack
from aecv.models.training.soap import BETA, LONGEST_SIDE, Soap
from tests.models.random_start import random_start


def stacked(hidden: tuple[int, ...], latent: int, activation="tanh") -> TanhStack:
    shape = Shape(n_inputs=12, hidden=hidden, latent=latent)
    starts = [random_start(shape, np.random.default_rng(k)) for k in range(3)]
    networks = [Mirrored(start, activation=activation) for start in starts]
    return TanhStack(networks, lambda batch: (batch.x, batch.x))


@pytest.mark.parametrize(
    ("hidden", "latent", "activation"),
    [((20,), 2, "tanh"), ((5, 9), 1, "tanh"), ((30, 9), 3, "tanh"), ((), 2, "tanh"), ((20,), 10, "linear")],
)
def test_gradient_is_that_of_autograd(hidden, latent, activation):
    network = stacked(hidden, latent, activation)
    x = torch.from_numpy(np.random.default_rng(9).standard_normal((3, 50, 12)).astype(np.float32))
    losses, gradients = network.losses_and_gradients(Batch(x=x))
    for parameter in network.parameters:
        parameter.requires_grad_()
    hidden_values = x
    for layer, parameter in enumerate(network.parameters):
        hidden_values = hidden_values @ parameter[:, :-1] + parameter[:, -1:]
        if activation == "tanh" and layer not in (len(hidden), len(network.parameters) - 1):
            hidden_values = torch.tanh(hidden_values)
    expected = (hidden_values - x).square().sum(dim=2).mean(dim=1)
    torch.testing.assert_close(losses, expected.detach(), rtol=1e-5, atol=0)
    expected.sum().backward()
    for parameter, gradient in zip(network.parameters, gradients, strict=True):
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-5 * scale)


def descend(turn: bool, n_steps: int = 400) -> float:
    """tr[(W - W*)^T A (W - W*) B] at the end over that at the start; A and B are ill-conditioned."""
    rng = np.random.default_rng(1)
    n, m = (30, 20) if turn else (LONGEST_SIDE + 1, LONGEST_SIDE + 2)
    n_small, m_small = 30, 20

    def curvature(size: int, small: int) -> torch.Tensor:
        q, _ = np.linalg.qr(rng.standard_normal((small, small)))
        a = np.eye(size)
        a[:small, :small] = q @ np.diag(np.logspace(-3, 0, small)) @ q.T
        return torch.tensor(a, dtype=torch.float32)

    a, b = curvature(n, n_small), curvature(m, m_small)
    parameter, target = torch.zeros(1, n, m), torch.zeros(1, n, m)
    target[:, :n_small, :m_small] = torch.tensor(rng.standard_normal((1, n_small, m_small)))

    def loss() -> float:
        difference = parameter - target
        return float((difference * (a @ difference @ b)).sum() / 2)

    start, optimiser = loss(), Soap([parameter])
    for step in range(n_steps):
        rate = 0.05 * (1 - step / n_steps)
        optimiser.step([a @ (parameter - target) @ b], rate)
    return loss() / start


def test_the_eigenbasis_is_what_helps_in_a_bent_valley():
    """The same problem with sides short enough to be turned, and padded to sides that are not (Adam)."""
    turned, padded = descend(turn=True), descend(turn=False)
    assert turned < 1e-5
    assert padded > 20 * turned


def gradients(shape: tuple[int, ...], n: int) -> list[torch.Tensor]:
    rng = np.random.default_rng(4)
    return [torch.tensor(rng.standard_normal(shape) + 0.3, dtype=torch.float64) for _ in range(n)]


@pytest.mark.parametrize("shape", [(2, 1, 1), (1, LONGEST_SIDE + 1, LONGEST_SIDE + 5)])
def test_without_a_basis_it_is_adam(shape):
    """Sides of one, and those that are too long; the first call only looks at the gradient."""
    ours, theirs = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
    optimiser = Soap([ours])
    adam = torch.optim.Adam([theirs.requires_grad_()], lr=0.01, betas=(BETA, BETA), eps=1e-8)
    for step, gradient in enumerate(gradients(shape, 46)):
        optimiser.step([gradient], 0.01)
        if step > 0:
            theirs.grad = gradient.clone()
            adam.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-12)


def test_it_is_the_algorithm_of_the_source():
    """The mean kept in the space of the parameters and turned in every step, as the paper writes it."""
    (weights, *_), every = gradients((5, 5), 1), 20
    stack = weights[None].clone()
    optimiser = Soap([stack])
    mean = square = torch.zeros(5, 5, dtype=torch.float64)
    for t, gradient in enumerate(gradients((5, 5), 46)):
        optimiser.step([gradient[None]], 0.01)
        if t == 0:
            left, right = gradient @ gradient.T, gradient.T @ gradient
            q_left = torch.linalg.eigh(left)[1].flip(-1)
            q_right = torch.linalg.eigh(right)[1].flip(-1)
            continue
        mean = BETA * mean + (1 - BETA) * gradient
        turned = q_left.T @ gradient @ q_right
        square = BETA * square + (1 - BETA) * turned**2
        correction = 1 - BETA**t
        scaled = (q_left.T @ mean @ q_right / correction) / ((square / correction).sqrt() + 1e-8)
        weights = weights - 0.01 * q_left @ scaled @ q_right.T
        left = BETA * left + (1 - BETA) * gradient @ gradient.T
        right = BETA * right + (1 - BETA) * gradient.T @ gradient
        if t % every == 0:
            q_left, q_right = torch.linalg.qr(left @ q_left)[0], torch.linalg.qr(right @ q_right)[0]
        torch.testing.assert_close(stack[0], weights, rtol=1e-9, atol=1e-12)


def test_one_stack_does_not_touch_another():
    """Also where one of them is NaN: its decomposition must not stop the others'."""
    rng = np.random.default_rng(3)
    start = torch.tensor(rng.standard_normal((2, 6, 4)), dtype=torch.float32)
    both, alone = start.clone(), start[:1].clone()
    first, second = Soap([both]), Soap([alone])
    for _ in range(50):
        gradient = both - 1.0
        gradient[1] = float("nan")
        first.step([gradient], 0.01)
        second.step([alone - 1.0], 0.01)
    torch.testing.assert_close(both[:1], alone, rtol=1e-5, atol=1e-6)
    assert torch.isnan(both[1]).all()
    assert (alone - 1.0).abs().mean() < 0.9 * (start[:1] - 1.0).abs().mean()
