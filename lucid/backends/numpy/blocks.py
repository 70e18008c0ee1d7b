"""A call cut into blocks of rows, and one block's log densities, tile by tile.

A block's rows lie on two axes [outer, inner], values and mixtures, the longer inside,
so that NumPy's loops are long whether one mixture meets many values or many mixtures
meet one value each. Components are the leading axis of a tile.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Self

import numpy as np

from lucid.backends.numpy import prepare, program
from lucid.backends.numpy.buffers import Buffers, QuietLoops, Scratch
from lucid.backends.numpy.threads import get_num_threads, run_blocks
from lucid.backends.protocol import Array, Components

# Components a tile. A sum folds pairwise inside a tile and in float64 across tiles, so
# this decides the rounding, and may not depend on the number of rows. Where a pair is
# little work there are more, or threads would do nothing but wait for their turn.
TILE = 32
_LIGHT_TILE_BYTES = 1 << 10
# Bytes of one buffer: with its neighbours it stays in a core's second-level cache.
BUFFER_BYTES = 1 << 20
LIGHT = 8  # dimensions of values that need no room to speak of beside it
# Parameters of a block that prepares its own.
BLOCK_FACTORS = 1 << 17
# Blocks below this many rows cost more in calls than threads win.
FEWEST_ROWS = 1024
# unless each of them meets so many parameters.
WORTH_A_THREAD = 1 << 21

# Rows of a matrix product. BLAS starts threads of its own for a large one, which fight
# with ours for the cores; and with the shape of a product change the bits of its rows.
PANEL = 16
# NumPy's einsum sums fewer columns than these in another order.
COLUMNS = 16
# Bytes of the differences of some components: threads wait at each pass, so few.
_DIFFERENCE_BYTES = 1 << 20

_NO_ROWS = np.empty(0, np.int64)
_BOOL = np.dtype(bool)


def kept(
    fn: Any, components: Components, dtype: np.dtype[Any]
) -> tuple[bool, prepare.Prepared | None]:
    """Whether all values share one mixture; all components, if not too many."""

    def build() -> tuple[bool, prepare.Prepared | None]:
        operands = [*components.parameters]
        if components.weights is not None:
            operands.append(components.weights.given)
        shared = all(array.shape[0] == 1 for array in operands)
        if not shared and max(a.size for a in operands) > prepare.KEPT_ELEMENTS:
            return False, None
        return shared, prepare.prepare(fn, components, dtype)

    found: tuple[bool, Any] = components.once(("numpy", dtype), build)
    return found


class Call:
    """One evaluation: components, values [S, B, D], and how rows are cut."""

    def __init__(
        self, fn: Any, components: Components, value: Array, dtype: Any
    ) -> None:
        self.fn = fn
        self.components = components
        self.family = components.family
        self.dtype = np.dtype(dtype)
        self.shared, self._kept = kept(fn, components, self.dtype)
        if self.shared:  # every value meets the same mixture: one axis of rows
            value = value.reshape(value.shape[0] * value.shape[1], 1, value.shape[2])
        self.value = value
        self.samples, self.mixtures, event = value.shape
        light = event <= LIGHT and not self.family.family_event_ndim
        self.tile = _LIGHT_TILE_BYTES // self.dtype.itemsize if light else TILE

    def prepared(self, mixtures: slice) -> prepare.Prepared:
        """The components of these mixtures."""
        if self._kept is not None:
            return self._kept.of(mixtures)
        return prepare.prepare(self.fn, self.components, self.dtype, mixtures)

    def run(self, work: Callable[[Block], None], light: int = LIGHT) -> None:
        """`work` on every block, over threads."""
        samples, mixtures = self.block_shape(light)
        block = self._block_type
        across = -(-self.mixtures // mixtures)
        count = -(-self.samples // samples) * across

        def one(start: int, stop: int) -> None:
            with QuietLoops(), Scratch() as buffers:
                for i in range(start, stop):
                    s, b = (i // across) * samples, (i % across) * mixtures
                    rows = slice(s, s + samples), slice(b, b + mixtures)
                    work(block(self, *rows, buffers))

        run_blocks(count, 1, one)

    @property
    def _block_type(self) -> type[Block]:
        if self.family.family_event_ndim:
            return VectorBlock
        kept = self._kept
        if kept is None or kept.square is None or self.value.shape[2] < 2:
            return ScalarBlock
        return QuadraticBlock

    def block_shape(self, light: int = LIGHT) -> tuple[int, int]:
        """Values and mixtures in a block: full buffers, and work for every thread."""
        most = self.mixtures
        if self._kept is None:  # each block makes factors of its own
            sizes = (a[:1].size for a in self.components.parameters)
            most = max(1, BLOCK_FACTORS // max(self.components.count, *sizes))
        count, event = self.components.count, self.value.shape[2]
        size = self.dtype.itemsize * min(count, self.tile) * max(1, event // light)
        rows = block_rows(size, count * event, self.samples * self.mixtures)
        if self.samples < self.mixtures:
            mixtures = min(self.mixtures, rows, most)
            return max(1, min(self.samples, rows // mixtures)), mixtures
        samples = max(1, min(self.samples, rows))
        return samples, max(1, min(self.mixtures, rows // samples, most))


def block_rows(size: int, parameters: int, rows: int) -> int:
    """Rows of a block: full buffers, and work for every thread.

    A row takes `size` bytes of a buffer, and meets so many parameters.
    """
    most = BUFFER_BYTES // size
    fewest = min(FEWEST_ROWS, max(WORTH_A_THREAD // max(1, parameters), PANEL))
    share = max(1, -(-rows // get_num_threads()))
    return max(-(-share // -(-share // max(most, fewest))), fewest)


class Block(ABC):
    """Some values of some mixtures; see the module for its layout."""

    def __init__(
        self, call: Call, samples: slice, mixtures: slice, buffers: Buffers
    ) -> None:
        self.call = call
        self.buffers = buffers
        self.family = call.family
        self.samples, self.mixtures = samples, mixtures
        self.prepared = call.prepared(mixtures)
        value = call.value[samples, mixtures]  # [S, B, D]
        self._mixtures_inside = value.shape[0] < value.shape[1]
        outer, inner = sorted(value.shape[:2])
        self.shape = (outer, inner)

    @property
    def values(self) -> Array:
        """The values [S, B, D] in the dtype of the computation."""
        value = self.call.value[self.samples, self.mixtures]
        return value.astype(self.call.dtype, copy=False)

    @cached_property
    def x(self) -> Array:
        """The values, contiguous, as [D, outer, inner]."""
        order = (2, 0, 1) if self._mixtures_inside else (2, 1, 0)
        value = self.call.value[self.samples, self.mixtures]
        return np.ascontiguousarray(value.transpose(order), dtype=self.call.dtype)

    def rows(self, chosen: Array) -> Self:
        """The block of these rows of the inner axis alone."""
        part = copy.copy(self)
        for computed in ("_rows", "_program", "_columns", "_far", "_stacks"):
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
        step = self.call.tile
        for first in range(0, self.prepared.count, step):
            last = min(first + step, self.prepared.count)
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
        shape = (min(self.call.tile, self.prepared.count), *self.shape)
        buffers = self.buffers.take(self.call.dtype, *[shape] * (traced.floats + 1))
        buffers += self.buffers.take(_BOOL, *[shape] * traced.booleans)
        return traced.run, buffers


class QuadraticBlock(ScalarBlock):
    """Rows of events under one mixture of a quadratic family: Σ_d (x − μ)²·n.

    All dimensions of a component take one pass each of difference and square, and the
    sum over them a third; a dimension at a time would take four.
    """

    def _fill(self, first: int, last: int) -> Array:
        square = self.prepared.square
        if square is None:
            raise TypeError("a block of squares needs a mixture that has them")
        far, apart = self._far
        terms = None if apart is None else apart._fill(first, last)[:, 0].copy()
        (size, width), dtype = self._columns.shape, self.call.dtype
        step = max(1, _DIFFERENCE_BYTES // (dtype.itemsize * size * width))
        step = min(step, last - first)
        tile, work = self.buffers.take(
            dtype, (last - first, width), (step, size, width)
        )
        loc = self.prepared.factors[0]  # [K, D, 1]
        for k in range(first, last, step):
            some = slice(k, min(k + step, last))
            part = work[: some.stop - k]
            np.subtract(self._columns, loc[some], out=part)
            np.multiply(part, part, out=part)
            into = tile[k - first : some.stop - first]
            np.einsum("kd,kdr->kr", square[some], part, out=into)
        tile += self.prepared.constant[first:last]
        if terms is not None:
            tile[:, far] = terms
        return tile[:, None, : self.shape[1]]

    @cached_property
    def _far(self) -> tuple[Array, ScalarBlock | None]:
        """Rows whose difference from a location might not be squared, as a block."""
        most = prepare.MOST_SQUARED[self.call.dtype]
        if self.x.size and -most <= self.x.min() and self.x.max() <= most:
            return _NO_ROWS, None
        (far,) = np.nonzero(~(abs(self.x[:, 0]) <= most).all(axis=0))
        if not far.size:
            return _NO_ROWS, None
        apart = ScalarBlock(self.call, self.samples, self.mixtures, self.buffers)
        apart.x = np.ascontiguousarray(self.x[:, :, far])
        apart.shape = apart.x.shape[1:]
        return far, apart

    @cached_property
    def _columns(self) -> Array:
        """The values [D, rows], or a few more columns than there are rows."""
        x = self.x[:, 0]
        if x.shape[1] >= COLUMNS:
            return x
        return np.pad(x, ((0, 0), (0, COLUMNS - x.shape[1])))


class VectorBlock(Block):
    """Rows of a family of vectors: one component of all mixtures at a time."""

    def _fill(self, first: int, last: int) -> Array:
        (tile,) = self.buffers.take(self.call.dtype, (last - first, *self.shape))
        tile = tile[: last - first]
        stacks = self._stacks
        for k in range(first, last):
            factors = tuple(
                _against(factor[k], stacks.ndim) for factor in self.prepared.factors
            )
            pair = self.family.pair(self.call.fn, (stacks,), factors)
            pair = pair.reshape(len(stacks), -1)  # [B, S and more]
            pair = pair[:, : tile[0].size // len(stacks)]
            into = tile[k - first].T if self._mixtures_inside else tile[k - first]
            np.add(pair, self.prepared.constant[k][:, None], out=into)
        return tile

    @cached_property
    def _stacks(self) -> Array:
        """The rows of each mixture as [B, n, PANEL, D], the last padded with zeros."""
        size = self.x.shape[0]
        values = self.x if self._mixtures_inside else self.x.swapaxes(1, 2)  # [D, S, B]
        count = -(-values.shape[1] // PANEL)
        stacks = np.zeros((values.shape[2], count * PANEL, size), self.call.dtype)
        stacks[:, : values.shape[1]] = values.transpose(2, 1, 0)
        return stacks.reshape(-1, count, PANEL, size)


def _against(factor: Array, ndim: int) -> Array:
    """A component's factor […, B or 1] against stacks [B, …] of `ndim` axes."""
    moved = np.ascontiguousarray(np.moveaxis(factor, -1, 0))
    return moved.reshape(
        moved.shape[:1] + (1,) * (ndim - factor.ndim) + moved.shape[1:]
    )
