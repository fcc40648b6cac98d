"""Differences of positions in a periodic box: the shortest of their images.

Boxes are in OpenMM's reduced form, a along x, b in the xy plane, |b_x|, |c_x| <= a_x/2, |c_y| <= b_y/2. A
difference is brought into the brick a_x, b_y, c_z around 0, by c, then b, then a. Where it is then shorter
than half the narrowest side of the brick it is the shortest image, since any other one as short would be in
the brick as well. Elsewhere the 26 images around are tried too, which is enough for boxes whose sides differ
by less than a factor of five.
"""

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import SamplingError
from aecv.numerics.kernels.compilation import jit


@jit
def nearest_shift(x, y, z, box):  # type: ignore[no-untyped-def]
    """What to add to a difference (x, y, z) to make it the shortest of its images, and the square of that."""
    ax, by, cz = box[0, 0], box[1, 1], box[2, 2]
    k = np.floor(z / cz + 0.5)
    dx, dy, dz = -k * box[2, 0], -k * box[2, 1], -k * cz
    k = np.floor((y + dy) / by + 0.5)
    dx -= k * box[1, 0]
    dy -= k * by
    dx -= np.floor((x + dx) / ax + 0.5) * ax
    square = (x + dx) ** 2 + (y + dy) ** 2 + (z + dz) ** 2
    half = 0.5 * min(ax, by, cz)
    if square <= half * half or not np.isfinite(square):
        return dx, dy, dz, square
    sx, sy, sz = dx, dy, dz
    for n_c in range(-1, 2):
        for n_b in range(-1, 2):
            for n_a in range(-1, 2):
                tx = sx + n_a * ax + n_b * box[1, 0] + n_c * box[2, 0]
                ty = sy + n_b * by + n_c * box[2, 1]
                tz = sz + n_c * cz
                other = (x + tx) ** 2 + (y + ty) ** 2 + (z + tz) ** 2
                if other < square * (1.0 - 1e-12):
                    dx, dy, dz, square = tx, ty, tz, other
    return dx, dy, dz, square


@jit
def update_nearest(positions, box, joined, others, squares, nearest):  # type: ignore[no-untyped-def]
    """Keep for each of the other atoms the nearest one of those that have joined.

    Args:
        positions: shape (n_atoms, 3) [nm].
        box: as above; zeros for none.
        joined, others: atoms.
        squares, nearest: of the others, the square of the distance so far and whose it is; updated.
    """
    for i in range(others.shape[0]):
        for atom in joined:
            x = positions[others[i], 0] - positions[atom, 0]
            y = positions[others[i], 1] - positions[atom, 1]
            z = positions[others[i], 2] - positions[atom, 2]
            if box[0, 0] > 0.0:  # no image is nearer than by c alone
                along = z - np.floor(z / box[2, 2] + 0.5) * box[2, 2]
                if along * along >= squares[i]:
                    continue
            square = nearest_shift(x, y, z, box)[3] if box[0, 0] > 0.0 else x * x + y * y + z * z
            if square < squares[i]:
                squares[i], nearest[i] = square, atom


def reduced(box: ArrayLike) -> FloatArray:
    """Box vectors of the same lattice in OpenMM's reduced form, for one box or many, shape (..., 3, 3) [nm].

    Raises:
        SamplingError: when a is not along x, b not in the xy plane, or a side is not positive.
    """
    vectors = np.array(box, dtype=float)
    a, b, c = vectors[..., 0, :], vectors[..., 1, :], vectors[..., 2, :]
    sides = np.stack([a[..., 0], b[..., 1], c[..., 2]], axis=-1)
    above = np.abs(np.stack([a[..., 1], a[..., 2], b[..., 2]], axis=-1))
    if not (np.isfinite(vectors).all() and (sides > 0).all() and (above <= 1e-5 * sides.min()).all()):
        raise SamplingError(
            "periodic box: needs vectors a along x, b in the xy plane and c above it, with positive sides, "
            f"got {np.asarray(box, dtype=float).reshape(-1, 3, 3)[0].tolist()} nm"
        )
    c -= b * np.round(c[..., 1:2] / b[..., 1:2])
    c -= a * np.round(c[..., 0:1] / a[..., 0:1])
    b -= a * np.round(b[..., 0:1] / a[..., 0:1])
    return vectors
