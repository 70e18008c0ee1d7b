"""Rows of values under one mixture, cut into blocks over threads."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lucid.backends.numba import kernels
from lucid.backends.numba.loops import float32, float64
from lucid.backends.numba.screen import Screen
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Family

# Components a tile: they decide the rounding, so they depend on nothing.
TILE = 16
# Rows that a thread takes at once, at least; of rows that meet so many elements of
# components fewer will do. Rows of a block as a multiple, which keeps each of them in
# the main body of vectorised loops, whose remainder might round another way: loops of
# long bodies take fewer at once. And bytes of one number of each row, at most: beside a
# tile, which fills a good part of the first-level cache, and without.
ROWS, HEAVY_ROW = 256, 1 << 15
ROWS_MULTIPLE, PLAIN_ROWS_MULTIPLE = 64, 16
LINE_BYTES, PLAIN_LINE_BYTES = 1 << 11, 1 << 12
# Bytes of a block of rows, at most: it stays in the second-level cache.
BLOCK_BYTES = 1 << 18
# Elements of values that a screen leaves, gathered at once.
LEFT_ELEMENTS = 1 << 20
# Pairs that a thread takes at once, and rows where NumPy computes on them before.
WORK_PAIRS = 1 << 20
PREPARED_ROWS = 1 << 13
# Bits of a constant, at most, for exponents that adding a rounder makes integers.
MOST_SHIFT = 2.0**20
# Bits of the terms of sums without a maximum: of the largest, with room above it for
# more of them; of the least that is not denormal; of ∞; of the rounding unit and a
# little more. And what rounds y in `exp2`.
_RANGE = {
    np.dtype(np.float32): (96, -125, 128, 26, float(float32.ROUNDER)),
    np.dtype(np.float64): (960, -1021, 1024, 55, float(float64.ROUNDER)),
}
# Rows of what loops keep of a row of values, and bytes that vectors are aligned to.
STATES, PLAIN_STATES, ALIGNMENT = 5, 3, 64

_NONE = np.empty(0, np.int64)
_local = threading.local()


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """One mixture of K components as the compiled loops take it.

    loops              what `kernels.fill` and `kernels.add_terms` make loops for
    factors, constant  [K, D, factors] and [K], of the computation's dtype
    limits             see loops/limits.py; None where sums need a maximum
    kept               the original index of each component, where some were left out
    scale              nats in the unit of the constant
    screen             what leaves out components that cannot matter, where it pays
    """

    loops: tuple[type[Family], int, int, np.dtype[Any], int]
    factors: Array
    constant: Array
    limits: Array | None
    kept: Array | None
    scale: float
    screen: Screen | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The computation's dtype."""
        return self.loops[3]


def limits_of(constant: Array) -> Array | None:
    """The limits of sums with these constants; None where they need a maximum."""
    peak, dtype = float(constant.max()), constant.dtype
    if not abs(peak) <= MOST_SHIFT:
        return None
    highest, lowest, infinite, rounding, rounder = _RANGE[dtype]
    shift = highest - math.ceil(peak)
    trusted = len(constant) * 2.0 ** (lowest + rounding)
    found = lowest - shift, infinite - shift, rounder + shift, shift, trusted
    return np.array(found, dtype)


class Rows(ABC):
    """Values [N, D] under one mixture, to be scored one way or another."""

    def __init__(
        self,
        fn: Any,
        family: type[Family],
        mixture: Mixture,
        values: Array,
        *targets: Array,
    ) -> None:
        self.fn, self.family, self.mixture, self.values = fn, family, mixture, values
        self.targets = targets
        self.traits = kernels.traits(family)
        self._undecided: list[Array] = []

    def run(self) -> Array:
        """Score every row; the numbers of those that remain undecided."""
        if self.mixture.screen is not None:
            return self._screened(self.mixture.screen)
        count, size = self.values.shape
        elements = max(1, len(self.mixture.constant) * size)
        fewest = ROWS if elements < HEAVY_ROW else ROWS_MULTIPLE
        block = WORK_PAIRS // elements
        block = max(block - block % fewest, fewest)
        if not self.traits.row_is_value:
            block = min(block, PREPARED_ROWS)
        if count <= block:
            self._work(0, count)
        else:
            run_blocks(count, block, self._work)
        return self.rest()

    def rest(self) -> Array:
        """The numbers of the rows that were found undecided."""
        return np.concatenate(self._undecided) if self._undecided else _NONE

    def _work(self, start: int, stop: int) -> None:
        x = kernels.operand(self.values[start:stop], self.mixture.dtype)
        if self.traits.row_is_value:
            rows = x[None]
        else:
            with np.errstate(all="ignore"):
                rows = np.stack(self.family.row(self.fn, x))
        self.score(slice(start, stop), x, rows)

    def _screened(self, screen: Screen) -> Array:
        """As `run`, through a screen and, where it decides nothing, without."""
        left = []

        def work(start: int, stop: int) -> None:
            part = slice(start, stop)
            x = kernels.operand(self.values[part], self.mixture.dtype)
            best, (top, total, _) = screen.sums(x)
            with np.errstate(all="ignore"):  # a row that is left has no sum
                self.summed(part, best, top, total)
            left.append(start + np.flatnonzero(np.isnan(top)))

        run_blocks(len(self.values), screen.rows, work)
        rows = np.sort(np.concatenate(left))
        mixture, undecided = replace(self.mixture, screen=None), [_NONE]
        step = max(1, LEFT_ELEMENTS // self.values.shape[1])
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            found = [np.empty(len(some), target.dtype) for target in self.targets]
            again = type(self)(self.fn, self.family, mixture, self.values[some], *found)
            undecided.append(some[again.run()])
            for target, own in zip(self.targets, found, strict=True):
                target[some] = own
        return np.concatenate(undecided)

    @abstractmethod
    def summed(self, part: slice, best: Array, top: Array, total: Array) -> None:
        """Fill the targets from arg max_k y_k, max y_k and Σ_k 2^(y_k − max)."""

    @abstractmethod
    def score(self, part: slice, x: Array, rows: Array) -> None:
        """Score the values x [n, D], of which `pair` needs rows [terms, n, D]."""

    def measure(self, x: Array) -> Array | None:
        """The base measure of events in float64."""
        with np.errstate(all="ignore"):
            found = base_measure(self.fn, self.family, x)
        return None if found is None else found.sum(axis=-1)

    def unsupported(self, x: Array) -> Array | None:
        """Where events lie outside a support that needs no parameter."""
        with np.errstate(all="ignore"):
            found = self.family.supports(self.fn, x)
        return None if found is None else ~found.all(axis=-1)

    def undecided(self, part: slice, rows: Array) -> None:
        """Note rows of a part, given as a mask."""
        if rows.any():
            self._undecided.append(part.start + np.flatnonzero(rows))


def scratch(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[Array, ...]:
    """tile, x and state (see loops/mixture.py) for rows [terms, N, D]."""
    block, x = _block(dtype, shape, TILE + STATES, LINE_BYTES, ROWS_MULTIPLE)
    return block[:TILE], x, block[TILE:]


def plain_scratch(dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[Array, ...]:
    """x and state (see loops/plain.py) for rows [terms, N, D]."""
    most, multiple = PLAIN_LINE_BYTES, PLAIN_ROWS_MULTIPLE
    state, x = _block(dtype, shape, PLAIN_STATES, most, multiple)
    return x, state


def _block(
    dtype: np.dtype[Any], shape: tuple[int, ...], lines: int, most: int, multiple: int
) -> tuple[Array, Array]:
    """Scratch [lines, width] and [terms, D, width] for rows [terms, N, D].

    Each thread keeps the last of each kind. A call inside the call, from a signal
    handler, may use them again: they hold nothing outside the compiled loops.
    """
    terms, count, size = shape
    width = min(most, BLOCK_BYTES // max(1, size)) // dtype.itemsize
    width = min(width, count + multiple - 1)
    width = max(width - width % multiple, multiple)
    key = dtype, terms, size, width
    kind = f"scratch of {lines}"
    kept: tuple[Any, tuple[Array, Array]] | None = getattr(_local, kind, None)
    if kept is not None and kept[0] == key:
        return kept[1]
    total = lines + terms * size
    raw = np.empty(total * width * dtype.itemsize + ALIGNMENT, np.uint8)
    skipped = -raw.ctypes.data % ALIGNMENT
    aligned = raw[skipped : skipped + raw.size - ALIGNMENT].view(dtype)
    block = aligned.reshape(total, width)
    arrays = block[:lines], block[lines:].reshape(terms, size, width)
    setattr(_local, kind, (key, arrays))
    return arrays
