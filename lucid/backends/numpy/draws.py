"""Draws on the CPU: pick the component, gather its parameters, draw once.

Blocks of rows that fit the cache go over threads; only the results have a row for every
draw. A row's words depend on its number alone, and NumPy's loops over contiguous arrays
give a row the same value in any block, so no result depends on the blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid.backends.numpy.philox import NumpyBits, NumpyVectorBits
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Components
from lucid.backends.tables import IndexTable, Indices

Key = tuple[int, int]
Reals = NDArray[np.floating[Any]]

# Rows at a time: long enough to hide the calls' overhead, at 32 bytes of words a row.
_ROWS = 16384
_LEAST_ROWS = 256
# How many gathered parameters, weights or blocks of words a block of rows may hold.
_ELEMENTS = 2**18


def draw(
    components: Components, key: Key, start: int, size: int, dtype: np.dtype[Any]
) -> tuple[Reals, Indices]:
    """Values [S·B, D] and component indices [S·B] of `size` = S·B rows.

    Row r belongs to mixture r mod B and reads the words of element start + r.
    """
    events = components.parameters[0].shape[2]
    values = np.empty((size, events), dtype=dtype)
    indices = np.empty(size, dtype=np.int64)
    if not size:
        return values, indices
    job = _Job(components, key, start, values, indices, index_table(components, size))
    run_blocks(size, job.block_rows(), job.work)
    return values, indices


def draw_index(table: IndexTable, key: Key, start: int, size: int) -> Indices:
    """Category indices [size]; row r reads table r mod B, word 0."""
    indices = np.empty(size, dtype=np.int64)

    def work(first: int, last: int) -> None:
        words = NumpyBits(key, start + first, last - first).words(0)
        indices[first:last] = table.find(words[:, 0], first)

    run_blocks(size, _ROWS, work)
    return indices


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    components: Components
    key: Key
    start: int
    values: Reals
    indices: Indices
    table: IndexTable | None  # None: no weights, or made block by block

    def block_rows(self) -> int:
        """How many rows to draw at a time."""
        events: int = self.values.shape[1]
        count = self.components.count
        if self.components.family.family_event_ndim:
            # Enough for each component to be drawn many times in one block.
            return max(_LEAST_ROWS, min(max(_ROWS, 64 * count), _ELEMENTS // events))
        if self.components.weights is not None and self.table is None:
            return max(1, min(_ROWS, _ELEMENTS // max(count, events)))
        return max(_LEAST_ROWS, min(_ROWS, _ELEMENTS // max(events, 1)))

    def work(self, first: int, last: int) -> None:
        """Draw the rows first … last − 1."""
        with np.errstate(all="ignore"):
            if self.components.family.family_event_ndim:
                self._vectors(first, last)
            else:
                self._scalars(first, last)

    def _scalars(self, first: int, last: int) -> None:
        place = self.key, self.start + first, last - first
        head = NumpyBits(*place)
        mixture, index = self._pick(head, first, last)
        gathered = [_gather(p, mixture, index) for p in self.components.parameters]
        family = self.components.family
        least = np.finfo(self.values.dtype).tiny
        for d in range(self.values.shape[1]):
            bits = NumpyBits(*place, block=d) if d else head
            own = [parameter[:, d].astype(np.float64) for parameter in gathered]
            drawn = family.draw(bits, *own)
            if family.draws_above_zero:
                drawn = np.maximum(drawn, least)
            self.values[first:last, d] = drawn

    def _vectors(self, first: int, last: int) -> None:
        place = self.key, self.start + first, last - first
        bits = NumpyVectorBits(*place, blocks=self.values.shape[1])
        mixture, index = self._pick(bits, first, last)
        parameters = [lead(parameter) for parameter in self.components.parameters]
        if all(len(parameter) == 1 for parameter in parameters):
            mixture = np.int64(0)
        # Rows of one component together: no [rows, D, D] array of gathered factors.
        component = mixture * self.components.count + index
        order = np.argsort(component, kind="stable")
        ends = np.flatnonzero(np.diff(component[order])) + 1
        for rows in np.split(order, ends):
            b, k = divmod(int(component[rows[0]]), self.components.count)
            own = [p[b % len(p), k].astype(np.float64) for p in parameters]
            drawn = self.components.family.draw(bits.part(rows), *own)
            self.values[first + rows] = drawn

    def _pick(
        self, bits: NumpyBits | NumpyVectorBits, first: int, last: int
    ) -> tuple[Indices | np.int64, Indices]:
        """The mixture of each row, and its component, which is kept as a result."""
        batch, weights = self.components.batch, self.components.weights
        mixture = np.arange(first, last) % batch if batch > 1 else np.int64(0)
        index = self.indices[first:last]
        if weights is None:
            index[:] = 0
            return mixture, index
        words = bits.words(0).reshape(last - first, -1)[:, 0]
        if self.table is not None:
            index[:] = self.table.find(words, first)
        else:
            relative = weights.relative(slice(first, last))
            index[:] = IndexTable.from_weights(relative).find(words)
        return mixture, index


def index_table(components: Components, size: int) -> IndexTable | None:
    """The table or tables that all rows pick by, kept with the components.

    None without weights, and for weights of which each row is used once.
    """
    weights = components.weights
    if weights is None:
        return None
    shared = len(weights.given) == 1
    if not shared and size == components.batch:
        return None

    def build() -> IndexTable:
        relative = weights.relative()
        return IndexTable.from_weights(relative[0] if shared else relative)

    table: IndexTable = components.once("index table", build)
    return table


def lead(array: NDArray[Any]) -> NDArray[Any]:
    """One row instead of a view that repeats it for every mixture."""
    return array[:1] if array.strides[0] == 0 else array


def _gather(
    parameter: NDArray[Any], mixture: Indices | np.int64, index: Indices
) -> NDArray[Any]:
    """parameter[mixture, index] of [B or 1, K, D], as [rows, D]."""
    parameter = lead(parameter)
    batch, count, events = parameter.shape
    if batch == 1:
        mixture = np.int64(0)
    if parameter.flags.c_contiguous:  # two to five times as fast
        rows = parameter.reshape(batch * count, events)
        picked: NDArray[Any] = rows.take(mixture * count + index, axis=0)
        return picked
    picked = parameter[mixture, index]
    return picked
