"""What a distribution needs of its parts: rows of a batch, cut out or drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from lucid.backends.protocol import Array, Backend, Family
from lucid.backends.tables import IndexTable
from lucid.distributions._layout import Layout
from lucid.distributions.constraints import Constraint

Key = tuple[int, int]

# Gathered parameters, or entries of gathered tables, that a block of rows holds.
_BLOCK_ELEMENTS = 1 << 20


def check_draws(family: type[Family]) -> None:
    """Raise NotImplementedError for a family that says no way to draw from it."""
    if not hasattr(family, "draw"):
        raise NotImplementedError(
            f"{family.__name__} does not have draws: it defines no `draw`."
        )


def draw_picked(
    backend: Backend,
    layout: Layout,
    rows: Array,
    key: Key,
    start: int,
    dtype: np.dtype[Any],
) -> Array:
    """One draw from each of `rows` of a family's flattened batch, [n, *event].

    Gathers the parameters of the picked rows, a block of them at a time.
    """
    check_draws(layout.family)
    values = backend.xp.empty((len(rows), *layout.event_shape), dtype)
    step = max(1, _BLOCK_ELEMENTS // max(1, values[:1].size))
    for i in range(0, len(rows), step):
        own = rows[i : i + step]
        place = backend.xp.unravel_index(own, layout.batch_shape)
        picked = tuple(array[place] for array in layout.parameters)
        one = Layout(layout.family, picked, own.shape, layout.event_shape)
        components = one.density(backend)
        drawn, _ = backend.draw(components, key, start + i, len(own), dtype)
        values[i : i + step] = drawn.reshape(len(own), *layout.event_shape)
    return values


def pick_index(
    backend: Backend, table: IndexTable, rows: Array, key: Key, start: int
) -> Array:
    """A category from each of `rows` of a batch of tables; one table serves them all.

    Word 0 of element start + i picks the i-th.
    """
    if table.cumulative.ndim == 1:
        return backend.draw_index(table, key, start, len(rows))
    index = backend.xp.empty(len(rows), np.int64)
    step = max(1, _BLOCK_ELEMENTS // table.cumulative.shape[1])
    for i in range(0, len(rows), step):
        own = backend.to_numpy(rows[i : i + step])
        picked = IndexTable(table.cumulative[own])
        index[i : i + step] = backend.draw_index(picked, key, start + i, len(own))
    return index


def cut_arrays(
    arrays: Mapping[str, Array],
    rules: Mapping[str, Constraint],
    axis: int,
    rows: slice,
) -> dict[str, Array]:
    """Parameters cut along batch axis `axis` < 0, those that have more than one row."""

    def cut(array: Array, position: int) -> Array:
        if array.ndim < -position or array.shape[position] == 1:
            return array
        return array[(*(slice(None),) * (array.ndim + position), rows)]

    return {name: cut(a, axis - rules[name].event_ndim) for name, a in arrays.items()}
