"""Draws compiled: words, index, gather and formula in one loop over blocks of rows.

A family's formula is its `draw`, traced. One that rejects, or that draws whole events,
runs in NumPy; the bits and the indices are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import NumbaError

from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.formula import family_text
from lucid.backends.numba.source import compose
from lucid.backends.numpy import draws as in_numpy
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Components, FamilyType, Weights
from lucid.backends.tables import IndexTable, Indices
from lucid.backends.tracing import FormulaError, Node, TracedBits

# Rows at a time: so many that a call costs nothing beside them.
_ROWS = 16384
# Weights of a block, whose table is made for it alone.
_WEIGHTS = 2**18
_IMPORTS = "from lucid.backends.numba.words import wide_product\n"
_REALS = {np.dtype(np.float32), np.dtype(np.float64)}

_INDICES = types.Array(types.int64, 1, "C")
_RANGE = types.int64, types.int64
# The key's words, the first element; cumulative sums, guide.
_HEAD = (
    types.uint64,
    types.uint64,
    types.uint64,
    types.Array(types.uint64, 2, "C", readonly=True),
    types.Array(types.int32, 1, "C", readonly=True),
)
_NO_TABLE = np.empty((0, 1), np.uint64)
_NO_GUIDE = np.empty(0, np.int32)


def draw(
    components: Components,
    key: tuple[int, int],
    start: int,
    size: int,
    dtype: np.dtype[Any],
) -> tuple[in_numpy.Reals, Indices]:
    """Values [S·B, D] and component indices [S·B], as `lucid.backends.numpy.draws`."""
    parameters = tuple(in_numpy.lead(p) for p in components.parameters)
    loop = _loop(components.family, tuple(p.dtype for p in parameters), dtype)
    values = np.empty((size, parameters[0].shape[2]), dtype)
    if loop is None or not values.size:
        return in_numpy.draw(components, key, start, size, dtype)
    indices = (np.zeros if components.weights is None else np.empty)(size, np.int64)
    table = in_numpy.index_table(components, size)
    head = *key, start, *_arguments(table)
    if table is None and components.weights is not None:
        _pick_once(components.weights, key, start, indices)

    def work(first: int, last: int) -> None:
        loop(*head, parameters, components.batch, values, indices, first, last)

    run_blocks(size, _ROWS, work)
    return values, indices


def draw_index(
    table: IndexTable, key: tuple[int, int], start: int, size: int
) -> Indices:
    """Category indices [size]; row r reads table r mod B, word 0."""
    indices = np.empty(size, np.int64)
    head = *key, start, *_arguments(table)
    loop = _index_loop()
    run_blocks(size, _ROWS, lambda first, last: loop(*head, indices, first, last))
    return indices


def _pick_once(
    weights: Weights, key: tuple[int, int], start: int, indices: Indices
) -> None:
    """Fill `indices` by weights that serve one row each, and so make no kept table."""
    loop = _index_loop()

    def work(first: int, last: int) -> None:
        with np.errstate(all="ignore"):
            table = IndexTable.from_weights(weights.relative(slice(first, last)))
        part = indices[first:last]
        loop(*key, start + first, *_arguments(table), part, 0, last - first)

    run_blocks(len(indices), max(1, _WEIGHTS // weights.given.shape[1]), work)


def _arguments(table: IndexTable | None) -> tuple[Any, Any]:
    """Cumulative sums [B, K] and the guide, as the loops take them; empty for none."""
    if table is None:
        return _NO_TABLE, _NO_GUIDE
    if table.cumulative.ndim == 2:
        return np.ascontiguousarray(table.cumulative), _NO_GUIDE
    return table.cumulative[None], table.guide


@functools.cache
def _loop(
    family: FamilyType, parameters: tuple[np.dtype[Any], ...], dtype: np.dtype[Any]
) -> Callable[..., None] | None:
    """`draw` of loops/draw.py for a family in these dtypes; None: NumPy draws it.

    A user's formula may ask for anything, so what fails is left to NumPy.
    """
    rejects_or_whole = family.draws_above_zero or family.family_event_ndim
    if rejects_or_whole or not {dtype, *parameters} <= _REALS:
        return None
    own = [types.Array(_real(p), 3, "A", readonly=True) for p in parameters]
    values = types.Array(_real(dtype), 2, "C")
    signature = *_HEAD, types.Tuple(own), types.int64, values, _INDICES, *_RANGE
    try:
        text = family_text(_drawing(family), 2, len(parameters))
        parts = _IMPORTS, "float64", "arithmetic", "draw", text, _gathering(len(own))
        return compiled(compose(*parts), "draw", signature)
    except (FormulaError, NumbaError):
        return None


@functools.cache
def _index_loop() -> Callable[..., None]:
    # What else stands in the module is not called, so it is not compiled.
    text = compose(_IMPORTS, "float64", "draw")
    return compiled(text, "draw_index", (*_HEAD, _INDICES, *_RANGE))


def _real(dtype: np.dtype[Any]) -> Any:
    return getattr(types, dtype.name)


def _gathering(count: int) -> str:
    """The functions of loops/draw_family.py for `count` parameters."""
    place = "[mixture if parameters[{0}].shape[0] > 1 else 0, component, d]"
    move = f"    own[{{0}}, r] = parameters[{{0}}]{place}"
    names = "".join(f"own[{i}, r], " for i in range(count))
    lines = [
        "def gather(parameters, mixture, component, d, own, r):",
        *(move.format(i) for i in range(count)),
        f"def own_of(own, r):\n    return ({names})\n",
    ]
    return "\n".join(lines)


def _drawing(family: FamilyType) -> Any:
    """`draw` as the `pair` of words 1 and 2 and the parameters."""

    class Drawing:
        @staticmethod
        def pair(fn: Any, row: tuple[Node, ...], own: tuple[Node, ...]) -> Any:
            def shifted(word: int, bits: int) -> str:
                return f"real({row[word - 1].args[0]} >> np.uint64({bits}))"

            bits: Any = TracedBits(fn, shifted)
            return family.draw(bits, *own)

    return Drawing
