"""Mixtures of which every row has its own, by compiled loops: density networks.

The loops are in loops/rows.py. Blocks of rows are copied to float64, prepared and
scored at once, and nothing of them is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba import kernels
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Components

# Components of a block's rows together: its arrays stay in the second-level cache.
BLOCK_COMPONENTS = 1 << 14


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> Array | None:
    """Fill `out` [S, B] from scalar values [S, B, 1]; as `mixture.log_prob`."""
    family, weights, dtype = components.family, components.weights, np.dtype(dtype)
    if family.family_event_ndim or value.shape[2] != 1 or weights is None:
        return None
    traits = kernels.traits(family)
    terms = len(family.row(fn, np.ones(1, dtype)))
    found = kernels.rows(family, terms, len(components.parameters), dtype)
    if found is None or not value.size:
        return None
    prepare, fill, factors = found
    wide = np.dtype(np.float64) if traits.base_measure else dtype
    score = kernels.score_rows(dtype, wide)
    count = components.count
    undecided: list[Array] = []

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        x = np.ascontiguousarray(value[:, part, 0], dtype=dtype)  # [S, b]
        with np.errstate(all="ignore"):
            rows = x[None] if traits.row_is_value else np.stack(family.row(fn, x))
            supported, measure = family.supports(fn, x), base_measure(fn, family, x)
        parameters = np.empty((len(components.parameters), stop - start, count))
        for into, array in zip(parameters, components.parameters, strict=True):
            into[...] = array[0 if len(array) == 1 else part, :, 0]
        log_weights = np.empty((stop - start, count))
        log_weights[...] = weights.log(part)
        result = np.empty(x.shape, wide)
        own, scratch = np.empty((factors, count), dtype), np.empty((3, count), dtype)
        score(prepare, fill, rows, parameters, log_weights, result, own, scratch)
        if measure is not None:
            result += measure
        missing = np.isnan(x)
        strange = np.isnan(result) & ~missing
        if supported is not None:
            outside = np.where(missing, np.nan, -np.inf)
            result = np.where(supported, result, outside)
            strange &= supported
        np.copyto(out[:, part], result, "same_kind")
        if strange.any():
            s, b = np.nonzero(strange)
            undecided.append(s * value.shape[1] + start + b)

    run_blocks(value.shape[1], max(1, BLOCK_COMPONENTS // count), work)
    return np.concatenate(undecided) if undecided else np.empty(0, np.int64)
