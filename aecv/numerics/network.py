"""Compiled feed-forward network: tanh on hidden layers, the last one linear.

Packed parameters hold per layer W (n_out, n_in), its transpose and b (n_out,), flat: both orders make the
forward and the backward product run along memory. `work` holds the activations of every layer, input first.
"""

from aecv.numerics.compilation import jit


@jit
def _tanh(values, n):  # type: ignore[no-untyped-def]
    """tanh in place: continued fraction of x/4 cut at the ninth level, then two doublings.

    Relative error below 5e-16 (tested). A loop without a call vectorises; the C library's tanh does not.
    """
    for i in range(n):
        u = 0.25 * min(max(values[i], -22.0), 22.0)
        s = u * u
        numerator = u * (34459425.0 + s * (4729725.0 + s * (135135.0 + s * (990.0 + s))))
        denominator = 34459425.0 + s * (16216200.0 + s * (945945.0 + s * (13860.0 + s * 45.0)))
        t = numerator / denominator
        t = 2.0 * t / (1.0 + t * t)
        values[i] = 2.0 * t / (1.0 + t * t)


@jit
def forward(parameters, layers, work):  # type: ignore[no-untyped-def]
    """Activations of every layer from work[:layers[0]]; returns the offset of the output in work."""
    n_layers = layers.shape[0] - 1
    p = 0
    a = 0
    for layer in range(n_layers):
        n_in, n_out = layers[layer], layers[layer + 1]
        bias = p + 2 * n_in * n_out
        y = work[a + n_in : a + n_in + n_out]
        for o in range(n_out):
            y[o] = parameters[bias + o]
        for i in range(n_in):
            x = work[a + i]
            row = parameters[p + n_in * n_out + i * n_out : p + n_in * n_out + (i + 1) * n_out]
            for o in range(n_out):
                y[o] += row[o] * x
        if layer < n_layers - 1:
            _tanh(y, n_out)
        p = bias + n_out
        a += n_in
    return a


@jit
def backward(parameters, layers, work, out, derivatives):  # type: ignore[no-untyped-def]
    """Derivatives with respect to every layer from those of the output, in derivatives[out:]."""
    n_layers = layers.shape[0] - 1
    p = parameters.shape[0]
    a = out
    for layer in range(n_layers - 1, -1, -1):
        n_in, n_out = layers[layer], layers[layer + 1]
        p -= n_out + 2 * n_in * n_out
        below = derivatives[a - n_in : a]
        for i in range(n_in):
            below[i] = 0.0
        for o in range(n_out):
            g = derivatives[a + o]
            row = parameters[p + o * n_in : p + (o + 1) * n_in]
            for i in range(n_in):
                below[i] += row[i] * g
        a -= n_in
        if layer > 0:
            for i in range(n_in):
                below[i] *= 1.0 - work[a + i] * work[a + i]
