"""log Σ_k w_k p_k(x) of rows that share one mixture.

Rows come in blocks, as wide as the innermost loops, which run along rows: no row's
arithmetic depends on the others, nor on where a block begins. Components come in tiles:
a tile of log densities stays in the first-level cache, and is folded into each row's
largest exponent and sum (Milakov and Gimelshein, 2018). What a family makes of a tile
is compiled apart and called through its address, so that this is compiled once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp2
from lucid.backends.numba.loops.float32 import LOWEST, real
from lucid.backends.numba.native import call, wide_vectors
from lucid.backends.protocol import Array

LN2 = 0.6931471805599453
LOG2_E = 1.4426950408889634
ROOT_HALF_BITS = np.int64(0x3FE6A09E667F3BCD)
# Elements of an event that are gathered before those of the next row: a line of cache.
LINE = 16
# The rows of `state`.
TOP, PEAK, PART, TOTAL, LOST = 0, 1, 2, 3, 4


def score(
    fill: int,
    rows: Array,
    factors: Array,
    constant: Array,
    scale: float,
    out: Array,
    tile: Array,
    x: Array,
    state: Array,
) -> int:
    """Fill `out` [N] with log densities in nats; the number of NaN among them.

    fill           the address of a compiled `fill` of loops/fill*.py
    rows           [terms, N, D], what `pair` needs of the values
    factors        [K, D, factors]; constant [K], in the unit of `scale` nats
    tile, x, state scratch, [T, width], [terms, D, width] and [5, width]
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
        for first in range(0, count, most):
            last = min(first + most, count)
            call(fill, tile, x, factors, constant, first, last)
            if count > 1:
                fold(tile, last - first, state)
        if count > 1:
            strange += logarithms(state, out, start, size)
        else:
            strange += scaled(tile, scale, out, start, size)
    return strange


def gather(rows: Array, start: int, size: int, x: Array) -> None:
    """Rows start … start + size − 1 into x, one event element after the other.

    The last one stands in for those that a block lacks.
    """
    wide_vectors()
    for i in range(x.shape[0]):
        # A view of the part: indices from 0 need no look at their sign.
        given, into = rows[i, start : start + size], x[i]
        if rows.shape[2] == 1:  # neighbours, and so vectors
            for r in range(size):
                into[0, r] = given[r, 0]
        else:
            for first in range(0, into.shape[0], LINE):
                last = min(first + LINE, into.shape[0])
                for r in range(size):
                    for d in range(first, last):
                        into[d, r] = given[r, d]
        for d in range(into.shape[0]):
            line, value = into[d], given[size - 1, d]
            for r in range(size, line.shape[0]):
                line[r] = value


def fold(tile: Array, count: int, state: Array) -> None:
    """Merge a tile into each row's sum, relative to 2^TOP, an integer power.

    So the sum so far is rescaled without rounding.
    """
    wide_vectors()
    top, peak, part = state[TOP], state[PEAK], state[PART]
    for r in range(top.shape[0]):
        peak[r] = top[r]
        part[r] = real(0.0)
    for j in range(count):
        y = tile[j]
        for r in range(top.shape[0]):
            peak[r] = y[r] if y[r] > peak[r] else peak[r]
    for r in range(top.shape[0]):
        peak[r] = np.ceil(peak[r])
    for j in range(count):
        y = tile[j]
        for r in range(top.shape[0]):
            part[r] += exp2(y[r] - peak[r])
    add(state)


def add(state: Array) -> None:
    """Add PART to the sum, both relative to 2^PEAK then, which becomes TOP.

    What rounding loses is kept apart (Knuth's TwoSum): equal terms all round the same
    way.
    """
    wide_vectors()
    top, peak, part = state[TOP], state[PEAK], state[PART]
    total, lost = state[TOTAL], state[LOST]
    for r in range(top.shape[0]):
        shrink = exp2(top[r] - peak[r])
        total[r] *= shrink
        lost[r] *= shrink
        top[r] = peak[r]
    for r in range(top.shape[0]):
        before, added = total[r], part[r]
        after = before + added
        grown = after - before
        lost[r] += (before - (after - grown)) + (added - grown)
        total[r] = after


def logarithms(state: Array, out: Array, start: int, size: int) -> int:
    """(TOP + log2 of the sum)·ln 2 of each row; the number of NaN among them."""
    wide_vectors()
    strange, top, into = 0, state[TOP], out[start : start + size]
    total, lost = state[TOTAL], state[LOST]
    for r in range(size):
        whole = np.float64(total[r]) + np.float64(lost[r])
        found = shifted_log2(whole, np.float64(top[r])) * LN2
        # No component reaches this row.
        found = -np.inf if (top[r] == LOWEST) & (whole == whole) else found
        into[r] = found
        strange += found != found
    return strange


def scaled(tile: Array, scale: float, out: Array, start: int, size: int) -> int:
    """The density of the only component in nats; the number of NaN."""
    wide_vectors()
    strange, y, into = 0, tile[0], out[start : start + size]
    for r in range(size):
        found = np.float64(y[r]) * scale
        into[r] = found
        strange += found != found
    return strange


def log2(x: Any) -> Any:
    """log2 of a normal float64 x > 0; NaN stays NaN."""
    return shifted_log2(x, 0.0)


def shifted_log2(x: Any, shift: Any) -> Any:
    """log2 of x·2^shift, for an integer shift, which makes no digits cancel."""
    bits = np.float64(x).view(np.int64)
    exponent = (bits - ROOT_HALF_BITS) >> 52
    mantissa = np.int64(bits - (exponent << 52)).view(np.float64)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    w = s * s
    p = 0.0739805273562603
    p = p * w + 0.0765701791630435
    p = p * w + 0.09091782433384742
    p = p * w + 0.11111099281741779
    p = p * w + 0.14285714371237448
    p = p * w + 0.1999999999970716
    p = p * w + 0.3333333333333367
    found = (np.float64(exponent) + shift) + (2.0 * LOG2_E) * (s + s * (w * p))
    return found if x == x else x
