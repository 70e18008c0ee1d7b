"""The categorical distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid._random import Generator
from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Backend, Normaliser, Weights
from lucid.backends.tables import IndexTable
from lucid.distributions import constraints
from lucid.distributions._arguments import (
    over_rows,
    parameter_arrays,
    read_only,
    shown,
)
from lucid.distributions._base import random_source
from lucid.distributions._layout import Shape
from lucid.distributions._parts import Key, cut_arrays, pick_index
from lucid.distributions.constraints import Constraint
from lucid.distributions.distribution import Distribution, validating
from lucid.distributions.family import check_parameters

# Up to this many log weights are kept in float64; more, in the parameters' dtype.
_WIDE_ELEMENTS = 1 << 22
# Elements of the temporaries that normalising takes: on a GPU enough to keep it busy.
_BLOCK_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 24}


class Categorical(Distribution):
    """Categorical distribution over 0 … K−1, from unnormalised weights.

        log p(k) = log probs[k] − log Σ_j probs[j] = logits[k] − log Σ_j exp logits[j]

    probs   weights ≥ 0 of shape (*batch_shape, K) with a positive sum; they need not
            sum to 1, and a small one is kept as it is
    logits  or their logarithms, any offset, −∞ for a category that does not exist

    Raises ValueError unless exactly one of them is given, with K ≥ 1.
    """

    arg_constraints = {
        "probs": constraints.weights,
        "logits": constraints.log_weights,
    }

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError(
                "Categorical: give exactly one of `probs` and `logits`, got "
                f"{'neither' if probs is None else 'both'}."
            )
        name, given = ("probs", probs) if logits is None else ("logits", logits)
        backend, dtype, arrays = parameter_arrays(self._name, {name: given})
        shape = arrays[name].shape
        if not shape or shape[-1] == 0:
            raise ValueError(
                f"Categorical: `{name}` must have shape (*batch_shape, K) with at "
                f"least one category, got shape {shape}."
            )
        self._arrays = arrays
        super().__init__(backend, dtype, shape[:-1], ())
        if validating(validate_args):
            check_parameters(self._name, backend, arrays, self.arg_constraints)

    @property
    def num_events(self) -> int:
        """K, the number of categories."""
        return int(self._given.shape[-1])

    _num_events = num_events

    @property
    def logits(self) -> Tensor:
        """Normalised log probabilities, shape (*batch_shape, K)."""
        with self._range("logits"):
            log_probs = self._log_weights().astype(self._dtype, copy=False)
            return Tensor._wrap(self._full(log_probs), writeable=False)

    @property
    def probs(self) -> Tensor:
        """Normalised probabilities, shape (*batch_shape, K)."""
        with self._range("probs"):
            probs = self._wide_weights().astype(self._dtype)
            return Tensor._wrap(self._full(probs), writeable=False)

    @property
    def support(self) -> Constraint:
        """The integers 0 … K−1."""
        return constraints.integer_interval(0, self.num_events - 1)

    @property
    def mode(self) -> Tensor:
        """The most probable category, the first of equals, shape batch_shape."""
        with self._range("mode"):
            index = self._given.argmax(axis=-1)
            return Tensor._wrap(self._backend.xp.broadcast_to(index, self._batch_shape))

    @property
    def _given(self) -> Array:
        (array,) = self._arrays.values()
        return array

    def _weights(self) -> Weights:
        """The weights as given and their normaliser, of the parameter's shape."""
        return Weights.lazy(self._given, "logits" in self._arrays, self._normaliser)

    def _normaliser(self) -> Normaliser:
        """The weights' total, and the shift of logits; kept."""
        own = "logits" in self._arrays and self._given.ndim > 1
        build = self._normaliser_of_rows if own else self._sums
        found: Normaliser = self._kept("normaliser", build)
        return found

    def _sums(self) -> Normaliser:
        xp, given = self._backend.xp, self._given
        shift = given.max(axis=-1, keepdims=True).astype(np.float64)
        total, logs = xp.empty(shift.shape), "logits" in self._arrays
        for rows in self._row_blocks():  # each in an array of its own, contiguous
            terms = xp.exp(given[rows] - shift[rows]) if logs else given[rows]
            terms = xp.ascontiguousarray(terms)
            total[rows] = terms.sum(axis=-1, keepdims=True, dtype=np.float64)
        return total, shift if logs else None

    def _normaliser_of_rows(self) -> Normaliser:
        """The total is the reciprocal of the most probable category's probability."""
        xp, count = self._backend.xp, self.num_events
        rows = self._given.reshape(-1, count)
        top = xp.empty(len(rows), np.int64)

        def work(start: int, stop: int) -> None:
            top[start:stop] = rows[start:stop].argmax(axis=-1)

        over_rows(self._backend, rows, work)
        shift = rows.reshape(-1)[xp.arange(len(rows)) * count + top].astype(np.float64)
        log_probs = self._backend.categorical_log_prob(rows, top[None], np.float64)
        shape = (*self._given.shape[:-1], 1)
        return xp.exp(-log_probs).reshape(shape), shift.reshape(shape)

    def _log_weights(self) -> Array:
        """Normalised log weights of the parameter's own shape; kept."""
        return self._kept("log_weights", self._new_log_weights)

    def _new_log_weights(self) -> Array:
        weights = self._weights()
        if self._given.size <= _WIDE_ELEMENTS:
            return read_only(weights.log())
        found = self._backend.xp.empty(self._given.shape, self._dtype)
        for rows in self._row_blocks():
            found[rows] = weights.log(rows)
        return read_only(found)

    def _row_blocks(self) -> list[Any]:
        """Keys that cut the parameter along its first axis, if it has rows."""
        given = self._given
        if given.ndim == 1:
            return [slice(None)]
        elements = _BLOCK_ELEMENTS[self._backend.type]
        step = max(1, elements // max(1, math.prod(given.shape[1:])))
        return [slice(i, i + step) for i in range(0, len(given), step)]

    def _wide_weights(self) -> Array:
        """Normalised weights in float64, of the parameter's shape."""
        with np.errstate(all="ignore"):
            if "probs" not in self._arrays:
                return self._backend.xp.exp(self._log_weights().astype(np.float64))
            given = self._given.astype(np.float64)
            return given / self._weights().total

    def _keeps_integers(self) -> bool:
        return True

    def _log_prob(
        self, value: Array, shape: Shape, dtype: np.dtype[Any], out: Array | None
    ) -> Array:
        xp = self._backend.xp
        if self._given.size == self.num_events:
            direct = out if value.shape == shape else None
            found = self._backend.lookup(self._lookup_table(dtype), value, direct)
            return found if value.shape == shape else xp.broadcast_to(found, shape) + 0
        index = value.astype(np.int64)
        inside = (index == value) & (index >= 0) & (index < self.num_events)
        index = xp.broadcast_to(xp.where(inside, index, -1), shape)
        result = self._log_probs_at(index, dtype)
        if value.dtype.kind == "f":
            result = xp.where(xp.isnan(value), np.nan, result)
        return result.astype(dtype, copy=False)

    def _log_probs_at(self, index: Array, dtype: np.dtype[Any]) -> Array:
        """log p of categories of a mixture each, −∞ where the index is −1."""
        batch = math.prod(self._batch_shape)
        rows = index.reshape((index.size // batch if batch else 0, batch))  # [S, B]
        if "logits" in self._arrays:
            logits = self._full(self._given).reshape(batch, self.num_events)
            picked = self._backend.categorical_log_prob(logits, rows, dtype)
            return picked.reshape(index.shape)
        xp = self._backend.xp
        table = self._full(self._given).reshape(batch, self.num_events)
        picked = table[xp.arange(batch)[None, :], xp.maximum(rows, 0)]
        total = xp.broadcast_to(self._weights().total, (*self._batch_shape, 1))
        picked = xp.log(picked.astype(np.float64) / total.reshape(batch))
        return xp.where(rows >= 0, picked, -np.inf).reshape(index.shape)

    def _lookup_table(self, dtype: np.dtype[Any]) -> Array:
        """The log probabilities between two −∞ [K + 2]; kept."""

        def build() -> Array:
            found = self._backend.xp.full(self.num_events + 2, -np.inf, dtype)
            with np.errstate(over="ignore"):
                found[1:-1] = self._log_weights().reshape(-1)
            return found

        return self._kept(f"lookup_{dtype}", build)

    def _full(self, array: Array) -> Array:
        """An array [..., K] against the whole batch, as a view."""
        shape = (*self._batch_shape, self.num_events)
        return self._backend.xp.broadcast_to(array, shape)

    def _sample(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        shape = sample_shape + self._batch_shape
        size = math.prod(shape)
        source = random_source(generator)
        start = source.reserve(size, self.device)
        index = self._backend.draw_index(self._table(), source.key, start, size)
        index = index.reshape(shape)
        return index, index

    def _draw_at(
        self, rows: Array, key: Key, start: int, dtype: np.dtype[Any]
    ) -> Array:
        return pick_index(self._backend, self._table(), rows, key, start)

    def _table(self) -> IndexTable:
        found = self.__dict__.get("_cached_table")
        if found is None:
            given = self._given
            shared = given.size == self.num_events  # one table serves the whole batch
            rows = given if shared else self._full(given)
            shape = (-1,) if shared else (math.prod(self._batch_shape), self.num_events)
            build = (
                IndexTable.from_weights
                if "probs" in self._arrays
                else IndexTable.from_log_weights
            )
            found = build(self._backend.to_numpy(rows.reshape(shape)))
            self.__dict__["_cached_table"] = found
        return found

    def _cdf(self, value: Array) -> Array:
        xp = self._backend.xp
        below = xp.cumsum(self._full(self._wide_weights()), axis=-1, dtype=np.float64)
        shape = np.broadcast_shapes(value.shape, self._batch_shape)
        index = xp.clip(xp.floor(xp.nan_to_num(value)), -1, self.num_events - 1)
        index = xp.broadcast_to(index.astype(np.int64), shape)
        below = xp.broadcast_to(below, (*shape, self.num_events))
        picked = xp.take_along_axis(below, xp.maximum(index, 0)[..., None], axis=-1)
        result = xp.minimum(picked[..., 0], 1.0)
        result = xp.where(index == self.num_events - 1, 1.0, result)
        result = xp.where(index < 0, 0.0, result)
        return xp.where(xp.isnan(value), np.nan, result)

    def _entropy(self) -> Array:
        log_probs = self._log_weights()
        probs = self._backend.xp.exp(log_probs)
        terms = self._backend.xp.where(probs > 0, -probs * log_probs, 0.0)
        return terms.sum(axis=-1, dtype=np.float64)

    def _parameters(self) -> dict[str, Any]:
        return dict(self._arrays)

    def _cut_parts(self, axis: int, rows: slice) -> None:
        self._arrays = cut_arrays(self._arrays, self.arg_constraints, axis, rows)

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        self._arrays = {
            name: move(Tensor._wrap(array))._array
            for name, array in self._arrays.items()
        }

    def __repr__(self) -> str:
        ((name, array),) = self._arrays.items()
        batch = self._batch_shape
        more = "" if batch == array.shape[:-1] else f", batch_shape={batch}"
        return f"Categorical({name}={shown(self._backend, array)}{more})"
