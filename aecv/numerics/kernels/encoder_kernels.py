"""Compiled kernels: the encoder on many frames, and one step of extended ABF.

`extended_abf_force` does in one call, without allocation, all that a biased MD step needs:

    y = R (q - mean q), or q                                 alignment or none, see `superposition`
    xi = W_L f(... f(W_1 y + b_1)) + b_L                     encoder, see `network`
    E = sum_c kappa_c/2 (xi_c - lam_c)^2;  -dE/dq            spring, backpropagation, closed-form fit
    ABF sample of kappa (lam - xi), bias on lam, Langevin step of lam
"""

import numpy as np

from aecv.numerics.kernels.compilation import jit
from aecv.numerics.kernels.network import backward, forward
from aecv.numerics.kernels.superposition import fit, unfit

# Rows of the constants of the extended system, one column per component.
LOWER, UPPER, INVERSE_WIDTH, KAPPA, KICK, HALF_DRIFT, DAMPING, NOISE, FULL_SAMPLES, PERIOD = range(10)
N_CONSTANTS = 10

# Rows of the state of lambda, one column per component.
LAM, NEXT_LAM, VELOCITY = range(3)
N_LAM_ROWS = 3

# Counters; FROZEN is 1 where a potential drives lambda instead of the samples.
LAST_STEP, FIRST_STEP, OFF_GRID, FROZEN = range(4)
N_COUNTERS = 4


@jit
def encode_batch(positions, reference, parameters, layers, xi):  # type: ignore[no-untyped-def]
    """xi of many frames; returns the index of the first frame without a unique fit, or -1.

    Args:
        positions: shape (n_frames, n_atoms, 3) [nm].
        xi: written, shape (n_frames, n_components).
    """
    work = np.zeros(layers[:, 0].sum())
    center, matrices, quartic = np.zeros(3), np.zeros((4, 3, 3)), np.zeros((9, 4))
    for frame in range(positions.shape[0]):
        if not fit(positions[frame], reference, work, center, matrices, quartic):
            return frame
        out = forward(parameters, layers, work)
        for c in range(xi.shape[1]):
            xi[frame, c] = work[out + c]
    return -1


@jit
def encode_gradient_batch(positions, reference, parameters, layers, xi, gradient):  # type: ignore[no-untyped-def]
    """xi and d xi_c / d q of many frames, as `encode_batch`, the gradient (n_frames, d, n_atoms, 3)."""
    work = np.zeros(layers[:, 0].sum())
    derivatives = np.zeros(layers[:, 0].sum())
    center, matrices, quartic = np.zeros(3), np.zeros((4, 3, 3)), np.zeros((9, 4))
    for frame in range(positions.shape[0]):
        if not fit(positions[frame], reference, work, center, matrices, quartic):
            return frame
        out = forward(parameters, layers, work)
        for c in range(xi.shape[1]):
            xi[frame, c] = work[out + c]
            for k in range(xi.shape[1]):
                derivatives[out + k] = -1.0 if k == c else 0.0  # forces are minus the gradient
            backward(parameters, layers, work, out, derivatives)
            unfit(derivatives, work, reference, matrices, gradient[frame, c])
    return -1


@jit
def align_batch(positions, reference, aligned):  # type: ignore[no-untyped-def]
    """Superposed frames, flat per frame; returns the first frame without a unique fit, or -1."""
    center, matrices, quartic = np.zeros(3), np.zeros((4, 3, 3)), np.zeros((9, 4))
    for frame in range(positions.shape[0]):
        if not fit(positions[frame], reference, aligned[frame], center, matrices, quartic):
            return frame
    return -1


@jit
def nearest_image(difference, period):  # type: ignore[no-untyped-def]
    """A difference of two values of a component, the shortest way round; as it is where period is 0."""
    if period > 0.0:
        return difference - period * np.floor(difference / period + 0.5)
    return difference


@jit
def _bin_of(value, constants, bins, c):  # type: ignore[no-untyped-def]
    """Bin of a value along one component, -1 off the grid; wrapped where the component is periodic."""
    offset = np.floor((value - constants[LOWER, c]) * constants[INVERSE_WIDTH, c])
    if constants[PERIOD, c] > 0.0:
        offset -= bins[c] * np.floor(offset / bins[c])
    return int(offset) if 0.0 <= offset < bins[c] else -1


@jit
def slope(potential, position, constants, bins, c):  # type: ignore[no-untyped-def]
    """d/dlam_c of a potential that is multilinear between bin centres.

    In the outer half bins it is flat, or goes on across the seam where the component is periodic.

    Args:
        potential: at bin centres, shape (n_bins,).
        position: point on the grid, shape (d,).
        constants, bins: as in `extended_step`.
    """
    n_dims = bins.shape[0]
    total = 0.0
    for corner in range(1 << n_dims):
        flat, weight = 0, 1.0
        for k in range(n_dims):
            offset = (position[k] - constants[LOWER, k]) * constants[INVERSE_WIDTH, k] - 0.5
            upper = corner >> k & 1
            if constants[PERIOD, k] > 0.0:
                inside = True
                left = int(np.floor(offset))
                at = (left + upper) % bins[k]
            else:
                inside = 0.0 < offset < bins[k] - 1.0
                left = min(max(int(np.floor(offset)), 0), bins[k] - 2)
                at = left + upper
            flat = flat * bins[k] + at
            if k == c:
                weight *= constants[INVERSE_WIDTH, k] * (2.0 * upper - 1.0) * inside
            else:
                share = min(max(offset - left, 0.0), 1.0)
                weight *= share if upper else 1.0 - share
        total += weight * potential[flat]
    return total


@jit
def extended_step(xi, step, constants, bins, samples, unbiased, potential, lam, counters, noise):  # type: ignore[no-untyped-def]
    """One step of the extended variable: ABF sample, bias, Langevin step. At most once per MD step.

    The bias force is ramp(n_b) sum_b / n_b while the bias adapts, and the slope of `potential` while it is
    frozen (counters[FROZEN]).

    On entry lam[LAM] is the value of the last step; at a new step the pending lam[NEXT_LAM] takes its
    place, a sample of kappa (lam - xi) enters the bin of lam (and of xi, for CZAR), and the next value is
    prepared. A repeated evaluation of the same MD step changes nothing.

        v += dt/m [kappa (xi - lam) + ramp(n_b) s_b/n_b],  ramp = clamp(2 n/n_full - 1, 0, 1)
        lam += dt/2 v;  v = a v + b eta;  lam += dt/2 v;  reflection at the walls

    Where a component is periodic, lam - xi is the nearest image, bins wrap, and lam goes through the seam
    in the place of a reflection.

    The integrator is OpenMM's LangevinMiddle (Zhang et al., J. Phys. Chem. A 123, 6056 (2019)).

    Args:
        xi: shape (d,).
        step: MD step of this evaluation.
        constants: rows LOWER .. PERIOD, shape (N_CONSTANTS, d).
        bins: number of bins per dimension, shape (d,).
        samples: n_lam, sum_lam (d), n_xi, sum_xi (d) per bin, shape (n_bins, 2 + 2 d); updated.
        unbiased: bins where lambda is not pushed (beyond the ceiling), not 0 there, shape (n_bins,); read
            while the bias adapts.
        potential: B at bin centres, whose slope pushes lambda while the bias is frozen, shape (n_bins,).
        lam: rows LAM, NEXT_LAM, VELOCITY, shape (N_LAM_ROWS, d); updated.
        counters: LAST_STEP, FIRST_STEP, OFF_GRID; updated. FROZEN is read.
        noise: standard normal numbers, one row per step since FIRST_STEP, shape (n_steps, d).
    """
    if step == counters[LAST_STEP]:
        return
    counters[LAST_STEP] = step
    n_dims = xi.shape[0]
    lam_bin, xi_bin = 0, 0
    for c in range(n_dims):
        lam[LAM, c] = lam[NEXT_LAM, c]
        k = _bin_of(lam[LAM, c], constants, bins, c)
        lam_bin = lam_bin * bins[c] + k if lam_bin >= 0 and k >= 0 else -1
        k = _bin_of(xi[c], constants, bins, c)
        xi_bin = xi_bin * bins[c] + k if xi_bin >= 0 and k >= 0 else -1
    if lam_bin >= 0:
        samples[lam_bin, 0] += 1.0
    else:
        counters[OFF_GRID] += 1
    if xi_bin >= 0:
        samples[xi_bin, 1 + n_dims] += 1.0
    for c in range(n_dims):
        pull = constants[KAPPA, c] * nearest_image(lam[LAM, c] - xi[c], constants[PERIOD, c])
        if xi_bin >= 0:
            samples[xi_bin, 2 + n_dims + c] += pull
        push = 0.0
        if lam_bin >= 0:
            samples[lam_bin, 1 + c] += pull
            if counters[FROZEN]:
                push = slope(potential, lam[LAM], constants, bins, c)
            elif not unbiased[lam_bin]:
                count = samples[lam_bin, 0]
                ramp = min(max(2.0 * count / constants[FULL_SAMPLES, c] - 1.0, 0.0), 1.0)
                push = ramp * samples[lam_bin, 1 + c] / count
        velocity = lam[VELOCITY, c] + constants[KICK, c] * (push - pull)
        position = lam[LAM, c] + constants[HALF_DRIFT, c] * velocity
        eta = noise[step - counters[FIRST_STEP], c]
        velocity = constants[DAMPING, c] * velocity + constants[NOISE, c] * eta
        position += constants[HALF_DRIFT, c] * velocity
        upper, period = constants[UPPER, c], constants[PERIOD, c]
        if period > 0.0:
            position -= period * np.floor((position - constants[LOWER, c]) / period)
        elif position < constants[LOWER, c]:
            position, velocity = 2.0 * constants[LOWER, c] - position, -velocity
        elif position >= upper:
            position, velocity = 2.0 * upper - position, -velocity
        lam[NEXT_LAM, c] = position
        lam[VELOCITY, c] = velocity


@jit
def extended_abf_force(  # type: ignore[no-untyped-def]
    positions,
    step,
    reference,
    parameters,
    layers,
    constants,
    bins,
    samples,
    unbiased,
    potential,
    lam,
    counters,
    noise,
    work,
    matrices,
    quartic,
    forces,
):
    """Forces of the spring on the CV atoms, and the step of the extended system; see the module.

    Args:
        work: scratch, shape (2, sum of the layer sizes).
        forces: written, -dE/dq, shape (n_atoms, 3) [kJ/mol/nm].
        For the others see `extended_step` and `fit`.

    Returns:
        The spring energy [kJ/mol]; NaN where the fit is not unique or a number is not finite. Nothing of
        the state is changed in that case.
    """
    activations, derivatives = work[0], work[1]
    if not fit(positions, reference, activations, quartic[8, :3], matrices, quartic):
        return np.nan
    out = forward(parameters, layers, activations)
    n_dims = bins.shape[0]
    xi = activations[out : out + n_dims]
    total = 0.0
    for c in range(n_dims):
        total += xi[c]
    if not np.isfinite(total):
        return np.nan
    extended_step(xi, step, constants, bins, samples, unbiased, potential, lam, counters, noise)
    energy = 0.0
    for c in range(n_dims):
        stretch = nearest_image(xi[c] - lam[LAM, c], constants[PERIOD, c])
        derivatives[out + c] = constants[KAPPA, c] * stretch
        energy += 0.5 * constants[KAPPA, c] * stretch * stretch
    backward(parameters, layers, activations, out, derivatives)
    unfit(derivatives, activations, reference, matrices, forces)
    return energy
