"""The CPU backend: NumPy arrays, and fused operations by NumPy or by Numba."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np

from lucid.backends.numpy import engine
from lucid.backends.numpy.functions import Functions
from lucid.backends.protocol import Array, Backend, Components, FamilyType


class NumpyBackend:
    """NumPy arrays; see `lucid.backends.protocol.Backend`."""

    type = "cpu"
    index = 0
    xp = np
    fn = Functions()

    def asarray(self, value: Any, dtype: Any = None, copy: bool | None = None) -> Array:
        """A NumPy array; `copy` as in NumPy."""
        return np.asarray(value, dtype=dtype, copy=copy)

    def copy_of(self, array: Array, source: Backend, dtype: Any = None) -> Array:
        """A copy in the host's memory."""
        return np.asarray(source.to_numpy(array), dtype=dtype)

    def to_numpy(self, array: Array) -> Array:
        """The array itself."""
        return array

    def kept(self, store: dict[str, Any], key: str, build: Callable[[], Any]) -> Any:
        """What `build` made, kept in `store`."""
        if key not in store:
            store.setdefault(key, build())
        return store[key]

    def map_blocks(
        self,
        work: Callable[[Array], tuple[Array, ...]],
        blocks: Iterable[Array],
        dtype: Any,
    ) -> Generator[tuple[Array, ...], None, None]:
        """work(block) of blocks of rows in order."""
        return (work(np.asarray(block, dtype)) for block in blocks)

    def log_prob(
        self,
        family: FamilyType,
        value: Array,
        parameters: tuple[Array, ...],
        dtype: Any,
        out: Array | None = None,
    ) -> Array:
        """Elementwise log density of a scalar family, operands broadcast."""
        return engine.current().log_prob(family, value, parameters, dtype, out)

    def mixture_log_prob(
        self, components: Components, value: Array, dtype: Any, out: Array | None = None
    ) -> Array:
        """log Σ_k w_k p_k(x) for values [S, B, D], as [S, B]."""
        result = np.empty(value.shape[:2], dtype) if out is None else out
        engine.current().mixture_log_prob(components, value, dtype, result)
        return result

    def mixture_mode(
        self, components: Components, value: Array, dtype: Any
    ) -> tuple[Array, Array]:
        """The most probable component [S, B] and its log probability."""
        index = np.empty(value.shape[:2], np.int64)
        result = np.empty(value.shape[:2], dtype)
        engine.current().mixture_mode(components, value, dtype, result, index)
        return index, result

    def categorical_log_prob(self, logits: Array, value: Array, dtype: Any) -> Array:
        """log softmax(logits [B or 1, K])[value [S, B]], as [S, B]."""
        result = np.empty(value.shape, dtype)
        engine.current().categorical_log_prob(logits, value, dtype, result)
        return result

    def lookup(self, table: Array, value: Array, out: Array | None = None) -> Array:
        """table[value + 1]; the table's ends where there is none."""
        result = np.empty(value.shape, table.dtype) if out is None else out
        engine.current().lookup(table, value, result)
        return result

    def draw(
        self,
        components: Components,
        key: tuple[int, int],
        start: int,
        size: int,
        dtype: Any,
    ) -> tuple[Array, Array]:
        """Values [S·B, D] and component indices [S·B]."""
        return engine.current().draw(components, key, start, size, dtype)

    def draw_index(
        self, table: Any, key: tuple[int, int], start: int, size: int
    ) -> Array:
        """Category indices [size]; row r reads table r mod B."""
        return engine.current().draw_index(table, key, start, size)
