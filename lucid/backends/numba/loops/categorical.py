"""log softmax of rows of logits, gathered.

One pass over memory: each part of a row is read for its largest logit and, from the
first-level cache, for its sum relative to the largest so far (Milakov and Gimelshein,
2018). Loops run along a row's logits, so that each result depends on its row alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp
from lucid.backends.numba.loops.float32 import LOWEST, real
from lucid.backends.numba.loops.mixture import LN2, log2
from lucid.backends.numba.loops.reduce import largest, pairwise_sum
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def categorical(
    logits: Array, value: Array, first: int, out: Array, terms: Array
) -> None:
    """Fill out [S, first …] with log softmax(logits [rows, K])[value [S, first …]].

    terms  scratch, as many as a part of a row has
    """
    wide_vectors()
    count = logits.shape[1]
    for r in range(logits.shape[0]):
        row = logits[r]
        top, total = largest_and_sum(row, terms)
        log_total = log2(total) * LN2
        for s in range(value.shape[0]):
            index = value[s, first + r]
            if (index >= 0) & (index < count):
                above = np.float64(row[index]) - np.float64(top)
                out[s, first + r] = above - log_total
            else:
                out[s, first + r] = -np.inf


def largest_and_sum(row: Array, terms: Array) -> Any:
    """The largest logit and Σ exp(logit − largest); NaN where that is infinite."""
    wide_vectors()
    top, total, most = real(-np.inf), 0.0, terms.shape[0]
    for first in range(0, row.shape[0], most):
        part = row[first : first + most]
        found = real(largest(part))
        peak = top if found < top else found
        base = peak if peak > LOWEST else LOWEST
        for k in range(part.shape[0]):
            terms[k] = exp(real(part[k]) - base)
        if (peak > top) & (total > 0.0):
            total *= np.exp(np.float64(top) - np.float64(peak))
        total += np.float64(pairwise_sum(terms, part.shape[0]))
        top = peak
    return top, total if top > -np.inf else np.nan
