"""Formulas of a mixture beside its log density: moments, probabilities, quantiles.

They run in float64 over blocks of rows, so that rows × K stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lucid._random import Generator, default_generator
from lucid.backends.protocol import Array
from lucid.distributions._layout import Shape
from lucid.distributions.categorical import Categorical
from lucid.distributions.distribution import Distribution

# Elements of rows × K that a block holds.
BLOCK_ELEMENTS = 1 << 20
# Halvings of a float64 bracket: from the widest to neighbouring numbers.
_MOST_HALVINGS = 2200


class MixtureFormulas(Distribution):
    """A mixture's moments, probabilities and quantiles from its components' own.

    A component of weight 0 counts for nothing, whatever its parameters are.
    """

    mixture_distribution: Categorical
    component_distribution: Distribution

    @property
    def num_components(self) -> int:
        """K, the number of components."""
        return self.mixture_distribution.num_events

    # ---- moments

    def _mean(self) -> Array:
        """Σ_k π_k μ_k, corrected once so that rounding does not grow with K."""
        means, weights = self._last(self.component_distribution._mean())
        first = (weights * means).sum(axis=-1)
        rest = (weights * (means - first[..., None])).sum(axis=-1)
        xp = self._backend.xp
        return xp.where(xp.isfinite(rest), first + rest, first)

    def _variance(self) -> Array:
        """Σ_k π_k σ_k² + Σ_k π_k (μ_k − E[X])², never E[X²] − E[X]²."""
        variances, weights = self._last(self.component_distribution._variance())
        centred = self._centred_means()
        return (weights * variances).sum(axis=-1) + (weights * centred**2).sum(axis=-1)

    def _covariance(self) -> Array:
        """Σ_k π_k Cov_k + Σ_k π_k (μ_k − E[X])(μ_k − E[X])ᵀ, [*batch, D, D]."""
        xp, component = self._backend.xp, self.component_distribution
        size = math.prod(self._event_shape)
        flat = (*self._batch_shape, size, self.num_components)
        share = self._weights()[..., None, :]
        centred = self._centred_means().reshape(flat)
        between = (share * centred) @ centred.swapaxes(-1, -2)
        own = getattr(component, "covariance_matrix", None)
        if own is None:  # event elements independent within a component
            variances, weights = self._last(component._variance())
            within = (weights * variances).sum(axis=-1).reshape(flat[:-1])
            return between + within[..., None] * xp.eye(size)
        matrices = own._array.astype(np.float64)  # [*batch, K, D, D]
        share = self._weights()[..., None, None]
        return between + xp.where(share > 0, share * matrices, 0.0).sum(axis=-3)

    # ---- probabilities and quantiles

    def _cdf(self, value: Array) -> Array:
        return self._weighted(value, lambda component, x: component._cdf(x))

    def _survival(self, value: Array) -> Array:
        return self._weighted(value, lambda component, x: component._survival(x))

    def _log_cdf(self, value: Array) -> Array:
        """logsumexp_k [log π_k + log F_k(x)], accurate in the left tail."""
        log_weights = self.mixture_distribution._log_weights()

        def block(x: Array) -> Array:
            terms = self.component_distribution._log_cdf(x[..., None]) + log_weights
            alive = log_weights > -np.inf
            return self._log_sum_exp(self._backend.xp.where(alive, terms, -np.inf))

        shape = np.broadcast_shapes(value.shape, self._batch_shape)
        return self._by_rows(value, shape, block)

    def _icdf(self, value: Array) -> Array:
        """inf{x : p ≤ F(x)} by bisection between the components' own quantiles."""
        shape = np.broadcast_shapes(value.shape, self._batch_shape)
        return self._by_rows(value, shape, self._quantiles)

    def _quantiles(self, p: Array) -> Array:
        xp, weights = self._backend.xp, self._weights()
        discrete = self.component_distribution.support.is_discrete
        quantiles = self.component_distribution._icdf(p[..., None])  # [..., K]
        low = xp.where(weights > 0, quantiles, np.inf).min(axis=-1)
        high = xp.where(weights > 0, quantiles, -np.inf).max(axis=-1)
        for _ in range(_MOST_HALVINGS):
            middle = low / 2 + high / 2
            middle = xp.floor(middle) if discrete else middle
            # Neighbouring numbers, a point, or an infinite end: nothing between.
            active = (low < high) & xp.isfinite(middle)
            if not discrete:
                active &= (low < middle) & (middle < high)
            if not bool(active.any()):
                break
            reached = self._cdf(middle) >= p
            high = xp.where(active & reached, middle, high)
            above = middle + 1 if discrete else middle
            low = xp.where(active & ~reached, above, low)
        # The lower end was never asked: it may be the quantile itself.
        finite = xp.isfinite(low)
        at_low = finite & (self._cdf(xp.where(finite, low, 0.0)) >= p)
        result = xp.where(at_low | (p == 0), low, high)
        return xp.where((p >= 0) & (p <= 1), result, np.nan)

    # ---- draws

    def _sample_all(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        """Draws for components that are no single family: all K drawn, one kept."""
        xp = self._backend.xp
        source = default_generator() if generator is None else generator
        shape = sample_shape + self._batch_shape
        weights = self.mixture_distribution.expand(self._batch_shape)
        index, _ = weights._sample(sample_shape, source)
        components = self.component_distribution.expand(
            (*self._batch_shape, self.num_components)
        )
        rows = index.reshape((-1, *self._batch_shape))
        size = math.prod(components.batch_shape + components.event_shape)
        step = max(1, BLOCK_ELEMENTS // max(1, size))
        events = (1,) * len(self._event_shape)
        parts = [xp.empty((0, *self._batch_shape, *self._event_shape), self._dtype)]
        for i in range(0, len(rows), step):
            picked = rows[i : i + step]
            draws, _ = components._sample((len(picked),), source)
            axis = draws.ndim - len(events) - 1
            chosen = picked.reshape(picked.shape + (1,) + events)
            parts.append(xp.take_along_axis(draws, chosen, axis=axis).squeeze(axis))
        values = xp.concatenate(parts[1:] or parts)
        return values.reshape(shape + self._event_shape), index

    # ---- shared

    def _by_rows(
        self, value: Array, shape: Shape, formula: Callable[[Array], Array]
    ) -> Array:
        """formula(value) over blocks of the sample axes, as `shape`."""
        xp = self._backend.xp
        if math.prod(shape) == 0:
            return xp.empty(shape)
        full = xp.broadcast_to(value, shape + self._event_shape)
        # The batch as the value sees it: longer where its axes of length 1 broadcast.
        batch = shape[len(shape) - len(self._batch_shape) :]
        rows = full.reshape((-1, *batch, *self._event_shape))
        step = max(1, BLOCK_ELEMENTS // (self.num_components * math.prod(batch)))
        parts = [formula(rows[i : i + step]) for i in range(0, len(rows), step)]
        return xp.concatenate(parts).reshape(shape)

    def _weighted(
        self, value: Array, formula: Callable[[Distribution, Array], Array]
    ) -> Array:
        """Σ_k π_k formula(component, x), for scalar events."""
        xp, weights = self._backend.xp, self._weights()

        def block(x: Array) -> Array:
            terms = formula(self.component_distribution, x[..., None])  # [..., K]
            return xp.where(weights > 0, weights * terms, 0.0).sum(axis=-1)

        shape = np.broadcast_shapes(value.shape, self._batch_shape)
        return self._by_rows(value, shape, block)

    def _log_sum_exp(self, terms: Array) -> Array:
        """log Σ_k exp(terms[…, k]) of a block of rows."""
        xp = self._backend.xp
        top = terms.max(axis=-1)
        pivot = xp.where(xp.isfinite(top), top, 0.0)
        total = xp.exp(terms - pivot[..., None]).sum(axis=-1, dtype=np.float64)
        return xp.where(top == np.inf, np.inf, pivot + xp.log(total))

    def _weights(self) -> Array:
        """Normalised weights in float64, [*weights' batch, K]."""
        return self.mixture_distribution._wide_weights()

    def _centred_means(self) -> Array:
        means, _ = self._last(self.component_distribution._mean())
        return means - self._mean()[..., None]

    def _last(self, values: Array) -> tuple[Array, Array]:
        """Components' values [*batch, *event, K] and weights that broadcast with them.

        A component of weight 0 gets the value 0.
        """
        xp, event = self._backend.xp, self._event_shape
        own = self.component_distribution.batch_shape
        full = xp.moveaxis(xp.broadcast_to(values, own + event), len(own) - 1, -1)
        weights = self._weights()
        weights = weights.reshape(
            weights.shape[:-1] + (1,) * len(event) + weights.shape[-1:]
        )
        shape = (*self._batch_shape, *event, self.num_components)
        return xp.where(weights > 0, xp.broadcast_to(full, shape), 0.0), weights
