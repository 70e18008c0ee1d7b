"""The categorical gather, compiled: one pass over logits or values, in blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from lucid.backends.numba import kernels
from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.source import compose
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array

# Logits of a part of a row, which stay in a core's first-level cache; their sum in the
# dtype itself loses next to nothing.
_TERMS = 1024
# Logits, and values looked up, that a thread takes at once: what Python does between
# two blocks takes some microseconds, and threads wait for each other in it.
BLOCK, SHARE = 1 << 19, 1 << 18
# Values that are worth a loop of their own.
MANY = 1 << 15


def log_prob(logits: Array, value: Array, dtype: np.dtype[Any], out: Array) -> None:
    """Fill `out` [S, B] with log softmax(logits [B, K])[value [S, B]]."""
    rows, count = logits.shape
    given = logits.dtype if logits.dtype.itemsize <= dtype.itemsize else dtype
    given = np.result_type(given, np.float32)  # half precision has no loops
    loop = _loop(given, dtype)
    index = kernels.operand(value, np.dtype(np.int64))

    def work(start: int, stop: int) -> None:
        block = kernels.operand(logits[start:stop], given)
        loop(block, index, start, out, np.empty(_TERMS, dtype))

    run_blocks(rows, max(1, BLOCK // max(1, count)), work)


def lookup(table: Array, value: Array, out: Array) -> bool:
    """Fill `out` with table[value + 1], as in NumPy; False where that is better."""
    kind, size = value.dtype.kind, value.dtype.itemsize
    known = size in (4, 8) if kind == "f" else kind == "i" or (kind == "u" and size < 8)
    if value.size < MANY or not known or not value.dtype.isnative:
        return False
    if table.dtype != out.dtype or table.dtype.itemsize not in (4, 8):
        return False
    if not all(a.flags.c_contiguous and a.flags.aligned for a in (value, out, table)):
        return False
    loop = _lookup(table.dtype, value.dtype)
    value, out = value.reshape(-1), out.reshape(-1)

    def work(start: int, stop: int) -> None:
        loop(table, value[start:stop], out[start:stop])

    run_blocks(value.size, SHARE, work)
    return True


@functools.cache
def _lookup(dtype: np.dtype[Any], given: np.dtype[Any]) -> Callable[..., None]:
    """`lookup` of loops/lookup.py for values of the dtype `given`."""
    real = getattr(types, dtype.name)
    signature = types.void(
        types.Array(real, 1, "C", readonly=True),
        types.Array(getattr(types, given.name), 1, "C", readonly=True),
        types.Array(real, 1, "C"),
    )
    integer = [] if given.kind == "f" else ["lookup_integer"]
    return compiled(compose("lookup", *integer), "lookup", signature)


@functools.cache
def _loop(given: np.dtype[Any], dtype: np.dtype[Any]) -> Callable[..., None]:
    """`categorical` of loops/categorical.py for logits of the dtype `given`."""
    real = getattr(types, dtype.name)
    signature = types.void(
        types.Array(getattr(types, given.name), 2, "C", readonly=True),
        types.Array(types.int64, 2, "C", readonly=True),
        types.int64,
        types.Array(real, 2, "C"),
        types.Array(real, 1, "C"),
    )
    text = compose(dtype.name, "arithmetic", "mixture", "reduce", "categorical")
    return compiled(text, "categorical", signature)
