"""log Σ_k w_k p_k(x) where each row has components of its own.

Loops run along a row's components, so that each result depends on its row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp2
from lucid.backends.numba.loops.float32 import LOWEST
from lucid.backends.numba.loops.mixture import LN2, log2
from lucid.backends.numba.native import call, wide_vectors
from lucid.backends.protocol import Array


def score_rows(
    prepare: int,
    fill: int,
    rows: Array,
    parameters: Array,
    log_weights: Array,
    out: Array,
    factors: Array,
    scratch: Array,
) -> int:
    """Fill `out` [S, rows] with log densities in nats; the number of NaN among them.

    prepare, fill     the addresses of `prepare_row` and `fill_row`
    rows              [terms, S, rows], what `pair` needs of the values
    parameters        [parameters, rows, K]; log_weights [rows, K] in nats
    factors, scratch  scratch, [factors, K] and [3, K]
    """
    wide_vectors()
    constant, y, spare = scratch[0], scratch[1], scratch[2]
    strange = 0
    for r in range(out.shape[1]):
        call(prepare, parameters, log_weights, r, factors, constant)
        for s in range(out.shape[0]):
            call(fill, factors, constant, rows, s, r, y)
            found = log_sum(y, spare)
            out[s, r] = found
            strange += found != found
    return strange


def log_sum(y: Array, spare: Array) -> Any:
    """log Σ 2^y, summed pairwise; −∞ where every y is."""
    wide_vectors()
    count = y.shape[0]
    for k in range(count):
        spare[k] = y[k] if y[k] > LOWEST else LOWEST
    left = count
    while left > 1:
        half = left // 2
        for k in range(half):
            other = spare[left - half + k]
            spare[k] = other if other > spare[k] else spare[k]
        left -= half
    top = spare[0]
    for k in range(count):
        y[k] = exp2(y[k] - top)
    left = count
    while left > 1:
        half = left // 2
        for k in range(half):
            y[k] += y[left - half + k]
        left -= half
    found = (np.float64(top) + log2(np.float64(y[0]))) * LN2
    return -np.inf if (top == LOWEST) & (y[0] == y[0]) else found
