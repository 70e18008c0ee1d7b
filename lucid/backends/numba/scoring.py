"""Rows of values under one mixture, cut into blocks over threads."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.backends.numba import kernels
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Family

# Components a tile: they decide the rounding, so they depend on nothing.
TILE = 16
# Rows of a block, at most and as a multiple: a multiple keeps every row in the main
# body of vectorised loops, whose remainder might round another way.
ROWS, ROWS_MULTIPLE = 256, 64
# Bytes of a block of rows, at most: it stays in the second-level cache.
BLOCK_BYTES = 1 << 17
# Pairs that a thread takes at once, and rows where NumPy computes on them before.
WORK_PAIRS = 1 << 20
PREPARED_ROWS = 1 << 13
# Rows of what loops keep of a row of values, and bytes that vectors are aligned to.
STATES, ALIGNMENT = 5, 64

_NONE = np.empty(0, np.int64)
_local = threading.local()


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """One mixture of K components as the compiled loops take it.

    fill               the address of the family's loop
    factors, constant  [K, D, factors] and [K], of the computation's dtype
    kept               the original index of each component, where some were left out
    scale              nats in the unit of the constant
    """

    fill: int
    factors: Array
    constant: Array
    kept: Array | None
    scale: float
    dtype: np.dtype[Any]


class Rows(ABC):
    """Values [N, D] under one mixture, to be scored one way or another."""

    def __init__(
        self, fn: Any, family: type[Family], mixture: Mixture, values: Array
    ) -> None:
        self.fn, self.family, self.mixture, self.values = fn, family, mixture, values
        self.traits = kernels.traits(family)
        self._undecided: list[Array] = []

    def run(self) -> Array:
        """Score every row; the numbers of those that remain undecided."""
        count, size = self.values.shape
        block = WORK_PAIRS // max(1, len(self.mixture.constant) * size)
        block = max(block - block % ROWS, ROWS)
        if not self.traits.row_is_value:
            block = min(block, PREPARED_ROWS)
        if count <= block:
            self._work(0, count)
        else:
            run_blocks(count, block, self._work)
        return np.concatenate(self._undecided) if self._undecided else _NONE

    def _work(self, start: int, stop: int) -> None:
        x = kernels.operand(self.values[start:stop], self.mixture.dtype)
        if self.traits.row_is_value:
            rows = x[None]
        else:
            with np.errstate(all="ignore"):
                rows = np.stack(self.family.row(self.fn, x))
        self.score(slice(start, stop), x, rows)

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
    """tile, x and state (see loops/mixture.py) for rows [terms, N, D].

    Each thread keeps the last ones. A call inside the call, from a signal handler, may
    use them again: they hold nothing outside the compiled loops.
    """
    terms, count, size = shape
    most = BLOCK_BYTES // max(1, size * dtype.itemsize)
    width = min(ROWS, most, count + ROWS_MULTIPLE - 1)
    width = max(width - width % ROWS_MULTIPLE, ROWS_MULTIPLE)
    key = dtype, terms, size, width
    kept: tuple[Any, tuple[Array, ...]] | None = getattr(_local, "scratch", None)
    if kept is not None and kept[0] == key:
        return kept[1]
    lines = TILE + STATES + terms * size
    raw = np.empty(lines * width * dtype.itemsize + ALIGNMENT, np.uint8)
    skipped = -raw.ctypes.data % ALIGNMENT
    aligned = raw[skipped : skipped + raw.size - ALIGNMENT].view(dtype)
    block = aligned.reshape(lines, width)
    x = block[TILE + STATES :].reshape(terms, size, width)
    arrays = block[:TILE], x, block[TILE : TILE + STATES]
    _local.scratch = key, arrays
    return arrays
