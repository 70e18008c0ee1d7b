"""The categorical gather on the CPU: one pass over per-row logits, in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array

# Logits a block of rows holds: they are read twice, the second time from cache.
BLOCK_ELEMENTS = 1 << 16


def log_prob(logits: Array, value: Array, dtype: np.dtype[Any], out: Array) -> None:
    """Fill `out` [S, B] with log softmax(logits [B or 1, K])[value [S, B]]."""
    count = logits.shape[1]
    inside = (value >= 0) & (value < count)
    index = np.where(inside, value, 0)
    rows = logits.shape[0]

    def work(start: int, stop: int) -> None:
        block = logits[start:stop].astype(dtype, copy=False)  # [rows, K]
        mixtures = slice(start, stop) if rows > 1 else slice(None)
        with np.errstate(all="ignore"):
            top = block.max(axis=-1)
            total = np.exp(block - top[:, None]).sum(axis=-1, dtype=np.float64)
            # The difference first: a common offset cancels in it.
            picked = block[np.arange(stop - start), index[:, mixtures]] - top
            picked = picked - np.log(total)
        out[:, mixtures] = np.where(inside[:, mixtures], picked, -np.inf)

    run_blocks(rows, max(1, BLOCK_ELEMENTS // max(1, count)), work)
