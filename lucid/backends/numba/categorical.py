"""The categorical gather, compiled: one pass over per-row logits, in blocks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from lucid.backends.numba import kernels
from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.source import compose
from lucid.backends.numpy import categorical as in_numpy
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array

# Logits of a part of a row, which stay in a core's first-level cache; their sum in the
# dtype itself loses next to nothing.
_TERMS = 1024


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

    run_blocks(rows, max(1, in_numpy.BLOCK_ELEMENTS // max(1, count)), work)


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
