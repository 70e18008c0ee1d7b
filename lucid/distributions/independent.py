"""Batch dimensions made into event dimensions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid._random import Generator
from lucid.backends.protocol import Array, Backend
from lucid.distributions import constraints
from lucid.distributions._layout import Layout, Shape
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
        ndims = operator.index(reinterpreted_batch_ndims)
        batch = base_distribution.batch_shape
        if not 0 <= ndims <= len(batch):
            raise ValueError(
                "Independent: `reinterpreted_batch_ndims` must be from 0 to the "
                f"{len(batch)} batch dimensions of the base (batch_shape {batch}), got "
                f"{ndims}."
            )
        self.base_distribution = base_distribution
        self.reinterpreted_batch_ndims = ndims
        split = len(batch) - ndims
        super().__init__(
            base_distribution._backend,
            base_distribution._dtype,
            batch[:split],
            batch[split:] + base_distribution.event_shape,
        )

    @property
    def support(self) -> Constraint:
        """The base's support, in every element of the event."""
        base = self.base_distribution.support
        return constraints.independent(base, self.reinterpreted_batch_ndims)

    def _log_prob(
        self, value: Array, shape: Shape, dtype: np.dtype[Any], out: Array | None
    ) -> Array:
        if self._density() is not None:
            return super()._log_prob(value, shape, dtype, out)
        split = len(self._event_shape) - self.reinterpreted_batch_ndims
        inner = shape + self._event_shape[: len(self._event_shape) - split]
        parts = self.base_distribution._log_prob(value, inner, dtype, None)
        return parts.reshape(inner).sum(axis=self._reinterpreted_axes)

    def _layout(self) -> Layout | None:
        base = self.base_distribution._layout()
        # A family of vectors keeps its own event: batches of it stay a plain sum.
        if base is None or (base.family.family_event_ndim and self._reinterpreted_axes):
            return None
        return Layout(
            base.family, base.parameters, self._batch_shape, self._event_shape
        )

    @property
    def _reinterpreted_axes(self) -> tuple[int, ...]:
        return tuple(range(-self.reinterpreted_batch_ndims, 0))

    def _sample(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        if self._density() is not None:
            return super()._sample(sample_shape, generator)
        return self.base_distribution._sample(sample_shape, generator)

    def _mean(self) -> Array:
        return self.base_distribution._mean()

    def _variance(self) -> Array:
        return self.base_distribution._variance()

    def _entropy(self) -> Array:
        base = self.base_distribution
        full = self._backend.xp.broadcast_to(base._entropy(), base.batch_shape)
        return full.sum(axis=self._reinterpreted_axes, dtype=np.float64)

    def _parameters(self) -> dict[str, Any]:
        return {
            "base_distribution": self.base_distribution,
            "reinterpreted_batch_ndims": self.reinterpreted_batch_ndims,
        }

    def _expand_parts(self, batch_shape: Shape) -> None:
        count = self.reinterpreted_batch_ndims
        base = self.base_distribution
        kept = base.batch_shape[len(base.batch_shape) - count :]
        self.base_distribution = base.expand(batch_shape + kept)

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        self.base_distribution = move(self.base_distribution)

    def __repr__(self) -> str:
        return (
            f"Independent({self.base_distribution}, {self.reinterpreted_batch_ndims})"
        )
