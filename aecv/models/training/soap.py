"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, on stacks of matrices.

For a matrix of parameters W with gradient G; Q_L, Q_R: eigenvectors of running averages of G G^T and G^T G:

    G' = Q_L^T G Q_R;  M' <- beta M' + (1 - beta) G';  V <- beta V + (1 - beta) G'^2
    W <- W - rate Q_L [M'/(1 - beta^t)] / [sqrt(V/(1 - beta^t)) + eps] Q_R^T

The loss of an autoencoder with a narrow bottleneck has long bent valleys. Adam, which scales single numbers,
creeps along them; in this basis the scales are those of directions. torch.optim has no such optimiser, and
packages that have take one matrix at a time: here the same layer of R networks is one stack (R, n, m), and
no network touches another.

Unlike the source: biases are rows of the matrices; eigenvectors keep the order that orthogonal iteration
gives them (it puts the largest first), so that the squares are never permuted; no weight decay.

Source: Vyas et al., SOAP: Improving and Stabilizing Shampoo using Adam, ICLR 2025, arXiv:2409.11321.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

BETA = 0.95
"""Of all running averages."""
EVERY = 20
"""Steps between two updates of the eigenvectors, each one step of orthogonal iteration; every 10 steps, as in
the source, are no better here, every 50 slightly worse."""
LONGEST_SIDE = 256
"""A longer side of a matrix, the row of biases included, keeps its own basis: its eigenvectors would cost
more than they save."""
EPSILON = 1e-8


class Soap:
    """The optimiser's state for some stacks of matrices.

    Args:
        parameters: stacks, shape (R, n, m); changed in place by `step`.
    """

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self._stacks = [_Stack(parameter) for parameter in parameters]
        self._n_steps = -1

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        """One step down the gradients; the first call only finds the basis.

        Args:
            gradients: of the loss, shapes of the parameters.
            rate: learning rate of Adam.
        """
        self._n_steps += 1
        for stack, gradient in zip(self._stacks, gradients, strict=True):
            if self._n_steps == 0:
                stack.begin(gradient)
                continue
            stack.move(gradient, rate, correction=1.0 - BETA**self._n_steps)
            if self._n_steps % EVERY == 0:
                stack.turn()


class _Stack:
    """One stack of matrices with its averages, which are kept in the present basis."""

    def __init__(self, parameter: Tensor) -> None:
        self._parameter = parameter
        self._mean, self._square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        self._left, self._right = _Side(parameter.shape[1]), _Side(parameter.shape[2])

    def begin(self, gradient: Tensor) -> None:
        self._left.begin(gradient)
        self._right.begin(gradient.mT)

    def move(self, gradient: Tensor, rate: float, *, correction: float) -> None:
        turned = self._right.into(self._left.into(gradient).mT).mT
        self._mean.lerp_(turned, 1.0 - BETA)
        self._square.mul_(BETA).addcmul_(turned, turned, value=1.0 - BETA)
        scale = (self._square / correction).sqrt_().add_(EPSILON)
        change = self._right.out_of(self._left.out_of(self._mean / scale).mT).mT
        self._parameter.sub_(change, alpha=rate / correction)
        self._left.add(gradient)
        self._right.add(gradient.mT)

    def turn(self) -> None:
        """New eigenvectors; the mean moves with them, the squares stay, as in the source."""
        mean = self._right.out_of(self._left.out_of(self._mean).mT).mT
        self._left.turn()
        self._right.turn()
        self._mean = self._right.into(self._left.into(mean).mT).mT


class _Side:
    """Running average of G G^T and its eigenvectors; nothing where G has one row."""

    def __init__(self, n: int) -> None:
        self._is_turned = 1 < n <= LONGEST_SIDE
        self._average = self._basis = torch.empty(0)

    def begin(self, gradient: Tensor) -> None:
        if self._is_turned:
            self._average = gradient @ gradient.mT
            self._basis = torch.linalg.eigh(_finite(self._average))[1].flip(-1)

    def add(self, gradient: Tensor) -> None:
        if self._is_turned:
            self._average.baddbmm_(gradient, gradient.mT, beta=BETA, alpha=1.0 - BETA)

    def turn(self) -> None:
        if self._is_turned:
            self._basis = torch.linalg.qr(_finite(self._average @ self._basis))[0]

    def into(self, values: Tensor) -> Tensor:
        return self._basis.mT @ values if self._is_turned else values

    def out_of(self, values: Tensor) -> Tensor:
        return self._basis @ values if self._is_turned else values


def _finite(matrices: Tensor) -> Tensor:
    """A network that diverged must not stop the decomposition of the others'."""
    return torch.nan_to_num(matrices, nan=0.0, posinf=0.0, neginf=0.0)
