"""The fused operations in NumPy alone; see `lucid.backends.protocol.Backend`."""

from __future__ import annotations

from typing import Any

from lucid.backends.numpy import categorical, draws, elementwise, mixture
from lucid.backends.numpy.functions import Functions
from lucid.backends.protocol import Array, Components, FamilyType


class NumpyOperations:
    """Blocks over threads, in reused buffers."""

    name = "numpy"
    fn = Functions()

    def log_prob(
        self,
        family: FamilyType,
        value: Array,
        parameters: tuple[Array, ...],
        dtype: Any,
        out: Array | None,
    ) -> Array:
        """Elementwise log density of a scalar family, operands broadcast."""
        return elementwise.log_prob(self.fn, family, value, parameters, dtype, out)

    def mixture_log_prob(
        self, components: Components, value: Array, dtype: Any, out: Array
    ) -> None:
        """Fill `out` [S, B] with log Σ_k w_k p_k(x) of values [S, B, D]."""
        mixture.log_prob(self.fn, components, value, dtype, out)

    def mixture_mode(
        self,
        components: Components,
        value: Array,
        dtype: Any,
        out: Array,
        index: Array,
    ) -> None:
        """Fill `index` with the most probable component, `out` with its log prob."""
        mixture.mode(self.fn, components, value, dtype, out, index)

    def categorical_log_prob(
        self, logits: Array, value: Array, dtype: Any, out: Array
    ) -> None:
        """Fill `out` [S, B] with log softmax(logits [B or 1, K])[value [S, B]]."""
        categorical.log_prob(logits, value, dtype, out)

    def lookup(self, table: Array, value: Array, out: Array) -> None:
        """Fill `out` with table[value + 1]; the table's ends where there is none."""
        categorical.lookup(table, value, out)

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
