"""Compiled superposition: the optimal proper rotation onto a reference, and derivatives through it.

Hand-written since it runs in every step of the dynamics: mdtraj and scipy superpose without
derivatives, and torch takes ten times as long.

    c = q - mean(q);  R = argmin sum_i |R c_i - r_i|^2;  y = R c

For E(y) with g = dE/dy, B = sum_i y_i r_i^T, M = tr(B) I - B:

    dE/dq_i = R^T (g_i - mean(g) - omega x r_i),   omega = M^-1 sum_i y_i x g_i

It follows from the stationarity of the fit, sum_i y_i x r_i = 0: a change dy turns the optimal rotation by
M^-1 sum_i dy_i x r_i. Tests hold it against finite differences and autograd.

A reference without atoms stands for no superposition: y = q, and dE/dq = g.
"""

import numpy as np

from aecv.numerics.kernels.compilation import jit

_MAX_NEWTON = 60
_DEGENERATE = 1e-9
"""det(M)/tr(M)^3 under which the optimal rotation counts as not unique; 1/27 for a cube, 0 on a line."""


@jit
def _cofactors(n, out):  # type: ignore[no-untyped-def]
    """All cofactors of a 4x4 matrix from the 2x2 minors of its lower and upper halves."""
    for half in range(2):
        p = 2 - 2 * half  # the two rows whose minors serve ...
        m01 = n[p, 0] * n[p + 1, 1] - n[p, 1] * n[p + 1, 0]
        m02 = n[p, 0] * n[p + 1, 2] - n[p, 2] * n[p + 1, 0]
        m03 = n[p, 0] * n[p + 1, 3] - n[p, 3] * n[p + 1, 0]
        m12 = n[p, 1] * n[p + 1, 2] - n[p, 2] * n[p + 1, 1]
        m13 = n[p, 1] * n[p + 1, 3] - n[p, 3] * n[p + 1, 1]
        m23 = n[p, 2] * n[p + 1, 3] - n[p, 3] * n[p + 1, 2]
        for k in range(2):
            row = 2 * half + k  # ... the cofactors of the two others
            other = 2 * half + 1 - k
            sign = 1.0 if k == 0 else -1.0
            out[row, 0] = sign * (n[other, 1] * m23 - n[other, 2] * m13 + n[other, 3] * m12)
            out[row, 1] = -sign * (n[other, 0] * m23 - n[other, 2] * m03 + n[other, 3] * m02)
            out[row, 2] = sign * (n[other, 0] * m13 - n[other, 1] * m03 + n[other, 3] * m01)
            out[row, 3] = -sign * (n[other, 0] * m12 - n[other, 1] * m02 + n[other, 2] * m01)


@jit
def _horn_matrix(s, n):  # type: ignore[no-untyped-def]
    """4x4 matrix whose largest eigenvector is the quaternion of the fit (Horn, JOSA A 4, 629 (1987))."""
    n[0, 0] = s[0, 0] + s[1, 1] + s[2, 2]
    n[1, 1] = s[0, 0] - s[1, 1] - s[2, 2]
    n[2, 2] = s[1, 1] - s[0, 0] - s[2, 2]
    n[3, 3] = s[2, 2] - s[0, 0] - s[1, 1]
    n[0, 1] = n[1, 0] = s[1, 2] - s[2, 1]
    n[0, 2] = n[2, 0] = s[2, 0] - s[0, 2]
    n[0, 3] = n[3, 0] = s[0, 1] - s[1, 0]
    n[1, 2] = n[2, 1] = s[0, 1] + s[1, 0]
    n[1, 3] = n[3, 1] = s[0, 2] + s[2, 0]
    n[2, 3] = n[3, 2] = s[1, 2] + s[2, 1]


@jit
def _largest_root(s, c0):  # type: ignore[no-untyped-def]
    """Largest eigenvalue of Horn's matrix, by Newton on x^4 + c2 x^2 + c1 x + c0.

    From an upper bound the iterates decrease monotonically to the largest root
    (Theobald, Acta Cryst. A 61, 478 (2005)).
    """
    squares = 0.0
    for i in range(3):
        for j in range(3):
            squares += s[i, j] * s[i, j]
    c2 = -2.0 * squares
    c1 = -8.0 * (
        s[0, 0] * (s[1, 1] * s[2, 2] - s[1, 2] * s[2, 1])
        - s[0, 1] * (s[1, 0] * s[2, 2] - s[1, 2] * s[2, 0])
        + s[0, 2] * (s[1, 0] * s[2, 1] - s[1, 1] * s[2, 0])
    )
    x = np.sqrt(3.0 * squares)  # the sum of three singular values is at most sqrt(3) times their norm
    for _ in range(_MAX_NEWTON):
        square = x * x
        slope = (4.0 * square + 2.0 * c2) * x + c1
        if not slope > 0.0:
            break
        step = ((square + c2) * square + c1 * x + c0) / slope
        x -= step
        if abs(step) <= 1e-14 * x:
            break
    return x


@jit
def _rotation_of(quaternion, r):  # type: ignore[no-untyped-def]
    """Rotation matrix of a quaternion of any length; returns False for a zero quaternion."""
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    norm = w * w + x * x + y * y + z * z
    if not norm > 0.0:
        return False
    f = 2.0 / norm
    r[0, 0] = 1.0 - f * (y * y + z * z)
    r[1, 1] = 1.0 - f * (x * x + z * z)
    r[2, 2] = 1.0 - f * (x * x + y * y)
    r[0, 1] = f * (x * y - w * z)
    r[1, 0] = f * (x * y + w * z)
    r[0, 2] = f * (x * z + w * y)
    r[2, 0] = f * (x * z - w * y)
    r[1, 2] = f * (y * z - w * x)
    r[2, 1] = f * (y * z + w * x)
    return True


@jit
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@jit
def _stiffness_inverse(b, inverse):  # type: ignore[no-untyped-def]
    """Inverse of M = tr(B) I - sym(B); returns det(M)/tr(M)^3, not positive where the fit is no maximum."""
    trace = b[0, 0] + b[1, 1] + b[2, 2]
    m00, m11, m22 = trace - b[0, 0], trace - b[1, 1], trace - b[2, 2]
    m01 = -0.5 * (b[0, 1] + b[1, 0])
    m02 = -0.5 * (b[0, 2] + b[2, 0])
    m12 = -0.5 * (b[1, 2] + b[2, 1])
    a00 = m11 * m22 - m12 * m12
    a01 = m02 * m12 - m01 * m22
    a02 = m01 * m12 - m02 * m11
    det = m00 * a00 + m01 * a01 + m02 * a02
    span = m00 + m11 + m22
    # M has to be positive definite (nested minors m11, a00, det): otherwise a saddle, or a degenerate fit
    if not (det > _DEGENERATE * span * span * span and span > 0.0 and a00 > 0.0 and m11 > 0.0):
        return 0.0
    f = 1.0 / det
    inverse[0, 0] = a00 * f
    inverse[0, 1] = inverse[1, 0] = a01 * f
    inverse[0, 2] = inverse[2, 0] = a02 * f
    inverse[1, 1] = (m00 * m22 - m02 * m02) * f
    inverse[1, 2] = inverse[2, 1] = (m01 * m02 - m00 * m12) * f
    inverse[2, 2] = (m00 * m11 - m01 * m01) * f
    return det / (span * span * span)


@jit
def optimal_rotation(s, r, b, inverse, horn, cofactors):  # type: ignore[no-untyped-def]
    """Rotation R that maximises tr(R S), B = R S, and M^-1. False where it is not unique.

    The quaternion is a row of the adjugate of Horn's matrix less its largest eigenvalue. Newton steps of
    the rotation, theta = M^-1 sum_i y_i x r_i, then remove what the adjugate lost to rounding.
    """
    _horn_matrix(s, horn)
    _cofactors(horn, cofactors)
    c0 = 0.0
    for k in range(4):
        c0 += horn[0, k] * cofactors[0, k]
    root = _largest_root(s, c0)
    for k in range(4):
        horn[k, k] -= root
    _cofactors(horn, cofactors)
    best, largest = 0, -1.0
    for k in range(4):
        size = abs(cofactors[k, k])
        if size > largest:
            best, largest = k, size
    if not _rotation_of(cofactors[best], r):
        return False
    for _ in range(4):
        _multiply(r, s, b)
        if _stiffness_inverse(b, inverse) <= 0.0:
            return False
        t0, t1, t2 = b[1, 2] - b[2, 1], b[2, 0] - b[0, 2], b[0, 1] - b[1, 0]
        theta0 = inverse[0, 0] * t0 + inverse[0, 1] * t1 + inverse[0, 2] * t2
        theta1 = inverse[1, 0] * t0 + inverse[1, 1] * t1 + inverse[1, 2] * t2
        theta2 = inverse[2, 0] * t0 + inverse[2, 1] * t1 + inverse[2, 2] * t2
        size = theta0 * theta0 + theta1 * theta1 + theta2 * theta2
        if size < 1e-31:
            return True
        # turn by the quaternion (1, theta/2): exactly a rotation, and theta to second order
        cofactors[0, 0] = 1.0
        cofactors[0, 1], cofactors[0, 2], cofactors[0, 3] = 0.5 * theta0, 0.5 * theta1, 0.5 * theta2
        _rotation_of(cofactors[0], b)
        for j in range(3):
            x, y, z = r[0, j], r[1, j], r[2, j]
            for i in range(3):
                r[i, j] = b[i, 0] * x + b[i, 1] * y + b[i, 2] * z
    _multiply(r, s, b)
    return _stiffness_inverse(b, inverse) > 0.0


@jit
def fit(positions, reference, aligned, center, matrices, quartic):  # type: ignore[no-untyped-def]
    """Superpose positions on a centred reference.

    Args:
        positions: shape (n_atoms, 3) [nm].
        reference: shape (n_atoms, 3) [nm], its mean at the origin; or (0, 3) for y = q, where center and
            matrices stay as they are.
        aligned: written, y_i = R (q_i - c), flat, shape (3 n_atoms,) or longer.
        center: written, c, shape (3,).
        matrices: scratch (4, 3, 3); afterwards [1] holds R, [3] holds M^-1.
        quartic: scratch (9, 4); row 8 is free for the caller.

    Returns:
        False where the rotation is not unique (atoms on a line, a reflected fit at its tipping point, NaN).
    """
    n_atoms = positions.shape[0]
    if reference.shape[0] == 0:
        total = 0.0
        for i in range(n_atoms):
            for k in range(3):
                aligned[3 * i + k] = positions[i, k]
                total += positions[i, k]
        return bool(np.isfinite(total))
    for k in range(3):
        center[k] = 0.0
    for i in range(n_atoms):
        for k in range(3):
            center[k] += positions[i, k]
    for k in range(3):
        center[k] /= n_atoms
    correlation, rotation = matrices[0], matrices[1]
    for a in range(3):
        for b in range(3):
            correlation[a, b] = 0.0
    for i in range(n_atoms):
        x = positions[i, 0] - center[0]
        y = positions[i, 1] - center[1]
        z = positions[i, 2] - center[2]
        for b in range(3):
            correlation[0, b] += x * reference[i, b]
            correlation[1, b] += y * reference[i, b]
            correlation[2, b] += z * reference[i, b]
    if not optimal_rotation(correlation, rotation, matrices[2], matrices[3], quartic[:4], quartic[4:8]):
        return False
    for i in range(n_atoms):
        x = positions[i, 0] - center[0]
        y = positions[i, 1] - center[1]
        z = positions[i, 2] - center[2]
        for a in range(3):
            aligned[3 * i + a] = rotation[a, 0] * x + rotation[a, 1] * y + rotation[a, 2] * z
    return True


@jit
def unfit(gradient, aligned, reference, matrices, forces):  # type: ignore[no-untyped-def]
    """forces_i = -R^T (g_i - mean(g) - omega x r_i), from g = dE/dy (flat); as the module says."""
    n_atoms = reference.shape[0]
    if n_atoms == 0:
        for i in range(forces.shape[0]):
            for k in range(3):
                forces[i, k] = -gradient[3 * i + k]
        return
    rotation, inverse = matrices[1], matrices[3]
    mean0 = mean1 = mean2 = 0.0
    torque0 = torque1 = torque2 = 0.0
    for i in range(n_atoms):
        gx, gy, gz = gradient[3 * i], gradient[3 * i + 1], gradient[3 * i + 2]
        x, y, z = aligned[3 * i], aligned[3 * i + 1], aligned[3 * i + 2]
        mean0 += gx
        mean1 += gy
        mean2 += gz
        torque0 += y * gz - z * gy
        torque1 += z * gx - x * gz
        torque2 += x * gy - y * gx
    omega0 = inverse[0, 0] * torque0 + inverse[0, 1] * torque1 + inverse[0, 2] * torque2
    omega1 = inverse[1, 0] * torque0 + inverse[1, 1] * torque1 + inverse[1, 2] * torque2
    omega2 = inverse[2, 0] * torque0 + inverse[2, 1] * torque1 + inverse[2, 2] * torque2
    mean0 /= n_atoms
    mean1 /= n_atoms
    mean2 /= n_atoms
    for i in range(n_atoms):
        rx, ry, rz = reference[i, 0], reference[i, 1], reference[i, 2]
        gx = gradient[3 * i] - mean0 - (omega1 * rz - omega2 * ry)
        gy = gradient[3 * i + 1] - mean1 - (omega2 * rx - omega0 * rz)
        gz = gradient[3 * i + 2] - mean2 - (omega0 * ry - omega1 * rx)
        for a in range(3):
            forces[i, a] = -(rotation[0, a] * gx + rotation[1, a] * gy + rotation[2, a] * gz)
