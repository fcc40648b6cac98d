"""Molecules in a periodic box put together: every atom in the image nearest to its parent in a tree.

A shift by n_a a + n_b b + n_c c has a Jacobian of one: forces on shifted atoms are forces on the atoms. Which
image an atom came in then matters to nothing but where the molecule as a whole is.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aecv.ground.errors import SamplingError
from aecv.numerics.geometry.lattice import nearest_shift, reduced
from aecv.numerics.geometry.spanning_tree import SpanningTree
from aecv.numerics.kernels.compilation import jit


@jit
def make_frame_whole(positions, box, atoms, parents):  # type: ignore[no-untyped-def]
    """One frame, in place and without allocation.

    Args:
        positions: shape (n_atoms, 3) [nm]; shifted.
        box: box vectors in rows, reduced, shape (3, 3) [nm].
        atoms: in the order in which they are placed, parents first, shape (n,).
        parents: of each, -1 for one that stays, shape (n,).
    """
    for i in range(atoms.shape[0]):
        parent = parents[i]
        if parent < 0:
            continue
        atom = atoms[i]
        dx, dy, dz, square = nearest_shift(
            positions[atom, 0] - positions[parent, 0],
            positions[atom, 1] - positions[parent, 1],
            positions[atom, 2] - positions[parent, 2],
            box,
        )
        if np.isfinite(square):  # so that the atom at fault is the one that is not finite
            positions[atom, 0] += dx
            positions[atom, 1] += dy
            positions[atom, 2] += dz


@jit
def _make_frames_whole(frames, boxes, atoms, parents):  # type: ignore[no-untyped-def]
    for frame in range(frames.shape[0]):
        make_frame_whole(frames[frame], boxes[min(frame, boxes.shape[0] - 1)], atoms, parents)


def make_whole(positions: ArrayLike, box: ArrayLike, tree: SpanningTree) -> NDArray[np.floating]:
    """Copies of frames in which every atom of a tree is in the image nearest to its parent.

    The images are those that were meant while no atom is farther than half the box from its parent.

    Args:
        positions: shape (N, 3) or (F, N, 3) [nm]; float32 stays so.
        box: box vectors in rows, (3, 3) or one per frame (F, 3, 3) [nm], in any form; see `reduced`.
        tree: of indices into the N atoms.

    Raises:
        SamplingError: for a box without a volume, or of another number of frames.
    """
    given = np.array(positions)  # a copy
    frames = np.ascontiguousarray(given if given.dtype == np.float32 else given.astype(float))
    boxes = reduced(box).reshape(-1, 3, 3)
    shape = frames.shape
    frames = frames.reshape(-1, *shape[-2:])
    if len(boxes) not in (1, len(frames)):
        raise SamplingError(
            f"periodic box: needs one, or one for each of {len(frames)} frames, got {len(boxes)}"
        )
    _make_frames_whole(frames, boxes, tree.atoms, tree.parents)
    return frames.reshape(shape)
