"""The most probable component of rows that share one mixture.

As loops/mixture.py, but for a maximum that is the largest exponent itself: the most
probable component's own term is then 1, and no probability is above 1.
"""

from __future__ import annotations

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp2
from lucid.backends.numba.loops.float32 import LOWEST, real
from lucid.backends.numba.loops.mixture import (
    LN2,
    LOST,
    PART,
    PEAK,
    TOP,
    TOTAL,
    add,
    gather,
    log2,
)
from lucid.backends.numba.native import call, wide_vectors
from lucid.backends.protocol import Array


def mode(
    fill: int,
    rows: Array,
    factors: Array,
    constant: Array,
    index: Array,
    out: Array,
    tile: Array,
    x: Array,
    state: Array,
    best: Array,
) -> int:
    """Fill `index` with the first best component, `out` with its log probability.

    −∞ stands where no component reaches a row. Returns the number of such rows and of
    NaN; `best` [width] is scratch, and the rest is as for `score`.
    """
    wide_vectors()
    width, most, count = tile.shape[1], tile.shape[0], constant.shape[0]
    strange = 0
    for start in range(0, out.shape[0], width):
        size = min(width, out.shape[0] - start)
        gather(rows, start, size, x)
        for r in range(width):
            state[TOP, r] = LOWEST
            state[TOTAL, r] = real(0.0)
            state[LOST, r] = real(0.0)
            best[r] = 0
        for first in range(0, count, most):
            last = min(first + most, count)
            call(fill, tile, x, factors, constant, first, last)
            fold_best(tile, first, last - first, state, best)
        which, into = index[start : start + size], out[start : start + size]
        for r in range(size):
            which[r] = best[r]
            total = np.float64(state[TOTAL, r]) + np.float64(state[LOST, r])
            found = -LN2 * log2(total)
            nowhere = (state[TOP, r] == LOWEST) & (total == total)
            found = -np.inf if nowhere else found
            into[r] = found
            strange += not (found > -np.inf)
    return strange


def fold_best(tile: Array, first: int, count: int, state: Array, best: Array) -> None:
    """Merge a tile of components from `first` into each row's maximum and sum."""
    wide_vectors()
    top, peak, part = state[TOP], state[PEAK], state[PART]
    for r in range(top.shape[0]):
        peak[r] = top[r]
        part[r] = real(0.0)
    for j in range(count):
        y = tile[j]
        for r in range(top.shape[0]):
            better = y[r] > peak[r]
            peak[r] = y[r] if better else peak[r]
            best[r] = first + j if better else best[r]
    for j in range(count):
        y = tile[j]
        for r in range(top.shape[0]):
            part[r] += exp2(y[r] - peak[r])
    add(state)
