"""Mixtures of which every row has its own, by compiled loops: density networks.

The loops are in loops/rows.py. Blocks of rows are prepared in float64 and scored at
once, and nothing of them is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba import kernels, mixture
from lucid.backends.numba.loops.reduce import ROOM
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Components, Weights

# Components of a block's rows together: its arrays stay in the second-level cache.
BLOCK_COMPONENTS = 1 << 14
# Components from which on a row is scored faster than NumPy prepares it. The number of
# values decides nothing: a part of them has the bits of the whole.
MANY_COMPONENTS = 16


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> Array | None:
    """Fill `out` [S, B] from scalar values [S, B, 1]; as `mixture.log_prob`."""
    family, weights, dtype = components.family, components.weights, np.dtype(dtype)
    if family.family_event_ndim or value.shape[2] != 1 or weights is None:
        return None
    if components.count < MANY_COMPONENTS and mixture.keeps(components):
        return None  # NumPy is faster at what it has prepared
    traits = kernels.traits(family)
    terms = len(family.row(fn, np.ones(1, dtype)))
    given = _given(components.parameters, weights)
    found = kernels.rows(family, terms, len(components.parameters), given, dtype)
    if found is None or not value.size:
        return None
    prepare, fill, factors = found
    wide = np.dtype(np.float64) if traits.base_measure else dtype
    score = kernels.score_rows(given, dtype, wide)
    count = components.count
    room = max(count, ROOM)
    undecided: list[Array] = []

    def work(start: int, stop: int) -> None:
        part = slice(start, stop)
        x = kernels.operand(value[:, part, 0], dtype)  # [S, b]
        with np.errstate(all="ignore"):
            rows = x[None] if traits.row_is_value else np.stack(family.row(fn, x))
            supported, measure = family.supports(fn, x), base_measure(fn, family, x)
        parameters = np.empty((len(components.parameters), stop - start, count), given)
        for into, array in zip(parameters, components.parameters, strict=True):
            into[...] = array[0 if len(array) == 1 else part, :, 0]
        log_weights, normaliser = _log_weights(weights, part, (stop - start, count))
        log_weights = kernels.operand(log_weights, given)
        result = np.empty(x.shape, wide)
        own, scratch = np.empty((factors, count), dtype), np.empty((2, room), dtype)
        own_weights = log_weights, normaliser
        score(prepare, fill, rows, parameters, *own_weights, result, own, scratch)
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


def _given(parameters: tuple[Array, ...], weights: Weights) -> np.dtype[Any]:
    """The dtype that the loops take parameters and logarithms of weights in."""
    if weights.shift is None:  # they become logarithms in float64
        return np.dtype(np.float64)
    return np.result_type(np.float32, weights.given, *parameters)


def _log_weights(
    weights: Weights, part: slice, shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Log weights of some rows [b, K], and what the loops take off them [2, b]."""
    normaliser = np.zeros((2, shape[0]))
    if weights.shift is None:
        return np.broadcast_to(weights.log(part), shape), normaliser
    given, shift, total = (
        array if len(array) == 1 else array[part]
        for array in (weights.given, weights.shift, weights.total)
    )
    with np.errstate(all="ignore"):
        normaliser[0], normaliser[1] = shift[:, 0], np.log(total[:, 0])
    return np.broadcast_to(given, shape), normaliser
