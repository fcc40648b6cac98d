"""Superposition in torch: values against SVD, gradients against autograd and finite differences."""

import numpy as np
import pytest
import torch

from aecv.models.inputs.alignment import align
from aecv.numerics.kernels.encoder import align as align_arrays

N_ATOMS = 8


@pytest.fixture(scope="module")
def reference() -> torch.Tensor:
    reference = torch.randn(N_ATOMS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return reference - reference.mean(dim=0)


@pytest.fixture(scope="module")
def positions(reference: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(1000, N_ATOMS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return reference + 0.3 * noise + torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)


def align_by_svd(positions: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Kabsch's rotation, differentiated through the SVD."""
    centred = positions - positions.mean(dim=1, keepdim=True)
    u, _, v = torch.linalg.svd(centred.transpose(1, 2) @ reference)
    signs = torch.ones(len(positions), 3, dtype=positions.dtype)
    signs[:, 2] = torch.sign(torch.det(u @ v)).detach()
    return centred @ ((u * signs[:, None, :]) @ v)


def gradient_of(function, positions: torch.Tensor) -> torch.Tensor:
    """Gradient of a scalar that depends on every aligned coordinate in its own, nonlinear way."""
    probe = torch.randn(N_ATOMS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    leaf = positions.clone().requires_grad_()
    return torch.autograd.grad(torch.tanh(function(leaf) * probe).sum(), leaf)[0]


class Module(torch.nn.Module):
    def __init__(self, reference: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("reference", reference)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return align(positions, self.reference)


def test_values_are_those_of_svd_and_of_the_compiled_kernel(positions, reference):
    aligned = align(positions, reference)
    torch.testing.assert_close(aligned, align_by_svd(positions, reference), rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        aligned, align_arrays(reference.numpy(), positions.numpy()), rtol=0, atol=1e-13
    )


def test_gradient_is_that_of_autograd_through_svd(positions, reference):
    ours = gradient_of(lambda q: align(q, reference), positions)
    theirs = gradient_of(lambda q: align_by_svd(q, reference), positions)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-11 * float(theirs.abs().max()))


def test_gradient_is_that_of_finite_differences(positions, reference):
    assert torch.autograd.gradcheck(
        lambda q: align(q, reference), (positions[:3].clone().requires_grad_(),), eps=1e-6, atol=1e-7
    )


def test_gradient_neither_translates_nor_rotates(positions, reference):
    """Aligned coordinates do not change under rigid motion: no net force, no net torque."""
    gradient = gradient_of(lambda q: align(q, reference), positions)
    assert gradient.sum(dim=1).abs().max() < 1e-12
    assert torch.linalg.cross(positions, gradient).sum(dim=1).abs().max() < 1e-12


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "compile_module",
    [
        torch.jit.script,
        lambda module: torch.jit.freeze(torch.jit.script(module)),
        lambda module: torch.jit.optimize_for_inference(torch.jit.script(module)),
    ],
    ids=["script", "freeze", "optimize_for_inference"],
)
def test_gradient_survives_torchscript_in_every_call(positions, reference, compile_module):
    """The profiling executor recompiles after the first calls; a merged expression once lost the gradient."""
    module = compile_module(Module(reference).eval())
    expected = gradient_of(lambda q: align(q, reference), positions)
    for _ in range(4):
        torch.testing.assert_close(gradient_of(module, positions), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", ["zero", "point", "line"])
def test_degenerate_input_gives_finite_values_and_gradients(reference, shape):
    positions = torch.zeros(2, N_ATOMS, 3, dtype=torch.float64)
    if shape == "point":
        positions = positions + 1.7
    if shape == "line":
        positions[:, :, 0] = torch.arange(N_ATOMS)
    gradient = gradient_of(lambda q: align(q, reference), positions)
    assert torch.isfinite(gradient).all()
    assert torch.isfinite(align(positions, reference)).all()
    if shape != "line":
        assert align(positions, reference).abs().max() < 1e-14


def test_mirror_image_is_not_reached_by_a_rotation(positions, reference):
    mirrored = positions * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    before = (align(positions, reference) - reference).square().sum(dim=(1, 2))
    after = (align(mirrored, reference) - reference).square().sum(dim=(1, 2))
    assert (after > before).float().mean() > 0.95
