"""The fused operations that are compiled; the others are NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba import (
    categorical,
    draws,
    elementwise,
    grouped,
    mixture,
    rows,
    single,
)
from lucid.backends.numpy.operations import NumpyOperations
from lucid.backends.protocol import Array, Components, FamilyType


class NumbaOperations(NumpyOperations):
    """Loops compiled on first use, and kept on disk."""

    name = "numba"

    def log_prob(
        self,
        family: FamilyType,
        value: Array,
        parameters: tuple[Array, ...],
        dtype: Any,
        out: Array | None,
    ) -> Array:
        """Elementwise log density of a scalar family, operands broadcast."""
        found = elementwise.log_prob(family, value, parameters, dtype, out)
        if found is None:
            return super().log_prob(family, value, parameters, dtype, out)
        return found

    def mixture_log_prob(
        self, components: Components, value: Array, dtype: Any, out: Array
    ) -> None:
        """Fill `out` [S, B] with log Σ_k w_k p_k(x) of values [S, B, D]."""
        one = value.size == 1
        if one and single.log_prob(self.fn, components, value, dtype, out):
            return
        rest = grouped.log_prob(self.fn, components, value, dtype, out)
        if rest is None:
            rest = rows.log_prob(self.fn, components, value, dtype, out)
        if rest is None:
            super().mixture_log_prob(components, value, dtype, out)
        elif rest.size:
            picked, values = mixture.picked(components, value, rest)
            found = np.empty((1, len(rest)), out.dtype)
            super().mixture_log_prob(picked, values, dtype, found)
            out.reshape(-1)[rest] = found[0]

    def mixture_mode(
        self,
        components: Components,
        value: Array,
        dtype: Any,
        out: Array,
        index: Array,
    ) -> None:
        """Fill `index` with the most probable component, `out` with its log prob."""
        rest = mixture.mode(self.fn, components, value, dtype, out, index)
        if rest is None:
            super().mixture_mode(components, value, dtype, out, index)
        elif rest.size:
            picked, values = mixture.picked(components, value, rest)
            found = np.empty((1, len(rest)), out.dtype)
            best = np.empty((1, len(rest)), np.int64)
            super().mixture_mode(picked, values, dtype, found, best)
            out.reshape(-1)[rest] = found[0]
            index.reshape(-1)[rest] = best[0]

    def categorical_log_prob(
        self, logits: Array, value: Array, dtype: Any, out: Array
    ) -> None:
        """Fill `out` [S, B] with log softmax(logits [B or 1, K])[value [S, B]]."""
        if len(logits) == value.shape[1]:
            categorical.log_prob(logits, value, np.dtype(dtype), out)
        else:
            super().categorical_log_prob(logits, value, dtype, out)

    def lookup(self, table: Array, value: Array, out: Array) -> None:
        """Fill `out` with table[value + 1]; the table's ends where there is none."""
        if not categorical.lookup(table, value, out):
            super().lookup(table, value, out)

    def draw(
        self,
        components: Components,
        key: tuple[int, int],
        start: int,
        size: int,
        dtype: Any,
    ) -> tuple[Array, Array]:
        """Values [S·B, D] and component indices [S·B]."""
        return draws.draw(components, key, start, size, dtype)

    def draw_index(
        self, table: Any, key: tuple[int, int], start: int, size: int
    ) -> Array:
        """Category indices [size]; row r reads table r mod B."""
        return draws.draw_index(table, key, start, size)
