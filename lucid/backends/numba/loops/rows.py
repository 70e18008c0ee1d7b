"""log Σ_k w_k p_k(x) where each row has components of its own.

Loops run along a row's components, so that each result depends on its row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp2
from lucid.backends.numba.loops.float32 import LOWEST, real
from lucid.backends.numba.loops.mixture import LN2, log2
from lucid.backends.numba.loops.reduce import largest, pairwise_sum
from lucid.backends.numba.native import call, wide_vectors
from lucid.backends.protocol import Array


def score_rows(
    prepare: int,
    fill: int,
    rows: Array,
    parameters: Array,
    log_weights: Array,
    normaliser: Array,
    out: Array,
    factors: Array,
    scratch: Array,
) -> int:
    """Fill `out` [S, rows] with log densities in nats; the number of NaN among them.

    prepare, fill     the addresses of `prepare_row` and `fill_row`
    rows              [terms, S, rows], what `pair` needs of the values
    parameters        [parameters, rows, K]
    log_weights       [rows, K] in nats, before normaliser [2, rows] is taken off
    factors, scratch  scratch, [factors, K] and [2, K or ROOM]
    """
    wide_vectors()
    constant, y = scratch[0, : factors.shape[1]], scratch[1]
    strange = 0
    for r in range(out.shape[1]):
        call(prepare, parameters, log_weights, normaliser, r, factors, constant)
        for s in range(out.shape[0]):
            call(fill, factors, constant, rows, s, r, y)
            found = log_sum(y, factors.shape[1])
            out[s, r] = found
            strange += found != found
    return strange


def log_sum(y: Array, count: int) -> Any:
    """log Σ 2^y[:count], summed pairwise; −∞ where every y is."""
    wide_vectors()
    part = y[:count]
    largest_y = real(largest(part))
    top = largest_y if largest_y > LOWEST else LOWEST
    for k in range(count):
        part[k] = exp2(part[k] - top)
    total = np.float64(pairwise_sum(y, count))
    found = (np.float64(top) + log2(total)) * LN2
    return -np.inf if (top == LOWEST) & (total == total) else found
