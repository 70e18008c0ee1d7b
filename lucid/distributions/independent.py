"""Batch dimensions made into event dimensions."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid._random import Generator, key_of_part
from lucid.backends.protocol import Array, Backend
from lucid.distributions import constraints
from lucid.distributions._layout import Layout, Shape
from lucid.distributions._parts import Key
from lucid.distributions.constraints import Constraint
from lucid.distributions.distribution import Distribution


class Independent(Distribution):
    """The last n batch dimensions of a distribution as one event.

        log p(x) = Σ_d log p_d(x_d)

    Independent(Normal(loc, scale), 1) with loc of shape (K, D) is K normal
    distributions of D-dimensional events with diagonal covariance.

    base_distribution            any distribution with at least n batch dimensions
    reinterpreted_batch_ndims    n, how many of them become event dimensions
    """

    def __init__(
        self,
        base_distribution: Distribution,
        reinterpreted_batch_ndims: int,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(base_distribution, Distribution):
            raise TypeError(
                "Independent: `base_distribution` must be a Distribution, got "
                f"{type(base_distribution).__name__}."
            )
        try:
            ndims = operator.index(reinterpreted_batch_ndims)
        except TypeError:
            raise TypeError(
                "Independent: `reinterpreted_batch_ndims` must be an int, got "
                f"{reinterpreted_batch_ndims!r}."
            ) from None
        batch = base_distribution.batch_shape
        if not 0 <= ndims <= len(batch):
            raise ValueError(
                "Independent: `reinterpreted_batch_ndims` must be from 0 to the "
                f"{len(batch)} batch dimensions of the base (batch_shape {batch}), got "
                f"{ndims}."
            )
        self._base = base_distribution
        self._ndims = ndims
        split = len(batch) - ndims
        super().__init__(
            base_distribution._backend,
            base_distribution._dtype,
            batch[:split],
            batch[split:] + base_distribution.event_shape,
        )

    @property
    def base_distribution(self) -> Distribution:
        """The distribution whose batch dimensions became event dimensions."""
        return self._base

    @property
    def reinterpreted_batch_ndims(self) -> int:
        """How many of its batch dimensions did."""
        return self._ndims

    @property
    def support(self) -> Constraint:
        """The base's support, in every element of the event."""
        return constraints.independent(self._base.support, self._ndims)

    def _log_prob_in_parts(
        self, value: Array, shape: Shape, dtype: np.dtype[Any]
    ) -> Array:
        inner = shape + self._reinterpreted
        parts = self._base._log_prob(value, inner, dtype, None)
        return parts.reshape(inner).sum(axis=self._reinterpreted_axes)

    def _layout(self) -> Layout | None:
        base = self._base._layout()
        # A family of vectors keeps its own event: batches of it stay a plain sum.
        if base is None or (base.family.family_event_ndim and self._ndims):
            return None
        return Layout(
            base.family, base.parameters, self._batch_shape, self._event_shape
        )

    @property
    def _reinterpreted(self) -> Shape:
        return self._event_shape[: self._ndims]

    @property
    def _reinterpreted_axes(self) -> tuple[int, ...]:
        return tuple(range(-self._ndims, 0))

    # ---- draws

    def _sample(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        if self._density() is not None:
            return super()._sample(sample_shape, generator)
        return self._base._sample(sample_shape, generator)

    def _draw_at(
        self, rows: Array, key: Key, start: int, dtype: np.dtype[Any]
    ) -> Array:
        if not self._ndims:
            return self._base._draw_at(rows, key, start, dtype)
        if self._layout() is not None:
            return super()._draw_at(rows, key, start, dtype)
        count = math.prod(self._reinterpreted)
        columns = [
            self._base._draw_at(rows * count + d, key_of_part(key, d), start, dtype)
            for d in range(count)
        ]
        xp, shape = self._backend.xp, (len(rows), *self._event_shape)
        stacked = xp.stack(columns, axis=1) if columns else xp.empty(shape, dtype)
        return stacked.reshape(shape)

    # ---- what the base says of each element

    def _cdf(self, value: Array) -> Array:
        return self._base._cdf(value)

    def _survival(self, value: Array) -> Array:
        return self._base._survival(value)

    def _log_cdf(self, value: Array) -> Array:
        return self._base._log_cdf(value)

    def _log_survival(self, value: Array) -> Array:
        return self._base._log_survival(value)

    def _icdf(self, value: Array) -> Array:
        return self._base._icdf(value)

    def _mean(self) -> Array:
        return self._base._mean()

    def _variance(self) -> Array:
        return self._base._variance()

    def _stddev(self) -> Array:
        return self._base._stddev()

    def _covariance_blocks(self) -> Array:
        blocks = self._base._covariance_blocks()  # [*batch, *reinterpreted, r, d, d]
        r, d, _ = blocks.shape[-3:]
        count = math.prod(self._reinterpreted) * r
        return blocks.reshape((*self._batch_shape, count, d, d))

    def _entropy(self) -> Array:
        base = self._base
        full = self._backend.xp.broadcast_to(base._entropy(), base.batch_shape)
        return full.sum(axis=self._reinterpreted_axes, dtype=np.float64)

    # ---- its parts

    def _parameters(self) -> dict[str, Any]:
        return {
            "base_distribution": self._base,
            "reinterpreted_batch_ndims": self._ndims,
        }

    def _keeps_integers(self) -> bool:
        return self._base._keeps_integers()

    def _expand_parts(self, batch_shape: Shape) -> None:
        self._base = self._base.expand(batch_shape + self._reinterpreted)

    def _cut_parts(self, axis: int, rows: slice) -> None:
        self._base = self._base._cut(axis - self._ndims, rows)

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        self._base = move(self._base)

    def __repr__(self) -> str:
        return f"Independent({self._base}, {self._ndims})"
