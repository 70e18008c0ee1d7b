"""The log densities of one value under components of its own."""

from __future__ import annotations

from lucid.backends.numba.loops.family import factors_at, pair, row_of
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def fill_row(
    factors: Array, constant: Array, rows: Array, s: int, r: int, y: Array
) -> None:
    """y [K] of value s of row r, from factors [factors, K] and constant [K]."""
    wide_vectors()
    row = row_of(rows, s, r)
    for k in range(y.shape[0]):
        y[k] = pair(row, factors_at(factors, k)) + constant[k]
