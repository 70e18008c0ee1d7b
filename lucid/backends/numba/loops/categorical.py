"""log softmax of rows of logits, gathered.

Loops run along a row's logits, so that each result depends on its row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp
from lucid.backends.numba.loops.float32 import real
from lucid.backends.numba.loops.mixture import LN2, log2
from lucid.backends.numba.loops.reduce import largest, pairwise_sum
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def categorical(
    logits: Array, value: Array, first: int, out: Array, terms: Array
) -> None:
    """Fill out [S, first …] with log softmax(logits [rows, K])[value [S, first …]].

    terms  scratch, as many as are summed before float64 takes over
    """
    wide_vectors()
    count = logits.shape[1]
    for r in range(logits.shape[0]):
        row = logits[r]
        top = real(largest(row))
        log_total = log2(sum_of_exp(row, top, terms)) * LN2
        for s in range(value.shape[0]):
            index = value[s, first + r]
            if (index >= 0) & (index < count):
                above = np.float64(row[index]) - np.float64(top)
                out[s, first + r] = above - log_total
            else:
                out[s, first + r] = -np.inf


def sum_of_exp(row: Array, top: Any, terms: Array) -> Any:
    """Σ exp(row − top); NaN where one is NaN, or `top` is infinite."""
    wide_vectors()
    total, most = 0.0, terms.shape[0]
    for first in range(0, row.shape[0], most):
        part = row[first : first + most]
        for k in range(part.shape[0]):
            terms[k] = exp(real(part[k]) - top)
        total += np.float64(pairwise_sum(terms, part.shape[0]))
    return total
