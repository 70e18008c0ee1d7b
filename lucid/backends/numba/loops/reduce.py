"""The largest of a row of numbers, and their sum, whose order is the row's alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.float32 import SIGN_SHIFT, integer, real
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array

# The least room that `pairwise_sum` takes.
ROOM = 16
MAGNITUDE = integer(np.iinfo(integer).max)


def largest(y: Array) -> Any:
    """The largest of y, or a NaN of it.

    Compared as integers of the same order: what LLVM turns into vectors without
    giving up NaN.
    """
    wide_vectors()
    found: Any = np.iinfo(integer).min
    for k in range(y.shape[0]):
        bits = real(y[k]).view(integer)
        key = integer(bits ^ ((bits >> SIGN_SHIFT) & MAGNITUDE))
        found = max(found, key)
    key = integer(found)
    return integer(key ^ ((key >> SIGN_SHIFT) & MAGNITUDE)).view(real)


def pairwise_sum(y: Array, count: int) -> Any:
    """Σ y[:count] by halves; y, of at least ROOM numbers, is overwritten."""
    wide_vectors()
    left = count
    while left > ROOM:
        half = left // 2
        upper = y[left - half :]
        for k in range(half):
            y[k] += upper[k]
        left -= half
    for k in range(left, ROOM):
        y[k] = 0.0
    for k in range(8):
        y[k] += y[k + 8]
    for k in range(4):
        y[k] += y[k + 4]
    return (y[0] + y[2]) + (y[1] + y[3])
