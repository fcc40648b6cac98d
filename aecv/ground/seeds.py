"""Random streams, spawned from one root seed by what they are for.

A stream is named by words and numbers, for example ("langevin", iteration, walker, segment), so that
adding a consumer never shifts the numbers of another one, and a stage can be repeated alone.
"""

import hashlib

import numpy as np


def seed_sequence(root: int, *path: int | str) -> np.random.SeedSequence:
    """The seed sequence of a named stream.

    Args:
        root: the run's seed, >= 0.
        path: words and non-negative integers that name the stream.
    """
    words = [int.from_bytes(hashlib.sha256(str(part).encode()).digest()[:4], "little") for part in path]
    return np.random.SeedSequence(root, spawn_key=tuple(words))


def generator(root: int, *path: int | str) -> np.random.Generator:
    """A NumPy generator for a named stream."""
    return np.random.default_rng(seed_sequence(root, *path))


def seed_31bit(root: int, *path: int | str) -> int:
    """A seed in 1 .. 2^31-1 for libraries that take a C int; 0 is left out, OpenMM reads it as "random"."""
    return int(seed_sequence(root, *path).generate_state(1, np.uint32)[0] % (2**31 - 1)) + 1
