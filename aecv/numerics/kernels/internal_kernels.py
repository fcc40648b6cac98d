"""Compiled internal coordinates with their gradients, and the extended-ABF force along them.

    distance     |q_1 - q_0|
    angle        atan2(|u x v|, u . v),  u = q_0 - q_1, v = q_2 - q_1
    dihedral     atan2(|b| a . (b x c), (a x b) . (b x c)),  a = q_1 - q_0, b = q_2 - q_1, c = q_3 - q_2
    coordinate   x, y or z of one atom

Source of the dihedral's gradient, which has no singularity where its sine is 0:
Blondel, Karplus, J. Comput. Chem. 17, 1132 (1996).
"""

import numpy as np

from aecv.numerics.kernels.compilation import jit
from aecv.numerics.kernels.encoder_kernels import KAPPA, LAM, PERIOD, extended_step, nearest_image

KINDS = ("distance", "angle", "dihedral", "coordinate")
"""The kinds in the order of the numbers by which the kernels know them."""
DISTANCE, ANGLE, DIHEDRAL, COORDINATE = range(len(KINDS))

_STRAIGHT = 1e-7
"""Sine of the angle between two bonds under which an angle has no gradient and a dihedral no value."""


@jit
def _cross(a, b, out):  # type: ignore[no-untyped-def]
    out[0] = a[1] * b[2] - a[2] * b[1]
    out[1] = a[2] * b[0] - a[0] * b[2]
    out[2] = a[0] * b[1] - a[1] * b[0]


@jit
def _dot(a, b):  # type: ignore[no-untyped-def]
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@jit
def _distance(scratch, gradient):  # type: ignore[no-untyped-def]
    """Distance of the points of scratch[:2]; NaN where they coincide."""
    length = np.sqrt(_square_of_difference(scratch[0], scratch[1]))
    if not length > 0.0:
        return np.nan
    for k in range(3):
        gradient[1, k] = (scratch[1, k] - scratch[0, k]) / length
        gradient[0, k] = -gradient[1, k]
    return length


@jit
def _square_of_difference(a, b):  # type: ignore[no-untyped-def]
    return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2


@jit
def _angle(scratch, gradient):  # type: ignore[no-untyped-def]
    """Angle at the second of the points of scratch[:3]; NaN where they lie on a line."""
    u, v, normal, across = scratch[4], scratch[5], scratch[6], scratch[7]
    for k in range(3):
        u[k] = scratch[0, k] - scratch[1, k]
        v[k] = scratch[2, k] - scratch[1, k]
    _cross(u, v, normal)
    uu, vv, sine = _dot(u, u), _dot(v, v), np.sqrt(_dot(normal, normal))
    if not sine > _STRAIGHT * np.sqrt(uu * vv):
        return np.nan
    _cross(u, normal, across)
    for k in range(3):
        gradient[0, k] = across[k] / (uu * sine)
    _cross(v, normal, across)
    for k in range(3):
        gradient[2, k] = -across[k] / (vv * sine)
        gradient[1, k] = -gradient[0, k] - gradient[2, k]
    return np.arctan2(sine, _dot(u, v))


@jit
def _dihedral(scratch, gradient):  # type: ignore[no-untyped-def]
    """Dihedral of the points of scratch[:4]; NaN where three in a row lie on a line."""
    a, b, c, m, n = scratch[4], scratch[5], scratch[6], scratch[7], scratch[8]
    for k in range(3):
        a[k] = scratch[1, k] - scratch[0, k]
        b[k] = scratch[2, k] - scratch[1, k]
        c[k] = scratch[3, k] - scratch[2, k]
    _cross(a, b, m)
    _cross(b, c, n)
    aa, bb, cc, mm, nn = _dot(a, a), _dot(b, b), _dot(c, c), _dot(m, m), _dot(n, n)
    limit = _STRAIGHT * _STRAIGHT
    if not (mm > limit * aa * bb and nn > limit * bb * cc):
        return np.nan
    length = np.sqrt(bb)
    first, last = _dot(a, b) / bb, _dot(c, b) / bb
    for k in range(3):
        head, tail = -length / mm * m[k], length / nn * n[k]
        gradient[0, k] = head
        gradient[1, k] = -(1.0 + first) * head + last * tail
        gradient[2, k] = first * head - (1.0 + last) * tail
        gradient[3, k] = tail
    return np.arctan2(length * _dot(a, n), _dot(m, n))


@jit
def internal(positions, kinds, atoms, xi, gradient, scratch):  # type: ignore[no-untyped-def]
    """Internal coordinates and their gradients with respect to their own atoms.

    Args:
        positions: shape (n_atoms, 3) [nm].
        kinds: DISTANCE .. COORDINATE per component, shape (d,).
        atoms: rows of `positions`, shape (d, 4), what a kind does not need being 0; a coordinate's second
            entry is its axis.
        xi: written, shape (d,).
        gradient: written, shape (d, 4, 3) [1/nm or rad/nm]; row k belongs to atoms[c, k].
        scratch: shape (9, 3).

    Returns:
        False where a value or its gradient is not defined, or a position is not finite.
    """
    total = 0.0
    for c in range(kinds.shape[0]):
        for k in range(4):
            for axis in range(3):
                scratch[k, axis] = positions[atoms[c, k], axis]
                gradient[c, k, axis] = 0.0
        if kinds[c] == DIHEDRAL:
            xi[c] = _dihedral(scratch, gradient[c])
        elif kinds[c] == ANGLE:
            xi[c] = _angle(scratch, gradient[c])
        elif kinds[c] == DISTANCE:
            xi[c] = _distance(scratch, gradient[c])
        else:
            xi[c] = scratch[0, atoms[c, 1]]
            gradient[c, 0, atoms[c, 1]] = 1.0
        total += xi[c]
    return bool(np.isfinite(total))


@jit
def internal_batch(positions, kinds, atoms, xi, gradient):  # type: ignore[no-untyped-def]
    """Many frames; returns the index of the first one where a coordinate is not defined, or -1.

    Args:
        positions: shape (n_frames, n_atoms, 3) [nm].
        xi: written, shape (n_frames, d).
        gradient: written, on all atoms, shape (n_frames, d, n_atoms, 3); or (0, ...) to leave it out.
    """
    d = kinds.shape[0]
    own, scratch = np.empty((d, 4, 3)), np.empty((9, 3))
    for frame in range(positions.shape[0]):
        if not internal(positions[frame], kinds, atoms, xi[frame], own, scratch):
            return frame
        if gradient.shape[0] == 0:
            continue
        gradient[frame] = 0.0
        for c in range(d):
            for k in range(4):
                for axis in range(3):
                    gradient[frame, c, atoms[c, k], axis] += own[c, k, axis]
    return -1


@jit
def extended_internal_force(  # type: ignore[no-untyped-def]
    positions,
    step,
    kinds,
    atoms,
    constants,
    bins,
    samples,
    unbiased,
    potential,
    lam,
    counters,
    noise,
    xi,
    gradient,
    scratch,
    forces,
):
    """As `kernels.extended_abf_force`, along internal coordinates.

    Args:
        xi, gradient, scratch: as in `internal`.
        forces: written, -dE/dq, shape (n_atoms, 3) [kJ/mol/nm].
        For the others see `kernels.extended_step`.

    Returns:
        The spring energy [kJ/mol]; NaN where a coordinate is not defined, the state then being unchanged.
    """
    if not internal(positions, kinds, atoms, xi, gradient, scratch):
        return np.nan
    extended_step(xi, step, constants, bins, samples, unbiased, potential, lam, counters, noise)
    for i in range(forces.shape[0]):
        for axis in range(3):
            forces[i, axis] = 0.0
    energy = 0.0
    for c in range(kinds.shape[0]):
        stretch = nearest_image(xi[c] - lam[LAM, c], constants[PERIOD, c])
        energy += 0.5 * constants[KAPPA, c] * stretch * stretch
        for k in range(4):
            for axis in range(3):
                forces[atoms[c, k], axis] -= constants[KAPPA, c] * stretch * gradient[c, k, axis]
    return energy
