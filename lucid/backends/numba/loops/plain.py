"""log Σ_k 2^y_k of rows that share one mixture, without their largest exponent.

An integer shift, which rounds nothing, brings the sums into the range of the exponents
instead: it follows from the largest constant. Terms too small for that are raised to
the least, and rows whose sum comes out so low that this might matter, or too high, are
left to loops/mixture.py. Blocks are as there; what a family makes of a tile, its terms
and their sum, is compiled apart as `add_terms`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.float32 import integer, real
from lucid.backends.numba.loops.limits import SHIFT, TRUSTED
from lucid.backends.numba.loops.mixture import LN2, gather, shifted_log2
from lucid.backends.numba.native import call, wide_vectors
from lucid.backends.protocol import Array

# Components a tile, whose sum is one of a plain loop.
TILE = 32
# The rows of `state`.
TOTAL, LOST, PART = 0, 1, 2


def score(
    add_terms: int,
    rows: Array,
    factors: Array,
    constant: Array,
    limits: Array,
    out: Array,
    x: Array,
    state: Array,
) -> int:
    """Fill `out` [N] with log densities in nats; NaN where they are not to be trusted.

    Returns how many those are.

    add_terms      the address of a compiled `add_terms` of loops/terms.py
    rows           [terms, N, D], what `pair` needs of the values
    factors        [K, D, factors]; constant [K], in bits; limits see loops/limits.py
    x, state       scratch, [terms, D, width] and [3, width]
    """
    wide_vectors()
    width, strange = x.shape[2], 0
    for start in range(0, out.shape[0], width):
        size = min(width, out.shape[0] - start)
        gather(rows, start, size, x)
        add_up(add_terms, x, factors, constant, limits, 0, constant.shape[0], state)
        strange += logarithms(state[TOTAL], state[LOST], limits, out, start, size)
    return strange


def add_up(
    add_terms: int,
    x: Array,
    factors: Array,
    constant: Array,
    limits: Array,
    first: int,
    last: int,
    state: Array,
) -> None:
    """TOTAL + LOST of each row over components first … last − 1."""
    wide_vectors()
    total, lost, part = state[TOTAL], state[LOST], state[PART]
    for r in range(total.shape[0]):
        total[r] = real(0.0)
        lost[r] = real(0.0)
    if last - first <= TILE:
        call(add_terms, total, x, factors, constant, limits, first, last)
        return
    for start in range(first, last, TILE):
        for r in range(part.shape[0]):
            part[r] = real(0.0)
        stop = min(start + TILE, last)
        call(add_terms, part, x, factors, constant, limits, start, stop)
        add_part(total, lost, part)


def add_part(total: Array, lost: Array, part: Array) -> None:
    """Add to `total`, and what rounding loses to `lost` (Knuth's TwoSum).

    Equal terms all round the same way.
    """
    wide_vectors()
    for r in range(total.shape[0]):
        before, added = total[r], part[r]
        after = before + added
        grown = after - before
        lost[r] += (before - (after - grown)) + (added - grown)
        total[r] = after


def logarithms(
    total: Array, lost: Array, limits: Array, out: Array, start: int, size: int
) -> int:
    """Fill `out` with ln(total + lost) without the shift, as `score`."""
    wide_vectors()
    least, shift, into = limits[TRUSTED], limits[SHIFT], out[start : start + size]
    strange: Any = integer(0)  # as wide as the numbers, for a loop of vectors
    for r in range(size):
        trusted = (total[r] >= least) & (total[r] < real(np.inf))
        found = nats(total[r], lost[r], shift)
        into[r] = found if trusted else real(np.nan)
        strange = integer(strange + integer(not trusted))
    count: int = strange
    return count


def nats(total: Any, lost: Any, shift: Any) -> Any:
    """ln(total + lost) − shift·ln 2 in float64."""
    return shifted_log2(np.float64(total) + np.float64(lost), -np.float64(shift)) * LN2


def chunk_sums(
    add_terms: int,
    rows: Array,
    factors: Array,
    constant: Array,
    limits: Array,
    first: int,
    last: int,
    sums: Array,
    x: Array,
    state: Array,
) -> None:
    """Fill `sums` [N] with those over components first … last − 1, in float64."""
    wide_vectors()
    width = x.shape[2]
    for start in range(0, sums.shape[0], width):
        size = min(width, sums.shape[0] - start)
        gather(rows, start, size, x)
        add_up(add_terms, x, factors, constant, limits, first, last, state)
        total, lost, into = state[TOTAL], state[LOST], sums[start : start + size]
        for r in range(size):
            into[r] = np.float64(total[r]) + np.float64(lost[r])


def finish(sums: Array, limits: Array, out: Array) -> int:
    """As `score`, of the sums [chunks, N] of all chunks, which are overwritten."""
    total, lost = sums[0], np.zeros_like(sums[0])
    for c in range(1, sums.shape[0]):
        add_part(total, lost, sums[c])
    return logarithms(total, lost, limits, out, 0, out.shape[0])
