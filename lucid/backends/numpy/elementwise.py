"""The elementwise log density on the CPU, in blocks over threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import NATS, Array, Family

# Elements a block: some temporaries of this size stay in a core's second-level cache.
BLOCK = 1 << 15


def log_prob(
    fn: Any,
    family: type[Family],
    value: Array,
    parameters: tuple[Array, ...],
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    """The log density, operands broadcast; see the backend's protocol."""
    shape = np.broadcast_shapes(value.shape, *(p.shape for p in parameters))
    if out is None:
        out = np.empty(shape, dtype)
    operands = [value, *parameters]
    if all(_is_flat(array, shape) for array in operands):
        operands = [array.reshape(-1) for array in operands]
        flat = out.reshape(-1)
    else:
        lead = next((i for i, size in enumerate(shape) if size != 1), len(shape) - 1)
        flat = out.reshape(shape[lead:])
        ones = (1,) * len(shape)
        aligned = [(*ones, *array.shape)[-len(shape) + lead :] for array in operands]
        operands = [a.reshape(s) for a, s in zip(operands, aligned, strict=True)]
    rows = flat.shape[0]

    def work(start: int, stop: int) -> None:
        part = [a if a.shape[0] == 1 else a[start:stop] for a in operands]
        with np.errstate(all="ignore"):
            flat[start:stop] = _block(fn, family, part[0], tuple(part[1:]), dtype)

    run_blocks(rows, max(1, BLOCK // max(1, math.prod(flat.shape[1:]))), work)
    return out


def _is_flat(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether one axis can stand for all of `shape`, without a copy."""
    whole = array.shape == shape and array.flags.c_contiguous
    return bool(whole) or array.size == 1


def _block(
    fn: Any,
    family: type[Family],
    value: Array,
    parameters: tuple[Array, ...],
    dtype: np.dtype[Any],
) -> Array:
    x = value.astype(dtype, copy=False)
    prepared = family.prepare(fn, NATS, *(p.astype(np.float64) for p in parameters))
    *factors, constant = (array.astype(dtype, copy=False) for array in prepared)
    result = family.pair(fn, family.row(fn, x), tuple(factors)) + constant
    missing = np.isnan(x)
    strange = np.isnan(result) & ~missing
    if strange.any():  # ∞ · 0 from a difference that overflowed: see numpy/blocks.py
        poisoned = sum(np.isnan(array) for array in (*factors, constant)) > 0
        result = np.where(strange & ~poisoned, -np.inf, result)
    measure = base_measure(fn, family, x)
    if measure is not None:
        result = result + measure
    supported = family.supports(fn, x)
    if supported is None:
        return result
    return np.where(supported, result, np.where(missing, np.nan, -np.inf))
