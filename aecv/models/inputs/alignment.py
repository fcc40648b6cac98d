"""Optimal superposition in torch, differentiable without differentiating an eigen-solve, TorchScript-ready.

Two rules keep the gradient alive in TorchScript: no detach() (`torch.jit.freeze` turns x - x.detach() into
zero), and no expression written both inside and outside of no_grad (the common-subexpression pass merges
the two, and the gradient of the outer one silently vanishes).
"""

import torch
from torch import Tensor


def quaternion_matrix(correlation: Tensor) -> Tensor:
    """The symmetric 4x4 matrix whose largest eigenvector is the optimal rotation's quaternion.

    Args:
        correlation: S_ab = sum_i q_ia r_ib [nm^2], shape (B, 3, 3).

    Returns:
        shape (B, 4, 4) [nm^2].

    Source: Horn, J. Opt. Soc. Am. A 4, 629 (1987), doi:10.1364/JOSAA.4.000629.
    """
    xx, xy, xz = correlation[:, 0, 0], correlation[:, 0, 1], correlation[:, 0, 2]
    yx, yy, yz = correlation[:, 1, 0], correlation[:, 1, 1], correlation[:, 1, 2]
    zx, zy, zz = correlation[:, 2, 0], correlation[:, 2, 1], correlation[:, 2, 2]
    rows = [
        torch.stack([xx + yy + zz, yz - zy, zx - xz, xy - yx], dim=1),
        torch.stack([yz - zy, xx - yy - zz, xy + yx, zx + xz], dim=1),
        torch.stack([zx - xz, xy + yx, yy - xx - zz, yz + zy], dim=1),
        torch.stack([xy - yx, zx + xz, yz + zy, zz - xx - yy], dim=1),
    ]
    return torch.stack(rows, dim=1)


def rotation_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices, shape (B, 3, 3), of unit quaternions (w, x, y, z), shape (B, 4)."""
    w, x, y, z = quaternion[:, 0], quaternion[:, 1], quaternion[:, 2], quaternion[:, 3]
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1),
    ]
    return torch.stack(rows, dim=1)


def inverse_symmetric(matrix: Tensor) -> Tensor:
    """Inverse of symmetric positive 3x3 matrices by the adjugate; zero where the matrix is singular.

    A matrix counts as singular when det <= 1e-12 (tr/3)^3, so that the all-zero input gives zeros.

    Args:
        matrix: shape (B, 3, 3).

    Returns:
        shape (B, 3, 3).
    """
    first, second, third = matrix[:, 0], matrix[:, 1], matrix[:, 2]
    cofactors = torch.stack(
        [
            torch.linalg.cross(second, third),
            torch.linalg.cross(third, first),
            torch.linalg.cross(first, second),
        ],
        dim=1,
    )
    determinant = (first * cofactors[:, 0]).sum(dim=1)
    scale = (first[:, 0] + second[:, 1] + third[:, 2]) / 3
    regular = determinant > 1e-12 * scale * scale * scale
    safe = torch.where(regular, determinant, torch.ones_like(determinant))
    factor = torch.where(regular, 1 / safe, torch.zeros_like(safe))
    return cofactors * factor[:, None, None]


def align(positions: Tensor, reference: Tensor) -> Tensor:
    """Positions moved and turned onto a reference by the optimal proper rotation.

    y_i = R (q_i - c), with R the rotation that minimises sum_i |y_i - r_i|^2. R is computed without
    gradient; one differentiable Newton step of the rotation follows,

        y'_i = y_i + theta x y_i,  theta = M^-1 sum_i y_i x r_i,  M = tr(B) I - B,  B = sum_i y_i r_i^T,

    with M held constant. At the optimum theta is 0, so the value is that
    of y, and the gradient is the exact one, dE/dq_i = R^T (g_i - mean g - omega x r_i) with
    omega = M^-1 sum_i y_i x g_i. Where M is singular (all atoms at one point or on a line) the rotation
    is not unique and is treated as constant: the gradient stays finite.

    Args:
        positions: shape (B, n, 3) [nm].
        reference: centred at its mean, shape (n, 3) [nm].

    Returns:
        shape (B, n, 3) [nm].

    Source: derivative of the optimal rotation as in Coutsias, Seok & Dill, J. Comput. Chem. 25, 1849
    (2004), doi:10.1002/jcc.20110, written as one Newton step.
    """
    centred = positions - positions.mean(dim=1, keepdim=True)
    with torch.no_grad():
        correlation = torch.matmul(centred.transpose(1, 2), reference)
        quaternion = torch.linalg.eigh(quaternion_matrix(correlation))[1][:, :, 3]
        rotation = rotation_matrix(quaternion)
        outer = torch.matmul(rotation, correlation)
        outer = 0.5 * (outer + outer.transpose(1, 2))
        trace = outer[:, 0, 0] + outer[:, 1, 1] + outer[:, 2, 2]
        identity = torch.eye(3, dtype=reference.dtype, device=reference.device)
        inverse = inverse_symmetric(trace[:, None, None] * identity - outer)
    aligned = torch.matmul(centred, rotation.transpose(1, 2))
    torque = torch.linalg.cross(aligned, reference.expand_as(aligned)).sum(dim=1)
    theta = torch.matmul(inverse, torque[:, :, None])[:, :, 0]
    return aligned + torch.linalg.cross(theta[:, None, :].expand_as(aligned), aligned)
