"""A tile of log densities of scalar values."""

from __future__ import annotations

from lucid.backends.numba.loops.family import factors_of, pair, row_of
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def fill(
    tile: Array, x: Array, factors: Array, constant: Array, first: int, last: int
) -> None:
    """The log densities of scalar values under components first … last − 1."""
    wide_vectors()
    for k in range(first, last):
        own, base, into = factors_of(factors, k, 0), constant[k], tile[k - first]
        for r in range(into.shape[0]):
            into[r] = pair(row_of(x, 0, r), own) + base
