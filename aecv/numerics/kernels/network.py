"""Compiled feed-forward network: layers a = f(W x + b), each f one whose derivative follows from a.

A number names f, so that every network runs in the same compiled code. `layers` holds a row per layer, the
input first: its size, and the number of f (the input's is not read).

Packed parameters hold per layer W (n_out, n_in), its transpose and b (n_out,), flat: both orders make the
forward and the backward product run along memory. `work` holds the activations of every layer, input first.

Products add four rows at a time to the result: one row at a time reads and writes the result once per row,
which takes four times as long as the arithmetic.
"""

import numpy as np

from aecv.numerics.kernels.compilation import jit

TANH, IDENTITY, SIGMOID, ELU, SOFTPLUS, RELU = range(6)
ACTIVATIONS = ("tanh", "identity", "sigmoid", "elu", "softplus", "relu")
"""Names by number, as files hold them; ELU with alpha = 1, softplus with beta = 1."""

_FEW = 8
"""Up to this many outputs, a scalar product per output is faster than sums of rows as short as that."""


@jit
def tanh_in_place(values, n):  # type: ignore[no-untyped-def]
    """tanh in place: continued fraction p/q of x/4 cut at the ninth level, then two doublings.

    tanh(x/2) = 2 p q / (p^2 + q^2), and the same again: one division in all. Relative error below 1e-15
    (tested). A loop without a call vectorises; the C library's tanh does not.
    """
    for i in range(n):
        u = 0.25 * min(max(values[i], -22.0), 22.0)
        s = u * u
        p = u * (34459425.0 + s * (4729725.0 + s * (135135.0 + s * (990.0 + s))))
        q = 34459425.0 + s * (16216200.0 + s * (945945.0 + s * (13860.0 + s * 45.0)))
        p, q = 2.0 * p * q, p * p + q * q
        values[i] = 2.0 * p * q / (p * p + q * q)


@jit
def activate(activation, values, n):  # type: ignore[no-untyped-def]
    """f in place; NaN stays NaN."""
    if activation == TANH:
        tanh_in_place(values, n)
    elif activation == SIGMOID:
        for i in range(n):
            values[i] = 1.0 / (1.0 + np.exp(-values[i]))
    elif activation == ELU:
        for i in range(n):
            values[i] = values[i] if values[i] > 0.0 else np.expm1(values[i])
    elif activation == SOFTPLUS:
        for i in range(n):
            values[i] = max(values[i], 0.0) + np.log1p(np.exp(-abs(values[i])))
    elif activation == RELU:
        for i in range(n):
            values[i] = 0.0 if values[i] < 0.0 else values[i]


@jit
def _times_slope(activation, values, n, derivatives):  # type: ignore[no-untyped-def]
    """Derivatives with respect to f's argument from those with respect to its values f, in place."""
    if activation == TANH:
        for i in range(n):
            derivatives[i] *= 1.0 - values[i] * values[i]
    elif activation == SIGMOID:
        for i in range(n):
            derivatives[i] *= values[i] * (1.0 - values[i])
    elif activation == ELU:
        for i in range(n):
            derivatives[i] *= min(values[i], 0.0) + 1.0
    elif activation == SOFTPLUS:
        for i in range(n):
            derivatives[i] *= -np.expm1(-values[i])
    elif activation == RELU:
        for i in range(n):
            derivatives[i] *= 1.0 if values[i] > 0.0 else 0.0


@jit
def _add_rows(matrix, factors, n_rows, n_columns, out):  # type: ignore[no-untyped-def]
    """out_c += sum_r matrix_rc factors_r.

    Args:
        matrix: flat, row by row, shape (n_rows n_columns,) or longer.
        factors: shape (n_rows,) or longer.
        out: updated, shape (n_columns,) or longer.
    """
    r = 0
    while r + 4 <= n_rows:
        f0, f1, f2, f3 = factors[r], factors[r + 1], factors[r + 2], factors[r + 3]
        p = r * n_columns
        m0, m1 = matrix[p : p + n_columns], matrix[p + n_columns : p + 2 * n_columns]
        m2, m3 = matrix[p + 2 * n_columns : p + 3 * n_columns], matrix[p + 3 * n_columns : p + 4 * n_columns]
        for c in range(n_columns):
            out[c] += m0[c] * f0 + m1[c] * f1 + m2[c] * f2 + m3[c] * f3
        r += 4
    while r < n_rows:
        factor = factors[r]
        row = matrix[r * n_columns : (r + 1) * n_columns]
        for c in range(n_columns):
            out[c] += row[c] * factor
        r += 1


@jit
def _add_products(matrix, factors, n_rows, n_columns, out):  # type: ignore[no-untyped-def]
    """out_r += sum_c matrix_rc factors_c, with the arguments of `_add_rows`."""
    for r in range(n_rows):
        row = matrix[r * n_columns : (r + 1) * n_columns]
        total = 0.0
        for c in range(n_columns):
            total += row[c] * factors[c]
        out[r] += total


@jit
def forward(parameters, layers, work):  # type: ignore[no-untyped-def]
    """Activations of every layer from work[:layers[0, 0]]; returns the offset of the output in work."""
    n_layers = layers.shape[0] - 1
    p = 0
    a = 0
    for layer in range(n_layers):
        n_in, n_out = layers[layer, 0], layers[layer + 1, 0]
        bias = p + 2 * n_in * n_out
        x, y = work[a : a + n_in], work[a + n_in : a + n_in + n_out]
        for o in range(n_out):
            y[o] = parameters[bias + o]
        if n_out <= _FEW:
            _add_products(parameters[p:], x, n_out, n_in, y)
        else:
            _add_rows(parameters[p + n_in * n_out :], x, n_in, n_out, y)
        activate(layers[layer + 1, 1], y, n_out)
        p = bias + n_out
        a += n_in
    return a


@jit
def backward(parameters, layers, work, out, derivatives):  # type: ignore[no-untyped-def]
    """Derivatives with respect to every layer's argument from those of the output, in derivatives[out:].

    The last layer has to be linear.
    """
    n_layers = layers.shape[0] - 1
    p = parameters.shape[0]
    a = out
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = layers[layer, 0], layers[layer + 1, 0]
        p -= n_out + 2 * n_in * n_out
        below = derivatives[a - n_in : a]
        for i in range(n_in):
            below[i] = 0.0
        _add_rows(parameters[p:], derivatives[a:], n_out, n_in, below)
        a -= n_in
        if layer > 0:
            _times_slope(layers[layer, 1], work[a : a + n_in], n_in, below)
