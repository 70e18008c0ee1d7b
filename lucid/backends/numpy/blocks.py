"""A call cut into blocks of rows, and one block's log densities, tile by tile.

A block's rows lie on two axes [outer, inner], values and mixtures, the longer inside,
so that NumPy's loops are long whether one mixture meets many values or many mixtures
meet one value each. Components are the leading axis of a tile.
"""

from __future__ import annotations

import contextlib
import copy
import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np

from lucid.backends.numpy import prepare, program
from lucid.backends.numpy.threads import get_num_threads, run_blocks
from lucid.backends.protocol import Array, Components

# Components a tile. A sum folds pairwise inside a tile and in float64 across tiles, so
# this decides the rounding, and may not depend on the number of rows.
TILE = 32
# Bytes of one buffer: with its neighbours it stays in a core's second-level cache.
BUFFER_BYTES = 1 << 20
# Parameters of a block that prepares its own.
BLOCK_FACTORS = 1 << 18
# Blocks below this many rows cost more in calls than threads win.
FEWEST_ROWS = 1024

# Rows of a matrix product. BLAS starts threads of its own for a large one, which fight
# with ours for the cores; and with the shape of a product change the bits of its rows.
PANEL = 16
# Elements of NumPy's own buffer, no more than the shortest inner loop that matters.
UFUNC_BUFFER = 1024

# Bits within which the highest constant of a mixture lets sums go without a shift.
RANGE = {np.dtype(np.float32): (-60.0, 90.0), np.dtype(np.float64): (-600.0, 900.0)}

_local = threading.local()


class Call:
    """One evaluation: components, values [S, B, D], and how rows are cut."""

    def __init__(
        self, fn: Any, components: Components, value: Array, dtype: Any
    ) -> None:
        self.fn = fn
        self.components = components
        self.family = components.family
        self.dtype = np.dtype(dtype)
        operands = [*components.parameters]
        if components.weights is not None:
            operands.append(components.weights.given)
        self.shared = all(array.shape[0] == 1 for array in operands)
        if self.shared:  # every value meets the same mixture: one axis of rows
            value = value.reshape(value.shape[0] * value.shape[1], 1, value.shape[2])
        self.value = value
        self.samples, self.mixtures = value.shape[:2]
        few = max(array.size for array in operands) <= prepare.KEPT_ELEMENTS
        self._kept = self._prepare_once() if self.shared or few else None

    def _prepare_once(self) -> prepare.Prepared:
        kept: prepare.Prepared = self.components.once(
            ("numpy", self.dtype),
            lambda: prepare.prepare(self.fn, self.components, self.dtype),
        )
        return kept

    def prepared(self, mixtures: slice) -> prepare.Prepared:
        """The components of these mixtures."""
        if self._kept is not None:
            return self._kept.of(mixtures)
        return prepare.prepare(self.fn, self.components, self.dtype, mixtures)

    def run(self, work: Callable[[Block], None]) -> None:
        """`work` on every block, over threads."""
        samples, mixtures = self._block_shape()
        block = VectorBlock if self.family.family_event_ndim else ScalarBlock
        across = -(-self.mixtures // mixtures)
        count = -(-self.samples // samples) * across

        def one(start: int, stop: int) -> None:
            with quiet_loops(), _scratch() as buffers:
                for i in range(start, stop):
                    s, b = (i // across) * samples, (i % across) * mixtures
                    rows = slice(s, s + samples), slice(b, b + mixtures)
                    work(block(self, *rows, buffers))

        run_blocks(count, 1, one)

    def _block_shape(self) -> tuple[int, int]:
        """Values and mixtures in a block: full buffers, and work for every thread."""
        tile = min(self.components.count, TILE)
        rows = BUFFER_BYTES // (self.dtype.itemsize * tile)
        rows //= max(1, self.value.shape[2] // 8)  # the rows themselves need room too
        most = self.mixtures
        if self._kept is None:  # each block makes factors of its own
            sizes = (a[:1].size for a in self.components.parameters)
            most = max(1, BLOCK_FACTORS // max(self.components.count, *sizes))
        share = max(1, -(-self.samples * self.mixtures // get_num_threads()))
        rows = -(-share // -(-share // max(rows, FEWEST_ROWS)))
        rows = max(rows, FEWEST_ROWS)
        if self.samples < self.mixtures:
            mixtures = min(self.mixtures, rows, most)
            return max(1, min(self.samples, rows // mixtures)), mixtures
        samples = max(1, min(self.samples, rows))
        return samples, max(1, min(self.mixtures, rows // samples, most))


class Block(ABC):
    """Some values of some mixtures; see the module for its layout."""

    def __init__(
        self, call: Call, samples: slice, mixtures: slice, buffers: dict[str, Array]
    ) -> None:
        self.call = call
        self.buffers = buffers
        self.family = call.family
        self.samples, self.mixtures = samples, mixtures
        self.prepared = call.prepared(mixtures)
        value = call.value[samples, mixtures]  # [S, B, D]
        self._mixtures_inside = value.shape[0] < value.shape[1]
        order = (2, 0, 1) if self._mixtures_inside else (2, 1, 0)
        self.x = np.ascontiguousarray(value.transpose(order), dtype=call.dtype)
        self.shape = self.x.shape[1:]  # [outer, inner]

    @property
    def in_range(self) -> bool:
        """Whether densities are likely to need no shift by their maximum.

        So it is for scalar events of one mixture whose peaks are of moderate height:
        2^y then neither overflows nor, but far in the tails, underflows.
        """
        if self.x.shape[0] != 1 or not self.call.shared:
            return False
        low, high = RANGE[self.call.dtype]
        return low <= self.prepared.peak <= high

    def rows(self, chosen: Array) -> Self:
        """The block of these rows of the inner axis alone."""
        part = copy.copy(self)
        for computed in ("_rows", "_program", "_stacks"):
            part.__dict__.pop(computed, None)
        part.x = np.ascontiguousarray(self.x[:, :, chosen])
        part.shape = part.x.shape[1:]
        return part

    def of(self, result: Array) -> Array:
        """This block's part of an array [S, B], laid out as the block is."""
        part = result[self.samples, self.mixtures]
        return part if self._mixtures_inside else part.T

    def tiles(self, careful: bool = False) -> Iterator[tuple[int, Array]]:
        """(first component, log densities [components, outer, inner]), tile by tile.

        In the prepared unit and without the base measure; the array is reused. A NaN
        that neither a value nor a parameter explains (∞ · 0, of a component that does
        not exist or a difference that overflows) is −∞ when `careful`.
        """
        for first in range(0, self.prepared.count, TILE):
            last = min(first + TILE, self.prepared.count)
            tile = self._fill(first, last)
            if careful:
                explained = np.isnan(self.x).any(axis=0) | self._spread(
                    self.prepared.poisoned[first:last]
                )
                tile[np.isnan(tile) & ~explained] = -np.inf
            yield first, tile

    @abstractmethod
    def _fill(self, first: int, last: int) -> Array:
        """The tile of components first … last − 1, in a buffer."""

    def _spread(self, array: Array) -> Array:
        """[K, mixtures or 1] against the block's [outer, inner]."""
        return array[:, None, :] if self._mixtures_inside else array[:, :, None]

    def _buffers(
        self, dtype: np.dtype[Any], count: int, shape: tuple[int, ...]
    ) -> list[Array]:
        """`count` buffers that the thread uses again for every block."""
        size, found = math.prod(shape), []
        for i in range(count):
            flat = self.buffers.get(f"{dtype.str}{i}")
            if flat is None or flat.size < size:
                flat = self.buffers[f"{dtype.str}{i}"] = np.empty(size, dtype)
            found.append(flat[:size].reshape(shape))
        return found


class ScalarBlock(Block):
    """Rows of a scalar family: its pairs, summed over the event's elements."""

    def _fill(self, first: int, last: int) -> Array:
        run, buffers = self._program
        spare, result, *rest = (buffer[: last - first] for buffer in buffers)
        base = self._spread(self.prepared.constant[first:last])
        if self.x.shape[0] == 0:  # the empty event has only the constant, 0
            result[...] = base
        for d in range(self.x.shape[0]):
            operands = [term[d] for term in self._rows]
            operands += [
                self._spread(factor[first:last, d]) for factor in self.prepared.factors
            ]
            # The sum so far is an operand, so the next one goes elsewhere.
            result, spare = spare, result
            run([*operands, base], [result, *rest])
            base = result
        return result

    @cached_property
    def _rows(self) -> tuple[Array, ...]:
        return self.family.row(self.call.fn, self.x)

    @cached_property
    def _program(self) -> tuple[Callable[..., None], list[Array]]:
        traced = program.trace(self.family, len(self._rows), len(self.prepared.factors))
        shape = (min(TILE, self.prepared.count), *self.shape)
        buffers = self._buffers(self.call.dtype, traced.floats + 1, shape)
        buffers += self._buffers(np.dtype(bool), traced.booleans, shape)
        return traced.run, buffers


class VectorBlock(Block):
    """Rows of a family of vectors: one component and one mixture at a time."""

    def _fill(self, first: int, last: int) -> Array:
        (tile,) = self._buffers(self.call.dtype, 1, (TILE, *self.shape))
        tile = tile[: last - first]
        for b, stack in enumerate(self._stacks):
            into = tile[:, :, b] if self._mixtures_inside else tile[:, b]  # [K, S]
            constant = self.prepared.constant[:, min(b, self._sets - 1)]
            for k in range(first, last):
                factors = tuple(
                    factor[k, ..., min(b, factor.shape[-1] - 1)]
                    for factor in self.prepared.factors
                )
                pair = self.family.pair(self.call.fn, (stack,), factors).reshape(-1)
                into[k - first] = pair[: into.shape[1]] + constant[k]
        return tile

    @property
    def _sets(self) -> int:
        return int(self.prepared.constant.shape[1])

    @cached_property
    def _stacks(self) -> list[Array]:
        """The rows of each mixture as [n, PANEL, D], the last padded with zeros."""
        size = self.x.shape[0]
        values = self.x if self._mixtures_inside else self.x.swapaxes(1, 2)  # [D, S, B]
        count = -(-values.shape[1] // PANEL)
        stacks = np.zeros((values.shape[2], count * PANEL, size), self.call.dtype)
        stacks[:, : values.shape[1]] = values.transpose(2, 1, 0)
        return list(stacks.reshape(-1, count, PANEL, size))


@contextlib.contextmanager
def quiet_loops() -> Iterator[None]:
    """No warnings, and no copies of broadcast operands.

    NumPy copies a broadcast operand into its buffer where the inner loop is shorter
    than that buffer, which makes such a pass three times as long: a small buffer stops
    it. Both settings belong to this thread.
    """
    with np.errstate(all="ignore"):
        before = np.setbufsize(UFUNC_BUFFER)
        try:
            yield
        finally:
            np.setbufsize(before)


@contextlib.contextmanager
def _scratch() -> Iterator[dict[str, Array]]:
    """This thread's buffers, checked out.

    A call inside the call, from a signal handler or a finaliser, finds none and makes
    its own.
    """
    buffers = _local.__dict__.pop("buffers", {})
    try:
        yield buffers
    finally:
        _local.buffers = buffers
