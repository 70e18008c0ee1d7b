"""Mixtures of which every row has its own, by compiled loops: density networks.

The loops are in loops/rows.py. They read parameters where they are and keep nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba import kernels
from lucid.backends.numba.native import VECTOR
from lucid.backends.numba.scoring import STATES, TILE
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Components

# Components from which on a row takes VECTOR columns and not one, by bytes of a number:
# nothing is turned then, but a row takes longer to begin and to end.
LONG = {4: 32, 8: 64}
# Columns that stand side by side, of rows of one each and of VECTOR: always so many, as
# in `scoring.ROWS_MULTIPLE`. And lines of weights that are read at once: once only,
# where a row has no more.
WIDTH, LONG_WIDTH = 64, 512
WEIGHTS, LONG_WEIGHTS = 256, 64
# Values of each row that are scored before its components are turned once more.
SAMPLES = 16
# Components of all rows that a thread takes at once.
BLOCK_COMPONENTS = 1 << 17


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> Array | None:
    """Fill `out` [S, B] from scalar values [S, B, 1]; as `mixture.log_prob`."""
    family, weights, dtype = components.family, components.weights, np.dtype(dtype)
    if family.family_event_ndim or value.shape[2] != 1 or weights is None:
        return None
    traits = kernels.traits(family)
    terms = len(family.row(fn, np.ones(1, dtype)))
    arrays = *(array[:, :, 0] for array in components.parameters), weights.given
    loops = kernels.rows(family, terms, len(arrays) - 1, dtype)
    if loops is None or not value.size:
        return None
    given = np.result_type(np.float32, *arrays)
    wide = np.dtype(np.float64) if traits.base_measure else dtype
    long = components.count >= LONG[dtype.itemsize]
    lanes, width, most = 1, WIDTH, WEIGHTS
    if long:
        lanes, width, most = VECTOR, LONG_WIDTH, LONG_WEIGHTS
    score = kernels.score_rows(len(arrays) - 1, given, loops.wide, dtype, wide, long)
    steps = tuple(int(len(array) > 1) for array in arrays)
    samples, rows = value.shape[:2]
    lines = -(-components.count // (lanes * TILE)) * TILE
    undecided: list[Array] = []

    def work(first: int, start: int, stop: int) -> None:
        part, some = slice(start, stop), slice(first, first + SAMPLES)
        x = kernels.operand(value[some, part, 0], dtype)  # [s, b]
        with np.errstate(all="ignore"):
            values = x[None] if traits.row_is_value else np.stack(family.row(fn, x))
            supported, measure = family.supports(fn, x), base_measure(fn, family, x)
        result = np.empty(x.shape, wide)
        own = [
            kernels.operand(array[part] if step else array, given)
            for array, step in zip(arrays, steps, strict=True)
        ]
        scratch = (
            np.empty((len(arrays) - 1, TILE, width), loops.wide),
            np.empty((loops.factors, TILE, width), dtype),
            np.empty((2, TILE, width), dtype),
            np.empty((min(lines, most), width), dtype),
            np.empty((terms, len(x), width), dtype),
            np.empty((len(x) + 1, STATES, width), dtype),
            np.empty(width, dtype),
            np.empty((len(x) + 1, width // lanes)),
        )
        addresses = loops.prepare, loops.fill
        logarithms = weights.logarithms
        strange = score(
            *addresses, values, tuple(own), steps, logarithms, result, *scratch
        )
        if measure is not None:
            result += measure
        if supported is not None:
            outside = np.where(np.isnan(x), np.nan, -np.inf)
            result = np.where(supported, result, outside)
        np.copyto(out[some, part], result, "same_kind")
        if strange:
            s, b = np.nonzero(np.isnan(result) & ~np.isnan(x))
            undecided.append((first + s) * rows + start + b)

    together = width // lanes
    block = max(1, BLOCK_COMPONENTS // components.count // together) * together
    across = -(-rows // block)

    def turns(begin: int, end: int) -> None:
        for i in range(begin, end):
            start = (i % across) * block
            work(i // across * SAMPLES, start, min(start + block, rows))

    run_blocks(across * -(-samples // SAMPLES), 1, turns)
    return np.concatenate(undecided) if undecided else np.empty(0, np.int64)
