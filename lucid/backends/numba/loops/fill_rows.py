"""A tile of log densities of values under components of their own."""

from __future__ import annotations

from lucid.backends.numba.loops.family import factors_at, pair, row_of
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def fill_rows(
    tile: Array, x: Array, s: int, factors: Array, constant: Array, count: int
) -> None:
    """The log densities of value s of each row under `count` components of its own.

    tile, constant  [T, rows]; x [terms, S, rows]; factors [factors, T, rows]
    """
    wide_vectors()
    for j in range(count):
        for r in range(tile.shape[1]):
            density = pair(row_of(x, s, r), factors_at(factors, j, r))
            tile[j, r] = density + constant[j, r]
