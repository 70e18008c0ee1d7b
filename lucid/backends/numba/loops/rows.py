"""log Σ_k w_k p_k(x) where each row has components of its own.

Rows lie side by side, as in loops/mixture.py: a tile of a row's components is turned
into a column, prepared, and folded into the row's sum at once, and nothing of it is
kept. So is what normalises the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import NAT_BITS
from lucid.backends.numba.loops.float32 import LOWEST, real
from lucid.backends.numba.loops.mixture import (
    LN2,
    LOST,
    TOP,
    TOTAL,
    fold,
    log2,
)
from lucid.backends.numba.native import call, wide_vectors
from lucid.backends.protocol import Array

# Rows that are turned together: fewer cost more stores.
TOGETHER = 8
LEAST_RATIO = np.finfo(np.float64).tiny


def score_rows(
    prepare: int,
    fill: int,
    values: Array,
    arrays: tuple[Array, ...],
    steps: tuple[int, ...],
    logarithms: bool,
    out: Array,
    own: Array,
    factors: Array,
    tiles: Array,
    turned: Array,
    x: Array,
    states: Array,
    top: Array,
) -> int:
    """Fill `out` [S, N] with log densities in nats; the number of NaN among them.

    prepare, fill  the addresses of compiled `prepare_rows` and `fill_rows`
    values         [terms, S, N], what `pair` needs of the values
    arrays         parameters [N or 1, K] and, the last of them, weights
    steps          from one row of them to the next: 0 where all rows share one
    logarithms     whether weights are given as logarithms

    and scratch: own [parameters, T, width], factors [factors, T, width],
    tiles [2, T, width], turned [weights at once, width], x [terms, S, width],
    states [S + 1, 5, width], top [width]
    """
    wide_vectors()
    count, last, strange = arrays[0].shape[1], len(arrays) - 1, 0
    weights, of_weights, samples = arrays[last], states[-1], out.shape[0]
    (most, width), (constant, density) = turned.shape, (tiles[0], tiles[1])
    for start in range(0, out.shape[1], width):
        size = min(width, out.shape[1] - start)
        gather(values, start, size, x)
        reset(states, top)
        for begin in range(0, count, most):
            some = min(most, count - begin)
            turn(weights, steps[last], start, size, begin, some, turned)
            raise_top(turned, some, top)
        for begin in range(0, count, most):
            some = min(most, count - begin)
            if count > most:
                turn(weights, steps[last], start, size, begin, some, turned)
            log_weights(turned, some, top, logarithms)
            for first in range(0, some, tiles.shape[1]):
                weight = turned[first : first + tiles.shape[1]]
                part = min(tiles.shape[1], some - first)
                for i in range(last):
                    turn(arrays[i], steps[i], start, size, begin + first, part, own[i])
                fold(weight, part, of_weights)
                call(prepare, own, weight, factors, constant, part)
                for s in range(samples):
                    call(fill, density, x, s, factors, constant, part)
                    fold(density, part, states[s])
        strange += finish(states, out, start, size)
    return strange


def gather(values: Array, start: int, size: int, x: Array) -> None:
    """Rows start … of the values into x; the last stands in for those that lack."""
    wide_vectors()
    for i in range(x.shape[0]):
        for s in range(x.shape[1]):
            for r in range(x.shape[2]):
                x[i, s, r] = values[i, s, start + min(r, size - 1)]


def reset(states: Array, top: Array) -> None:
    """States of empty sums, and no weight seen."""
    wide_vectors()
    for r in range(top.shape[0]):
        top[r] = real(-np.inf)
    for s in range(states.shape[0]):
        for r in range(top.shape[0]):
            states[s, TOP, r] = LOWEST
            states[s, TOTAL, r] = real(0.0)
            states[s, LOST, r] = real(0.0)


def turn(
    source: Array,
    step: int,
    start: int,
    size: int,
    first: int,
    count: int,
    tile: Array,
) -> None:
    """Components first … of rows start … into the columns of a tile.

    The last row stands in for those that a block lacks.
    """
    wide_vectors()
    for r in range(0, tile.shape[1], TOGETHER):
        for j in range(count):
            for i in range(TOGETHER):
                row = step * (start + min(r + i, size - 1))
                tile[j, r + i] = source[row, first + j]


def raise_top(tile: Array, count: int, top: Array) -> None:
    """The largest weight of each row so far; NaN is none."""
    wide_vectors()
    for j in range(count):
        for r in range(top.shape[0]):
            top[r] = tile[j, r] if tile[j, r] > top[r] else top[r]


def log_weights(tile: Array, count: int, top: Array, logarithms: bool) -> None:
    """Weights into their logarithms in bits, relative to the row's largest one.

    −∞ where there is no such component; NaN where no weight is, or one is infinite.
    """
    wide_vectors()
    for j in range(count):
        if logarithms:
            for r in range(top.shape[0]):
                tile[j, r] = (tile[j, r] - top[r]) * NAT_BITS
        else:
            for r in range(top.shape[0]):
                tile[j, r] = log2_ratio(tile[j, r], top[r])


def log2_ratio(a: Any, b: Any) -> Any:
    """log2(a/b): −∞ at 0, NaN below."""
    ratio = np.float64(a) / np.float64(b)
    tiny = ratio < LEAST_RATIO
    found = log2(ratio * 2.0**52 if tiny else ratio) - (52.0 if tiny else 0.0)
    edge = -np.inf if ratio == 0.0 else np.nan
    return real(found if ratio > 0.0 else edge)


def finish(states: Array, out: Array, start: int, size: int) -> int:
    """log density less log Σ weights of each row in nats; the number of NaN."""
    wide_vectors()
    samples, strange = out.shape[0], 0
    weights = states[samples]
    for s in range(samples):
        state, into = states[s], out[s]
        for r in range(size):
            found = (log2_total(state, r) - log2_total(weights, r)) * LN2
            into[start + r] = found
            strange += found != found
    return strange


def log2_total(state: Array, r: int) -> Any:
    """log2 of the sum that a state stands for."""
    total = np.float64(state[TOTAL, r]) + np.float64(state[LOST, r])
    found = np.float64(state[TOP, r]) + log2(total)
    # No component reaches this row.
    return -np.inf if (state[TOP, r] == LOWEST) & (total == total) else found
