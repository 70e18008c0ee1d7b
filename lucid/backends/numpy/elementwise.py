"""The elementwise log density on the CPU, in blocks over threads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import NATS, Array, Family

# Elements a block: some temporaries of this size stay in a core's second-level cache.
BLOCK = 1 << 15
# Compiled loops take so many at a time: blocks are a multiple, where they can be.
WHOLE = 64

# A part of each axis, of an axis of length 1 all of it.
Place = tuple[slice, ...]


def log_prob(
    fn: Any,
    family: type[Family],
    value: Array,
    parameters: tuple[Array, ...],
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array:
    """The log density, operands broadcast; see the backend's protocol."""
    blocks = Blocks(value, *parameters, most=BLOCK)
    result = np.empty(blocks.shape, dtype) if out is None else out
    target = result.reshape(blocks.axes)

    def work(start: int, stop: int) -> None:
        for i in range(start, stop):
            place = blocks.place(i)
            target[place] = block(fn, family, *blocks.parts(place), dtype=dtype)

    run_blocks(blocks.count, 1, work)
    return result


class Blocks:
    """Arrays that broadcast together, cut into blocks: a range of one axis.

    shape  what they broadcast to
    axes   the same elements on the axes that are cut; a single one, where that may be
    count  the number of blocks, each of at most `most` elements
    """

    def __init__(self, *arrays: Array, most: int) -> None:
        shape = arrays[0].shape
        flat = all(_is_flat(array, shape) for array in arrays)
        if not flat:
            shape = np.broadcast_shapes(*(array.shape for array in arrays))
            flat = all(_is_flat(array, shape) for array in arrays)
        self.shape = shape
        if flat:
            self.axes: tuple[int, ...] = (math.prod(shape),)
            self._arrays = [array.reshape(-1) for array in arrays]
        else:
            self.axes, ones = shape, (1,) * len(shape)
            self._arrays = [
                array.reshape((*ones, *array.shape)[-len(shape) :]) for array in arrays
            ]
        inner = [math.prod(self.axes[i + 1 :]) for i in range(len(self.axes))]
        self._cut = next(i for i, size in enumerate(inner) if size <= max(1, most))
        rows = max(1, most // max(1, inner[self._cut]))
        self._rows = rows - rows % WHOLE if rows > WHOLE else rows
        self._across = -(-self.axes[self._cut] // self._rows)
        self.count = math.prod(self.axes[: self._cut]) * self._across

    def place(self, i: int) -> Place:
        """Where block i lies on `axes`."""
        outer, k = divmod(i, self._across)
        found = [slice(k * self._rows, (k + 1) * self._rows)]
        for size in reversed(self.axes[: self._cut]):
            outer, at = divmod(outer, size)
            found.append(slice(at, at + 1))
        return tuple(reversed(found))

    def parts(self, place: Place) -> list[Array]:
        """What each array has there."""
        return [_part(array, place) for array in self._arrays]

    def repeats(self, array: int) -> bool:
        """Whether every block has the same part of an array."""
        return all(size == 1 for size in self._arrays[array].shape[: self._cut + 1])


def _part(array: Array, place: Place) -> Array:
    return array[
        tuple(
            slice(None) if size == 1 else at
            for size, at in zip(array.shape, place, strict=False)
        )
    ]


def _is_flat(array: Array, shape: tuple[int, ...]) -> bool:
    """Whether one axis can stand for all of `shape`, without a copy."""
    if array.shape == shape:
        return bool(array.flags.c_contiguous)
    return bool(array.size == 1 and array.ndim <= len(shape))


def block(
    fn: Any,
    family: type[Family],
    value: Array,
    *parameters: Array,
    dtype: np.dtype[Any],
) -> Array:
    """The log density of one block at once."""
    with np.errstate(all="ignore"):
        x = value.astype(dtype, copy=False)
        *factors, constant = prepare(fn, family, parameters, dtype)
        result = family.pair(fn, family.row(fn, x), tuple(factors)) + constant
        missing = np.isnan(x)
        strange = np.isnan(result) & ~missing
        if strange.any():  # ∞ · 0 from a difference that overflowed: numpy/blocks.py
            poisoned = sum(np.isnan(array) for array in (*factors, constant)) > 0
            result = np.where(strange & ~poisoned, -np.inf, result)
        measure = base_measure(fn, family, x)
        if measure is not None:
            result = result + measure
        supported = family.supports(fn, x)
        if supported is None:
            return result
        return np.where(supported, result, np.where(missing, np.nan, -np.inf))


def prepare(
    fn: Any, family: type[Family], parameters: Sequence[Array], dtype: np.dtype[Any]
) -> list[Array]:
    """Factors and constant in nats, computed in float64 and rounded once."""
    prepared = family.prepare(fn, NATS, *(p.astype(np.float64) for p in parameters))
    return [np.asarray(array, dtype) for array in prepared]
