"""The words of Philox4x64-10 on the CPU, by numpy.random.Philox.

Which words are read, and what each serves, is said in lucid/_random.py.
"""

from __future__ import annotations

import copy

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

from lucid.backends.numpy.functions import Functions

Words = NDArray[np.uint64]
Rows = NDArray[np.int64]

_LARGEST = 2**64 - 1

# A jump to another counter takes as long as generating this many rows on the way. (A
# Philox written in NumPy's operations loses to both at any number of rows that fits
# the cache: it starts at 250 µs, when 8192 rows take 110 µs.)
_JUMP = 200


class NumpyBits:
    """The random words of elements start … start + size − 1, for one block."""

    fn = Functions()

    def __init__(
        self, key: tuple[int, int], start: int, size: int, block: int = 0
    ) -> None:
        self.size = size
        self._key = key[0] + (key[1] << 64)
        self._first = start + (block << 64)
        self._direct: Words | None = None

    def words(self, attempt: int, rows: Rows | None = None) -> Words:
        """uint64 [size, 4], or [len(rows), 4] for those row positions only."""
        if attempt == 0:
            if self._direct is None:
                self._direct = _read(self._philox(0), self.size)
            return self._direct if rows is None else self._direct.take(rows, axis=0)
        if rows is None:
            return _read(self._philox(attempt), self.size)
        if not len(rows):
            return np.empty((0, 4), dtype=np.uint64)
        first, last = int(rows.min()), int(rows.max())
        if last - first < _JUMP * len(rows):
            span = _read(self._philox(attempt, first), last - first + 1)
            return span.take(rows - first, axis=0)
        words = np.empty((len(rows), 4), dtype=np.uint64)
        philox, here = self._philox(attempt), 0
        for i, row in enumerate(rows.tolist()):
            philox.advance(row - here)
            words[i] = philox.random_raw(4)
            here = row + 1
        return words

    def _philox(self, attempt: int, row: int = 0) -> Philox:
        # It adds one to the counter before the first block, hence the − 1. Python
        # integers, because NumPy rounds lists with values over 2⁶³ through float64.
        counter = self._first + row + (attempt << 128) - 1
        return Philox(counter=counter % 2**256, key=self._key)


class NumpyVectorBits:
    """The random words of whole events, one block for each of their elements."""

    fn = NumpyBits.fn

    def __init__(
        self, key: tuple[int, int], start: int, size: int, blocks: int
    ) -> None:
        self.size = size
        self._range = key, start, size
        self._rows: Rows | None = None  # within that range; None: all
        self._direct = np.empty((size, blocks, 4), dtype=np.uint64)
        for block in range(blocks):
            self._direct[:, block] = NumpyBits(*self._range, block).words(0)

    def words(self, attempt: int, rows: Rows | None = None) -> Words:
        """uint64 [size, blocks, 4], or [len(rows), blocks, 4] for those rows only."""
        if attempt == 0:
            return self._direct if rows is None else self._direct.take(rows, axis=0)
        within = self._rows if rows is None else self._within(rows)
        blocks = range(self._direct.shape[1])
        bits = (NumpyBits(*self._range, block) for block in blocks)
        return np.stack([b.words(attempt, within) for b in bits], axis=1)

    def part(self, rows: Rows) -> NumpyVectorBits:
        """The words of some rows, which are then rows 0, 1, … of their own."""
        part = copy.copy(self)
        part.size, part._rows = len(rows), self._within(rows)
        part._direct = self._direct.take(rows, axis=0)
        return part

    def _within(self, rows: Rows) -> Rows:
        return rows if self._rows is None else self._rows[rows]


def _read(philox: Philox, count: int) -> Words:
    """The next [count, 4] words; `integers` over the full range is the quick way."""
    return Generator(philox).integers(
        0, _LARGEST, size=(count, 4), dtype=np.uint64, endpoint=True
    )
