"""The categorical gather on the CPU: one pass over per-row logits, in blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.backends.numpy.buffers import Scratch
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array

# Logits a block of rows holds: they are read twice, the second time from cache.
BLOCK_ELEMENTS = 1 << 16


# Values looked up at once, whose places stay in a core's second-level cache; and
# those that a thread takes at a time.
_LOOKUP, _SHARE = 1 << 15, 1 << 18


def log_prob(logits: Array, value: Array, dtype: np.dtype[Any], out: Array) -> None:
    """Fill `out` [S, B] with log softmax(logits [B or 1, K])[value [S, B]]."""
    count = logits.shape[1]
    inside = (value >= 0) & (value < count)
    index = np.where(inside, value, 0)
    rows = logits.shape[0]

    def work(start: int, stop: int) -> None:
        block = logits[start:stop].astype(dtype, copy=False)  # [rows, K]
        mixtures = slice(start, stop) if rows > 1 else slice(None)
        each = np.arange(stop - start)
        with np.errstate(all="ignore"), Scratch() as buffers:
            (terms,) = buffers.take(block.dtype, block.shape)
            top = block[each, block.argmax(axis=-1)]  # of short rows faster than max
            np.subtract(block, top[:, None], out=terms)
            np.exp(terms, out=terms)
            total = terms.sum(axis=-1).astype(np.float64)  # by halves along a row
            # The difference first: a common offset cancels in it.
            picked = block[each, index[:, mixtures]] - top
            picked = picked - np.log(total)
        out[:, mixtures] = np.where(inside[:, mixtures], picked, -np.inf)

    run_blocks(rows, max(1, BLOCK_ELEMENTS // max(1, count)), work)


def lookup(table: Array, value: Array, out: Array) -> None:
    """Fill `out` with table[value + 1]; NaN, or an end of the table, for no such index.

    The ends stand for what is below and above: a place is only clipped to the table.
    """
    if value.flags.c_contiguous:
        value, out = value.reshape(-1), out.reshape(-1)
    width = math.prod(value.shape[1:])  # of a row
    step, share = (max(1, size // max(1, width)) for size in (_LOOKUP, _SHARE))

    def work(start: int, stop: int) -> None:
        places = np.empty(min(step, stop - start) * width, np.int64)
        with np.errstate(all="ignore"):
            for first in range(start, stop, step):
                rows = slice(first, min(first + step, stop))
                given, result = value[rows].reshape(-1), out[rows].reshape(-1)
                place = _places(given, places[: given.size])
                np.take(table, place, out=result, mode="clip")
                if given.dtype.kind == "f":
                    np.copyto(result, np.nan, where=np.isnan(given))

    run_blocks(len(value), share, work)


def _places(value: Array, into: Array) -> Array:
    """value + 1 in `into`, 0 for what is no integer; below 0 or high for any other."""
    if value.dtype.kind == "f":
        np.copyto(into, value, casting="unsafe")
        whole = into == value
        into += 1
        into *= whole
        return into
    # Beyond int64 a value wraps to one below 0, and the highest of all to 0.
    return np.add(value, 1, out=into, dtype=np.int64)
