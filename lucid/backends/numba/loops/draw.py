"""Draws: a row's words, the component they pick, its parameters, and one value.

Each step is a loop over a block of rows: the words and the table take scalar
instructions, the formula vectors. The formula always runs over a whole block, so that
no row's value depends on how many rows there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.draw_family import gather, own_of
from lucid.backends.numba.loops.family import pair, row_of
from lucid.backends.numba.native import wide_vectors
from lucid.backends.numba.words import wide_product
from lucid.backends.protocol import Array

# Rows of a block: its words and parameters stay in the first-level cache.
WIDTH = 256

MULTIPLIER_0 = np.uint64(0xD2E7470EE14C6C93)
MULTIPLIER_1 = np.uint64(0xCA5A826395121157)
WEYL_0, WEYL_1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)


def draw(
    key_0: Any,
    key_1: Any,
    start: Any,
    cumulative: Array,
    guide: Array,
    parameters: tuple[Array, ...],
    batch: int,
    values: Array,
    indices: Array,
    first: int,
    last: int,
) -> None:
    """Fill the rows first … last − 1 of `values` [S·B, D] and `indices` [S·B].

    cumulative, guide  as of `pick`; without tables, `indices` are there already
    parameters         each [B or 1, K, D]
    """
    words = np.zeros((3, 1, WIDTH), np.uint64)
    own = np.zeros((len(parameters), WIDTH), np.float64)
    drawn, open_ = np.empty(WIDTH, np.float64), np.empty((3, WIDTH), np.int64)
    for at in range(first, last, WIDTH):
        size = min(WIDTH, last - at)
        for d in range(values.shape[1]):
            read(words, key_0, key_1, start + np.uint64(at), np.uint64(d), size)
            if d == 0 and cumulative.shape[0] > 0:
                pick(words[0, 0], cumulative, guide, indices, at, size, open_)
            mixture = at % batch
            for r in range(size):
                gather(parameters, mixture, indices[at + r], d, own, r)
                mixture = mixture + 1 if mixture + 1 < batch else 0
            fill(words[1:], own, drawn)
            for r in range(size):
                values[at + r, d] = drawn[r]


def draw_index(
    key_0: Any,
    key_1: Any,
    start: Any,
    cumulative: Array,
    guide: Array,
    indices: Array,
    first: int,
    last: int,
) -> None:
    """Fill the rows first … last − 1 of `indices` by word 0 of each."""
    words, open_ = np.empty((3, 1, WIDTH), np.uint64), np.empty((3, WIDTH), np.int64)
    for at in range(first, last, WIDTH):
        size = min(WIDTH, last - at)
        read(words, key_0, key_1, start + np.uint64(at), np.uint64(0), size)
        pick(words[0, 0], cumulative, guide, indices, at, size, open_)


def read(
    words: Array, key_0: Any, key_1: Any, element: Any, block: Any, size: int
) -> None:
    """Words 0, 1 and 2 of attempt 0 of `size` elements from `element` on.

    Philox4x64-10 (Salmon et al. 2011).
    """
    for r in range(size):
        a, b, c, d = element + np.uint64(r), block, np.uint64(0), np.uint64(0)
        round_0, round_1 = key_0, key_1
        for _ in range(10):
            high_0, low_0 = wide_product(MULTIPLIER_0, a)
            high_1, low_1 = wide_product(MULTIPLIER_1, c)
            a, b, c, d = high_1 ^ b ^ round_0, low_1, high_0 ^ d ^ round_1, low_0
            round_0 += WEYL_0
            round_1 += WEYL_1
        words[0, 0, r], words[1, 0, r], words[2, 0, r] = a, b, c


def pick(
    words: Array,
    cumulative: Array,
    guide: Array,
    indices: Array,
    at: int,
    size: int,
    open_: Array,
) -> None:
    """The first k with cumulative[b, k] > ⌊word·T/2⁶⁴⌋, for rows at … at + size − 1.

    All rows take a step of their bisection before any takes the next, and no branch
    waits for a table's entry: so the reads of large tables overlap.

    cumulative  sums of integer weights [B, K], the last being T; row r reads r mod B
    guide       of a single table, as lucid.backends.tables says; else empty
    open_       scratch [3, WIDTH]: rows with a choice left, each row's table and choice
    """
    rows, table, left = open_
    tables, count = cumulative.shape
    buckets, shift = np.uint64(guide.shape[0]), np.uint64(64)
    for bits in range(1, 64):
        shift -= np.uint64(buckets >> np.uint64(bits) > 0)  # log₂ of the buckets
    one, b, still = np.uint64(1), at % tables, 0
    for r in range(size):
        low, high = 0, count - 1
        if buckets > 0:
            bucket = words[r] >> shift
            low = int(guide[bucket])
            last = bucket + one == buckets
            high = high if last else int(guide[bucket + one])
        indices[at + r] = low
        table[r], left[r], rows[still] = b, high - low + 1, r
        still += low < high
        b = b + 1 if b + 1 < tables else 0
    while still > 0:
        steps, still = still, 0
        for i in range(steps):
            r = rows[i]
            b, half, low = table[r], left[r] >> 1, indices[at + r]
            threshold, _ = wide_product(words[r], cumulative[b, count - 1])
            above = cumulative[b, low + half - 1] > threshold
            indices[at + r] = low if above else low + half
            left[r] -= half
            rows[still] = r
            still += left[r] > 1


def fill(words: Array, own: Array, drawn: Array) -> None:
    """One value for each row of a block, from its words 1 and 2 and its parameters."""
    wide_vectors()
    for r in range(WIDTH):
        drawn[r] = pair(row_of(words, 0, r), own_of(own, r))
