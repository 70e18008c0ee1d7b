"""log Σ_k w_k p_k(x) where each row has components of its own.

Rows lie side by side, as in loops/mixture.py: a tile of a row's components is turned
into a column, prepared, and folded into the row's sum at once, and nothing of it is
kept. So is what normalises the weights. In loops/lanes.py a row takes more columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import NAT_BITS, exp2
from lucid.backends.numba.loops.float32 import LOWEST, real
from lucid.backends.numba.loops.mixture import (
    LN2,
    LOST,
    PART,
    PEAK,
    TOP,
    TOTAL,
    add,
    log2,
)
from lucid.backends.numba.native import call, share_max, wide_vectors
from lucid.backends.protocol import Array

# Columns of a row; a line of them holds neighbours among its components.
LANES = 1
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
    logs: Array,
) -> int:
    """Fill `out` [S, N] with log densities in nats; the number of NaN among them.

    prepare, fill  the addresses of compiled `prepare_rows` and `fill_rows`
    values         [terms, S, N], what `pair` needs of the values
    arrays         parameters [N or 1, K] and, the last of them, weights
    steps          from one row of them to the next: 0 where all rows share one
    logarithms     whether weights are given as logarithms

    and scratch: own [parameters, T, width], factors [factors, T, width],
    tiles [2, T, width], turned [lines of weights at once, width], x [terms, S, width],
    states [S + 1, 5, width], top [width], logs [S + 1, rows at once]
    """
    wide_vectors()
    components, last, strange = arrays[0].shape[1], len(arrays) - 1, 0
    count = -(-components // LANES)
    weights, of_weights, samples = arrays[last], states[-1], out.shape[0]
    (most, width), (constant, density) = turned.shape, (tiles[0], tiles[1])
    for start in range(0, out.shape[1], width // LANES):
        size = min(width // LANES, out.shape[1] - start)
        gather(values, start, size, x)
        for r in range(width):
            top[r] = real(-np.inf)
        for begin in range(0, count, most):
            some = min(most, count - begin)
            turn(weights, steps[last], start, size, begin, some, turned)
            raise_top(turned, some, top)
        if LANES > 1:
            share_top(top)
        for begin in range(0, count, most):
            some = min(most, count - begin)
            if count > most:
                turn(weights, steps[last], start, size, begin, some, turned)
            log_weights(turned, some, top, logarithms)
            if LANES > 1 and begin + some == count:
                drop(turned, some - 1, components - (count - 1) * LANES)
            for first in range(0, some, tiles.shape[1]):
                weight = turned[first : first + tiles.shape[1]]
                part, fresh = min(tiles.shape[1], some - first), begin + first == 0
                for i in range(last):
                    turn(arrays[i], steps[i], start, size, begin + first, part, own[i])
                fold_weights(weight, part, of_weights, fresh)
                call(prepare, own, weight, factors, constant, part)
                for s in range(samples):
                    call(fill, density, x, s, factors, constant, part)
                    fold_densities(density, part, states[s], fresh)
        strange += finish(states, logs, out, start, size)
    return strange


def gather(values: Array, start: int, size: int, x: Array) -> None:
    """Rows start … of the values into x; the last stands in for those that lack."""
    wide_vectors()
    for i in range(x.shape[0]):
        for s in range(x.shape[1]):
            given, into = values[i, s], x[i, s]
            for r in range(into.shape[0] // LANES):
                value = given[start + min(r, size - 1)]
                for lane in range(LANES):
                    into[r * LANES + lane] = value


def fold_weights(tile: Array, count: int, state: Array, fresh: bool) -> None:
    """Merge weights, the largest of which is 2⁰, into each row's sum."""
    wide_vectors()
    peak, part = state[PEAK], state[PART]
    for r in range(part.shape[0]):
        peak[r] = real(0.0)
        part[r] = real(0.0)
    add_terms(tile, count, peak, part)
    merge(state, fresh)


def fold_densities(tile: Array, count: int, state: Array, fresh: bool) -> None:
    """Merge a tile into each row's sum, relative to 2^TOP, an integer power."""
    wide_vectors()
    top, peak, part = state[TOP], state[PEAK], state[PART]
    for r in range(part.shape[0]):
        peak[r] = LOWEST if fresh else top[r]
        part[r] = real(0.0)
    for j in range(count):
        y = tile[j]
        for r in range(peak.shape[0]):
            peak[r] = y[r] if y[r] > peak[r] else peak[r]
    if LANES > 1:
        share_top(peak)
    for r in range(peak.shape[0]):
        peak[r] = np.ceil(peak[r])
    add_terms(tile, count, peak, part)
    merge(state, fresh)


def add_terms(tile: Array, count: int, peak: Array, part: Array) -> None:
    """Add the powers of 2 in a tile to `part`, relative to 2^peak."""
    wide_vectors()
    for j in range(count):
        y = tile[j]
        for r in range(part.shape[0]):
            part[r] += exp2(y[r] - peak[r])


def merge(state: Array, fresh: bool) -> None:
    """PART into the sum, or in its place where there is none yet."""
    wide_vectors()
    if fresh:
        top, total, lost = state[TOP], state[TOTAL], state[LOST]
        for r in range(top.shape[0]):
            top[r] = state[PEAK, r]
            total[r] = state[PART, r]
            lost[r] = real(0.0)
    else:
        add(state)


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


def share_top(top: Array) -> None:
    """The largest of each row's columns, none of them NaN, for all of them."""
    wide_vectors()
    for r in range(0, top.shape[0], LANES):
        share_max(top, r)


def drop(weights: Array, line: int, left: int) -> None:
    """No component where a row's last line has fewer than columns."""
    for r in range(0, weights.shape[1], LANES):
        for i in range(left, LANES):
            weights[line, r + i] = real(-np.inf)


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


def finish(states: Array, logs: Array, out: Array, start: int, size: int) -> int:
    """log density less log Σ weights of each row in nats; the number of NaN."""
    wide_vectors()
    samples, strange = out.shape[0], 0
    for s in range(samples + 1):
        log2_totals(states[s], logs[s])
    weights = logs[samples]
    for s in range(samples):
        found, into = logs[s], out[s, start : start + size]
        for r in range(found.shape[0]):
            found[r] = (found[r] - weights[r]) * LN2
        for r in range(size):
            into[r] = found[r]
            strange += found[r] != found[r]
    return strange


def log2_totals(state: Array, logs: Array) -> None:
    """log2 of the sums that a state stands for."""
    wide_vectors()
    top, total, lost = state[TOP], state[TOTAL], state[LOST]
    for r in range(logs.shape[0]):
        logs[r] = row_sum(total, lost, r * LANES)
    for r in range(logs.shape[0]):
        whole, height = logs[r], top[r * LANES]
        found = np.float64(height) + log2(whole)
        # No component reaches this row.
        logs[r] = -np.inf if (height == LOWEST) & (whole == whole) else found


def row_sum(total: Array, lost: Array, r: int) -> Any:
    """The sum of a row in float64."""
    return np.float64(total[r]) + np.float64(lost[r])
