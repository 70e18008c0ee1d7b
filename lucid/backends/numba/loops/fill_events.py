"""A tile of log densities of events, summed over their elements."""

from __future__ import annotations

from lucid.backends.numba.loops.family import factors_of, pair, row_of
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array

# Elements in one pass over the rows: the sum so far is read and written once for all.
PASS = 8


def fill(
    tile: Array, x: Array, factors: Array, constant: Array, first: int, last: int
) -> None:
    """The log densities of events under components first … last − 1.

    Some elements of the rows under every component before the next: they stay in the
    first-level cache.
    """
    wide_vectors()
    size = x.shape[1]
    for k in range(first, last):
        into, base = tile[k - first], constant[k]
        for r in range(into.shape[0]):
            into[r] = base
    for d in range(0, size - PASS + 1, PASS):
        for k in range(first, last):
            into = tile[k - first]
            for r in range(into.shape[0]):
                total = pair(row_of(x, d, r), factors_of(factors, k, d))
                for i in range(1, PASS):
                    total += pair(row_of(x, d + i, r), factors_of(factors, k, d + i))
                into[r] += total
    for d in range(size - size % PASS, size):
        for k in range(first, last):
            into, own = tile[k - first], factors_of(factors, k, d)
            for r in range(into.shape[0]):
                into[r] += pair(row_of(x, d, r), own)
