"""The encoder as plain arrays: alignment onto a reference (or none), then a network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import AlignmentError, CVError
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.numerics.kernels.network import ACTIVATIONS, IDENTITY, TANH

NO_REFERENCE: FloatArray = np.empty((0, 3))
"""The reference of an encoder that takes positions as they are: y = q."""
MOST_NUMBERS = 10_000_000
"""Numbers of a table, 80 MB in float64, that are worked on at a time."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoder:
    """xi(q) = W_L f(... f(W_1 y + b_1) ...) + b_L with y = R (q - mean q), flat.

    R is the proper rotation that brings q closest to the reference (Kabsch). An encoder with an empty
    reference does not align: y = q. Normalisation of inputs and outputs is folded into the first and the last
    layer.

    Attributes:
        reference: centred reference, shape (n_atoms, 3) [nm], or (0, 3) for no alignment.
        weights: per layer, shape (n_out, n_in); the first takes 3 n_atoms inputs.
        biases: per layer, shape (n_out,).
        activations: f as a number per layer, see `network.ACTIVATIONS`, the last one the identity; left out:
            tanh on hidden layers.

    Raises:
        CVError: when shapes do not fit or a number is not finite.
        AlignmentError: when no rotation onto the reference is unique (its atoms lie on a line).
    """

    reference: FloatArray
    weights: tuple[FloatArray, ...]
    biases: tuple[FloatArray, ...]
    activations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        reference = np.ascontiguousarray(self.reference, dtype=float)
        weights = tuple(np.ascontiguousarray(w, dtype=float) for w in self.weights)
        biases = tuple(np.ascontiguousarray(b, dtype=float) for b in self.biases)
        _check_shapes(reference, weights, biases)
        activations = tuple(map(int, self.activations)) or tanh_layers(len(weights))
        _check_activations(activations, len(weights))
        for name, value in (("weights", weights), ("biases", biases), ("activations", activations)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "reference", _centred(reference))
        if self.is_aligned:
            align(self.reference, self.reference[None])

    @property
    def is_aligned(self) -> bool:
        """Whether positions are superposed on the reference before the network sees them."""
        return len(self.reference) > 0

    @property
    def n_atoms(self) -> int:
        return int(self.weights[0].shape[1]) // 3

    @property
    def n_components(self) -> int:
        return len(self.weights[-1])

    @cached_property
    def layers(self) -> NDArray[np.int64]:
        """Size of each layer, input first, and number of its activation, shape (n_layers + 1, 2)."""
        sizes = [self.weights[0].shape[1], *(w.shape[0] for w in self.weights)]
        return np.column_stack([sizes, (IDENTITY, *self.activations)])

    @cached_property
    def parameters(self) -> FloatArray:
        """All weights in both orders and biases, flat, as the kernels read them."""
        parts = [
            part.ravel()
            for w, b in zip(self.weights, self.biases, strict=True)
            for part in (w, np.ascontiguousarray(w.T), b)
        ]
        return np.concatenate(parts)

    def of_components(self, rows: ArrayLike, signs: ArrayLike = 1.0) -> "Encoder":
        """The encoder with some of its components, in another order or with other signs.

        Args:
            rows: which components, in their new order, shape (d,).
            signs: 1 or -1 of each, shape (d,).
        """
        chosen, factors = np.asarray(rows, dtype=np.int64), np.asarray(signs, dtype=float)
        return replace(
            self,
            weights=(*self.weights[:-1], factors.reshape(-1, 1) * self.weights[-1][chosen]),
            biases=(*self.biases[:-1], factors * self.biases[-1][chosen]),
        )


def encode(encoder: Encoder, positions: ArrayLike) -> FloatArray:
    """CV of many frames.

    Args:
        positions: shape (n_frames, n_atoms, 3) [nm].

    Returns:
        xi, shape (n_frames, n_components).

    Raises:
        CVError: for another shape, or NaN where nothing is aligned. AlignmentError: for a frame whose fit is
            not unique, or NaN.
    """
    frames = _frames(positions, encoder.n_atoms)
    xi = np.empty((len(frames), encoder.n_components))
    failed = kernels.encode_batch(frames, encoder.reference, encoder.parameters, encoder.layers, xi)
    _check_fit(failed, frames, is_aligned=encoder.is_aligned)
    return xi


def encode_gradient(encoder: Encoder, positions: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """CV and its gradient through network and alignment.

    Args:
        positions: shape (n_frames, n_atoms, 3) [nm].

    Returns:
        xi, shape (n_frames, n_components), and d xi_c / d q [1/nm], shape
        (n_frames, n_components, n_atoms, 3).

    Raises:
        As `encode`.
    """
    frames = _frames(positions, encoder.n_atoms)
    xi = np.empty((len(frames), encoder.n_components))
    gradient = np.empty((len(frames), encoder.n_components, encoder.n_atoms, 3))
    failed = kernels.encode_gradient_batch(
        frames, encoder.reference, encoder.parameters, encoder.layers, xi, gradient
    )
    _check_fit(failed, frames, is_aligned=encoder.is_aligned)
    return xi, gradient


def align(
    reference: ArrayLike, positions: ArrayLike, dtype: type[np.floating] = np.float64
) -> NDArray[np.floating]:
    """Frames superposed on a reference: centred, and turned by the optimal proper rotation.

    Computed in float64, some frames at a time, so that float32 in and out needs no copy in float64.

    Args:
        reference: shape (n_atoms, 3) [nm]; it is centred here. NO_REFERENCE: frames stay as they are.
        positions: shape (n_frames, n_atoms, 3) [nm].
        dtype: of the result.

    Returns:
        shape (n_frames, n_atoms, 3) [nm].

    Raises:
        As `encode`.
    """
    target = _centred(np.array(reference, dtype=float))
    given = np.asarray(positions)
    _check_frames(given.shape, len(target) or None)
    aligned = np.empty(given.shape, dtype=dtype)
    for part in chunks(len(given), given[0].size):
        frames = np.ascontiguousarray(given[part], dtype=float)
        turned = np.empty((len(frames), frames[0].size))
        failed = kernels.align_batch(frames, target, turned)
        _check_fit(failed, frames, is_aligned=len(target) > 0, first=part.start)
        aligned[part] = turned.reshape(frames.shape)
    return aligned


def chunks(n_rows: int, n_columns: int) -> list[slice]:
    """Slices of rows that cover a table, each of at most `MOST_NUMBERS` numbers, or one row."""
    step = max(1, MOST_NUMBERS // n_columns)
    return [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


def tanh_layers(n_layers: int) -> tuple[int, ...]:
    """Activations of an autoencoder's encoder: tanh on hidden layers, the last one linear."""
    return (TANH,) * (n_layers - 1) + (IDENTITY,)


def _centred(reference: FloatArray) -> FloatArray:
    return reference - reference.mean(axis=0) if len(reference) else reference


def _frames(positions: ArrayLike, n_atoms: int | None) -> FloatArray:
    """Frames as the kernels read them; n_atoms None for any number of atoms."""
    frames = np.ascontiguousarray(positions, dtype=float)
    _check_frames(frames.shape, n_atoms)
    return frames


def _check_frames(shape: tuple[int, ...], n_atoms: int | None) -> None:
    if len(shape) != 3 or shape[2] != 3 or shape[1] != (n_atoms or shape[1]):
        raise CVError(
            f"CV: positions need shape (n_frames, {n_atoms or 'n_atoms'}, 3) in nm, "
            f"got {shape}; pass the CV's atoms only, in its order"
        )


def _check_fit(failed: int, frames: FloatArray, *, is_aligned: bool, first: int = 0) -> None:
    """Raises for the frame that failed, counted from `first`; none did where it is negative."""
    if failed < 0:
        return
    if not is_aligned:
        raise CVError(f"CV: frame {first + failed} holds NaN or infinite positions; the simulation exploded")
    why = (
        "its atoms lie on a line, or a mirror image fits equally well"
        if np.all(np.isfinite(frames[failed]))
        else "it holds NaN or infinite positions"
    )
    raise AlignmentError(f"CV: frame {first + failed} has no unique rotation onto the reference: {why}")


def _check_activations(activations: tuple[int, ...], n_layers: int) -> None:
    known = range(len(ACTIVATIONS))
    if len(activations) != n_layers or activations[-1] != IDENTITY or not set(activations) <= set(known):
        raise CVError(
            f"CV: needs an activation of 0 to {known[-1]} for each of its {n_layers} layers, the last one "
            f"{IDENTITY} (identity), got {activations}; put a linear layer at the end"
        )


def _check_shapes(reference: FloatArray, weights: Sequence[FloatArray], biases: Sequence[FloatArray]) -> None:
    if reference.ndim != 2 or reference.shape[1] != 3 or len(reference) in (1, 2):
        raise CVError(
            "CV: the reference needs shape (n_atoms >= 3, 3), or (0, 3) without alignment, "
            f"got {reference.shape}"
        )
    if not weights or len(weights) != len(biases):
        raise CVError(f"CV: needs one bias per layer, got {len(weights)} weights and {len(biases)} biases")
    n_in = reference.size or 3 * max(1, weights[0].shape[-1] // 3)
    for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
        if w.ndim != 2 or w.shape[1] != n_in or b.shape != (w.shape[0],):
            raise CVError(
                f"CV: layer {layer} needs {n_in} inputs and fitting biases, got {w.shape}, {b.shape}"
            )
        n_in = w.shape[0]
    if not all(np.all(np.isfinite(array)) for array in (reference, *weights, *biases)):
        raise CVError("CV: the reference, weights and biases need finite numbers, got NaN or infinity")
