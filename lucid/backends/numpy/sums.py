"""Sums over components that lose little, and the same for any number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.protocol import Array

# Components that a plain float64 sum serves within the accuracy promise.
PLAIN_SUM = 2048
# exp2 is slow where its result is denormal, or the least normal float64, and slower
# below; a term this small adds nothing to a sum that holds a 1.
LEAST_EXPONENT = {np.dtype(np.float32): -126.0, np.dtype(np.float64): -1021.0}


def fold(tile: Array) -> Array:
    """The sum over the first axis, pairwise, in place."""
    count = len(tile)
    while count > 1:
        half = count // 2
        tile[:half] += tile[count - half : count]
        count -= half
    return tile[0]


def losses(dtype: np.dtype[Any], count: int, shape: tuple[int, ...]) -> Array | None:
    """Where a sum keeps what rounding loses, if it is long enough to need that.

    Equal terms round the same way each time, so over many tiles the error of a
    float64 sum would grow with their number.
    """
    return np.zeros(shape) if dtype == np.float64 and count > PLAIN_SUM else None


def accumulate(total: Array, part: Array, lost: Array | None) -> None:
    """Add to `total` in place, and what rounding loses to `lost` (Knuth's TwoSum)."""
    if lost is None:
        total += part
        return
    before = total.copy()
    total += part
    grown = total - before
    lost += (before - (total - grown)) + (part - grown)
